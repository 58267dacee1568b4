//! The log's history against an edited rule, as [`crate::core::Replay`] plays it.
//!
//! A thread of its own reads the journal through a connection that cannot write, beside the leader, into a state that
//! nobody else sees; the leader is looked at once, for the edit's check and the log's size. What is appended meanwhile is
//! no part of it.

use super::Caller;
use super::problem::{refused, status, unavailable};
use crate::authority::Authority;
use crate::core::{Entry, Monotonic, Past, Replay, ReplayError, Terms, TooManyFaults, grounds};
use crate::gateway::{gone, internal};
use crate::journal::{JournalError, JournalReader};
use crate::leader::{Clocks, StartError, read_record};
use fettle_audit::leaf::Leaf;
use fettle_model::counter::{LogPosition, TreeSize};
use fettle_model::name::PersonName;
use fettle_model::record::{Body, Record};
use fettle_model::simulation::{Assume, Edit, Simulation};
use fettle_model::time::{UnixMillis, whole_millis};
use fettle_proto::operator::{Problem, ProblemCode, QueryReply};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tonic::Status;

/// Simulations that run at once: each holds a state as large as the leader's, and keeps a core busy.
pub(super) const MAX_SIMULATIONS: usize = 1;
/// Most records of a log that is replayed: 500 hosts that write 20 records a day each, for more than half a year. Folding
/// them takes some 20 µs each, and those of the time in question are read twice.
const MAX_RECORDS: u64 = 2_000_000;
/// Longest a simulation runs: two million records take 40 seconds. A caller waits a little longer.
const WITHIN: Duration = Duration::from_mins(1);
/// Records read at once, and between two looks at the clock: of 2 KiB each, 128 KiB.
const PAGE: usize = 64;

/// Why a simulation broke off.
#[derive(Debug, thiserror::Error)]
enum SimulateError {
    #[error("the journal could not be read")]
    Journal(#[from] JournalError),
    #[error("the journal could not be replayed")]
    Record(#[from] StartError),
    #[error("the journal ends before its checkpoint")]
    Short,
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("the log has {records} records, and a simulation replays at most {MAX_RECORDS}")]
    TooManyRecords { records: u64 },
    #[error("the simulation took longer than {} seconds", WITHIN.as_secs())]
    TooLong,
    #[error("nobody waits for it any more")]
    Left,
}

impl From<TooManyFaults> for SimulateError {
    fn from(error: TooManyFaults) -> Self {
        Self::Replay(error.into())
    }
}

/// What to replay.
struct Plan {
    journal: PathBuf,
    size: TreeSize,
    grounds: Vec<Body>,
    edit: Edit,
    assume: Assume,
    from: UnixMillis,
    until: UnixMillis,
    by: PersonName,
    policies: Arc<Authority>,
    clocks: Clocks,
    deadline: Monotonic,
}

/// Another simulation runs.
pub(super) fn busy() -> Status {
    unavailable("another simulation is under way".to_owned(), "ask again in a minute")
}

/// Replays the history; `turn` is given back when that ends.
pub(super) async fn simulate(
    caller: &Caller<'_>,
    turn: OwnedSemaphorePermit,
    edit: Edit,
    since: Duration,
    assume: Assume,
) -> Result<QueryReply, Status> {
    let (shared, by) = (caller.shared, caller.person.clone());
    let (policies, clocks, now) = (Arc::clone(&shared.policies), shared.clocks.clone(), shared.clocks.now());
    let plan = shared.leader.inspect(move |view| {
        let grounds = grounds(view.core.state(), &edit)?;
        Ok(Plan {
            journal: view.journal_path(),
            size: view.size(),
            grounds,
            edit,
            assume,
            from: UnixMillis(now.wall.0.saturating_sub(whole_millis(since))),
            until: now.wall,
            by,
            policies,
            clocks,
            deadline: now.monotonic.plus(WITHIN),
        })
    });
    let plan = plan.await.map_err(gone)?.map_err(|refusal| refused(&refusal))?;
    let (reply, answer) = oneshot::channel();
    std::thread::Builder::new()
        .name("simulate".to_owned())
        .spawn(move || {
            let _turn = turn;
            let simulated = replay(plan, &reply);
            // Whoever asked may have gone.
            drop(reply.send(simulated));
        })
        .map_err(internal)?;
    let simulation = answer.await.map_err(internal)?.map_err(broken)?;
    Ok(QueryReply::Simulation { simulation: Box::new(simulation) })
}

fn broken(error: SimulateError) -> Status {
    let remedy = match &error {
        SimulateError::Replay(ReplayError::TooManyFaults(_) | ReplayError::TooManyDecisions) => {
            "give a shorter --since, or edit fewer rules at once"
        }
        SimulateError::TooManyRecords { .. } => "see what happened then: fettle log list, fettle why",
        SimulateError::TooLong => "give a shorter --since, or ask again when the control plane is less busy",
        SimulateError::Journal(_)
        | SimulateError::Record(_)
        | SimulateError::Short
        | SimulateError::Replay(ReplayError::Apply(_))
        | SimulateError::Left => return internal(error),
    };
    status(Problem { code: ProblemCode::Refused, message: error.to_string(), remedy: remedy.to_owned() })
}

fn replay(
    plan: Plan,
    caller: &oneshot::Sender<Result<Simulation, SimulateError>>,
) -> Result<Simulation, SimulateError> {
    let Plan { journal, size, grounds, edit, assume, from, until, by, policies, clocks, deadline } = plan;
    if size.0 > MAX_RECORDS {
        return Err(SimulateError::TooManyRecords { records: size.0 });
    }
    let journal = JournalReader::open(&journal)?;
    let goes_on = || {
        if caller.is_closed() {
            return Err(SimulateError::Left);
        }
        if clocks.now().monotonic > deadline { Err(SimulateError::TooLong) } else { Ok(()) }
    };
    let mut past = Past::of(&edit);
    let first = first_since(&journal, size, from)?;
    each(&journal, first, size, &goes_on, |entry| Ok(past.note(entry)?))?;
    let authorise = |facts: &_| policies.permit(facts);
    let policies = Authority::digest();
    let terms = Terms { edit: &edit, assume, from, until, by: &by, authorise: &authorise, policies };
    let mut replay = Replay::new(terms, past, grounds);
    each(&journal, LogPosition(0), size, &goes_on, |entry| Ok(replay.take(entry)?))?;
    Ok(replay.finish()?)
}

/// The first record that came then or later. The clock that the leaves tell goes forward.
fn first_since(journal: &JournalReader, size: TreeSize, from: UnixMillis) -> Result<LogPosition, SimulateError> {
    let (mut before, mut since) = (0, size.0);
    while before < since {
        let middle = before.midpoint(since);
        let row = journal.read(LogPosition(middle), 1)?.pop().ok_or(SimulateError::Short)?;
        let leaf = decoded(&row.leaf, LogPosition(middle))?;
        if leaf.received_at < from { before = middle + 1 } else { since = middle }
    }
    Ok(LogPosition(since))
}

fn decoded(leaf: &[u8], position: LogPosition) -> Result<Leaf, StartError> {
    Leaf::decode(leaf).map_err(|source| StartError::Leaf { position, source })
}

/// Gives each record of the log from a position on.
fn each(
    journal: &JournalReader,
    from: LogPosition,
    size: TreeSize,
    goes_on: &dyn Fn() -> Result<(), SimulateError>,
    mut take: impl FnMut(&Entry<'_>) -> Result<(), SimulateError>,
) -> Result<(), SimulateError> {
    let mut next = from;
    while next.0 < size.0 {
        goes_on()?;
        let page = usize::try_from(size.0 - next.0).unwrap_or(PAGE).min(PAGE);
        let rows = journal.read(next, page)?;
        if rows.is_empty() {
            return Err(SimulateError::Short);
        }
        for row in rows {
            let leaf = decoded(&row.leaf, next)?;
            let record: Record = read_record(&leaf, row.envelope, next)?;
            let (envelope, received_at) = (leaf.envelope, leaf.received_at);
            take(&Entry { position: next, envelope, received_at, record: &record })?;
            next = next.next();
        }
    }
    Ok(())
}
