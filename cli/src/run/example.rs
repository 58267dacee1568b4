//! A run for the tests of what is shown of it: two steps, one undone.

use fettle_model::check::{CheckRef, Status};
use fettle_model::counter::{ConfigurationGeneration, Fence, LogPosition, StopEpoch, TransitionEpoch};
use fettle_model::digest::{DocumentDigest, PlaybookDigest};
use fettle_model::escalation::Rung;
use fettle_model::id::{BootId, HostId, PermitId, RequestId, RunId};
use fettle_model::permit::{Permit, PermitRejection, PermittedTarget, Purpose, Target};
use fettle_model::playbook::Action;
use fettle_model::remediation::{Parameters, PlaybookVersion};
use fettle_model::run::{Change, Claim, Ending, RunRecord, Said, SaidLevel, Step, StepOutcome, UndoClass};
use fettle_model::time::{BootInstant, UnixMillis};
use fettle_proto::operator::{RunDetail, RunRow, RunState};
use std::time::Duration;
use uuid::Uuid;

const GRANTED: UnixMillis = UnixMillis(1_795_731_481_000);

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("sound text")
}

fn check() -> CheckRef {
    CheckRef { service: parsed("web"), check: parsed("http") }
}

fn version() -> PlaybookVersion {
    PlaybookVersion { name: parsed("disable-flag"), digest: PlaybookDigest::of(b"package") }
}

fn permit() -> Permit {
    let target = |label: &str, target, actions: &[Action]| PermittedTarget {
        label: parsed(label),
        target,
        actions: actions.iter().copied().collect(),
    };
    Permit {
        permit: PermitId::from_uuid(Uuid::from_u128(4)),
        request: RequestId::from_uuid(Uuid::from_u128(1)),
        run: RunId::from_uuid(Uuid::from_u128(2)),
        host: HostId::from_uuid(Uuid::from_u128(3)),
        boot: BootId::from_uuid(Uuid::from_u128(5)),
        sent_at: BootInstant(5_000),
        lease: Duration::from_secs(30),
        run_within: Duration::from_mins(5),
        effect_within: Duration::from_mins(1),
        fence: Fence(3),
        stop_epoch: StopEpoch(0),
        configuration: ConfigurationGeneration(6),
        purpose: Purpose::Remediate {
            check: check(),
            epoch: TransitionEpoch(7),
            remediation: parsed("disable-checkout"),
            rung: Rung::FIRST,
        },
        playbook: Some(version()),
        parameters: Parameters([("hold".to_owned(), 3_600_000.into())].into()),
        targets: vec![
            target(
                "flag",
                Target::Flag { file: "/srv/flags.json".to_owned(), key: "new-checkout".to_owned() },
                &[Action::Set],
            ),
            target("health", Target::Health { check: check() }, &[]),
        ],
        actions: 2,
        units: fettle_model::offline::Units::ONE,
        unit: None,
        drill: None,
        kill: None,
        approved: None,
        policies: fettle_model::digest::DocumentDigest::of(b"policies"),
        grounds: vec![LogPosition(8), LogPosition(18)],
    }
}

fn record() -> RunRecord {
    let at = |millis| UnixMillis(GRANTED.0 + millis);
    let step = |number, outcome| Step {
        number,
        action: Action::Set,
        label: parsed("flag"),
        arguments: "off for 1h".to_owned(),
        intended_at: at(120),
        outcome,
    };
    let permit = permit();
    RunRecord {
        run: permit.run,
        permit: permit.permit,
        request: permit.request,
        host: permit.host,
        purpose: permit.purpose,
        playbook: Some(version()),
        started_at: at(40),
        ended_at: at(5_240),
        ending: Ending::Reverted,
        summary: "the flag did not help".to_owned(),
        claim: Some(Claim::Failed { summary: "still failing".to_owned(), detail: vec!["500 Internal".to_owned()] }),
        confirmed: Some(Status::Critical),
        steps: vec![
            step(1, StepOutcome::Done { change: Change::Made, undo: UndoClass::Expires }),
            step(2, StepOutcome::Refused { rule: "stale".to_owned(), detail: "somebody set it".to_owned() }),
        ],
        undone: vec![step(1, StepOutcome::Done { change: Change::Made, undo: UndoClass::None })],
        said: vec![Said { at: at(100), level: SaidLevel::Info, text: "the feature is on".to_owned() }],
        resumed: 1,
        fuel: 1_000,
        journal: DocumentDigest::of(b"journal"),
    }
}

/// A run that failed and was undone.
pub(crate) fn detail() -> RunDetail {
    let record = record();
    RunDetail {
        row: RunRow {
            run: record.run,
            host: parsed("web-1"),
            playbook: Some(version().name),
            check: Some(check()),
            granted_at: GRANTED,
            state: RunState::Ended { ending: record.ending, at: record.ended_at },
        },
        permit: permit(),
        granted_position: LogPosition(512),
        record: Some(record),
        ended_position: Some(LogPosition(515)),
    }
}

/// The same, its permit refused by the agent.
pub(crate) fn rejected() -> RunDetail {
    let mut detail = detail();
    detail.row.state = RunState::Rejected { because: PermitRejection::StaleFence { fence: Fence(3), seen: Fence(4) } };
    RunDetail { record: None, ended_position: None, ..detail }
}
