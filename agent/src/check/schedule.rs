//! Runs every check of the host, each on its own interval. The daemon owns the one [`Schedule`].
//!
//! One task for each check probes and reports over one bounded channel; [`Schedule::next`] takes the reports,
//! damps them and hands them out. Who does not drain the schedule slows the probes down and loses nothing. A
//! check never overlaps with itself, and missed ticks are skipped. An event (a process ended, a file
//! appeared) is probed at once.

use super::damping::Damping;
use super::follow::Results;
use super::observation::{Change, Noticed, Observation, Verdict};
use super::probe::bus::BusAddress;
use super::probe::{Looks, Prober, Surroundings};
use crate::ipc::daemon::ResolvedCheck;
use fettle_model::check::{Check, CheckRef, MIN_INTERVAL, Status};
use fettle_model::name::CheckName;
use fettle_model::time::{UnixMillis, whole_millis};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

/// Most probes that one answer on demand takes; the default of `recover_after` is two. Each ends within the check's
/// timeout.
const MAX_GOOD_PROBES: u32 = 3;

/// Pause between two probes of one answer on demand: the shortest interval of a check.
const BETWEEN_GOOD_PROBES: Duration = MIN_INTERVAL;

/// Tells the wall-clock time, for people.
pub type Clock = fn() -> UnixMillis;

/// Reports that wait to be damped: at 200 probes a second, a third of a second; at most 600 bytes each.
const MAX_REPORTS: usize = 64;

/// Results that a follower may be behind, over all checks: at 200 probes a second, more than a second.
const MAX_RESULTS: usize = 256;

/// The first probes of a set are spread over so long, or over the interval where it is shorter: a restarted agent
/// knows its host again within 10 s.
const FIRST_WITHIN: Duration = Duration::from_secs(10);

/// Shortest time between two probes that events cause: an event-driven check costs at most what the
/// fastest interval costs. The first event after a calm is probed at once.
const EVENT_SPACING: Duration = MIN_INTERVAL;

/// The host's checks.
pub struct Schedule {
    watched: BTreeMap<CheckRef, Watched>,
    tasks: JoinSet<()>,
    reports: mpsc::Receiver<Report>,
    report: mpsc::Sender<Report>,
    results: broadcast::Sender<Observation>,
    surroundings: Surroundings,
    tasks_started: u64,
}

struct Watched {
    definition: Check,
    damping: Damping,
    looks: Looks,
    task: AbortHandle,
    serial: u64,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// From a check's task.
struct Report {
    check: CheckRef,
    /// Which task: what an ended one still had in the channel is void.
    serial: u64,
    verdict: Verdict,
    at: UnixMillis,
}

impl Schedule {
    /// No checks yet. `commands` holds the argv that the host's owner registered.
    #[must_use]
    pub fn new(commands: BTreeMap<CheckName, Vec<String>>, bus: BusAddress, clock: Clock) -> Self {
        let (report, reports) = mpsc::channel(MAX_REPORTS);
        Self {
            watched: BTreeMap::new(),
            tasks: JoinSet::new(),
            reports,
            report,
            results: broadcast::Sender::new(MAX_RESULTS),
            surroundings: Surroundings::new(commands, bus, clock),
            tasks_started: 0,
        }
    }

    /// Replaces the set. An unchanged check goes on undisturbed, a redefined one keeps its status, a
    /// new one starts from its last durable status. Call it inside a tokio runtime.
    pub fn reconfigure(&mut self, checks: Vec<ResolvedCheck>) {
        let mut before = std::mem::take(&mut self.watched);
        for ResolvedCheck { of, check, last } in checks {
            let watched = match before.remove(&of) {
                Some(watched) if watched.definition == check => watched,
                Some(mut watched) => {
                    watched.damping.redefine(&check);
                    let damping = watched.damping.clone();
                    self.start(&of, check, damping, Begin::Spread)
                }
                None => {
                    let damping = Damping::start(&check, last);
                    self.start(&of, check, damping, Begin::Spread)
                }
            };
            self.watched.insert(of, watched);
        }
    }

    /// Waits for the next verdict and damps it.
    // CANCEL: a report is taken only when it is returned.
    pub async fn next(&mut self) -> Noticed {
        loop {
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next_with_id() => {
                    if let Err(error) = ended && let Some(noticed) = self.restart(&error) {
                        return noticed;
                    }
                }
                Some(report) = self.reports.recv() => {
                    if let Some(noticed) = self.take(report) {
                        return noticed;
                    }
                }
            }
        }
    }

    /// Probes now, afresh, beside the schedule and without effect on it. A check that does not pass is said to pass
    /// only when as many probes in a row do as it needs to recover, [`MAX_GOOD_PROBES`] at most: one good answer of a
    /// service that is slow, or that comes and goes, is not its health. A bad answer is said at once.
    /// Call it inside a tokio runtime; the future borrows nothing.
    pub fn probe_now(&self, of: &CheckRef) -> impl Future<Output = Verdict> + Send + use<> {
        let prepared = self.watched.get(of).map(|watched| {
            let prober = Prober::prepare(&watched.definition, &self.surroundings, &watched.looks);
            (prober, watched.definition.timeout, watched.damping.good_probes().min(MAX_GOOD_PROBES))
        });
        let absent = Verdict::unknown(&format!("this host has no check {of}"));
        async move {
            match prepared {
                Some((prober, timeout, good)) => told(prober, timeout, good).await,
                None => absent,
            }
        }
    }

    /// The check's results from now on; `None`: there is no such check.
    #[must_use]
    pub fn subscribe(&self, of: &CheckRef) -> Option<Results> {
        self.watched.contains_key(of).then(|| Results::new(of.clone(), self.results.subscribe()))
    }

    /// The damped status of a check, if it has one.
    #[must_use]
    pub fn status(&self, of: &CheckRef) -> Option<Status> {
        self.watched.get(of).and_then(|watched| watched.damping.current())
    }

    fn take(&mut self, report: Report) -> Option<Noticed> {
        let Report { check, serial, verdict: Verdict { status, reason }, at } = report;
        let watched = self.watched.get_mut(&check).filter(|watched| watched.serial == serial)?;
        let change = watched.damping.feed(status).map(|shift| Change {
            check: check.clone(),
            from: shift.from,
            to: shift.to,
            at,
            reason: reason.clone(),
        });
        let observation = Observation { check, status, reason, at };
        // Fails when nobody follows.
        self.results.send(observation.clone()).ok();
        Some(Noticed { observation, change })
    }

    /// A task that ended by itself has a bug. Its check must not fall silent.
    fn restart(&mut self, error: &JoinError) -> Option<Noticed> {
        if error.is_cancelled() {
            return None;
        }
        let (of, definition, damping) = self.watched_by(error.id())?;
        tracing::error!(check = %of, "a probe ended unexpectedly");
        let watched = self.start(&of, definition, damping, Begin::AfterInterval);
        let report = Report {
            check: of.clone(),
            serial: watched.serial,
            verdict: Verdict::unknown("the probe ended unexpectedly"),
            at: (self.surroundings.clock)(),
        };
        self.watched.insert(of, watched);
        self.take(report)
    }

    fn watched_by(&self, task: Id) -> Option<(CheckRef, Check, Damping)> {
        let (of, watched) = self.watched.iter().find(|(_, watched)| watched.task.id() == task)?;
        Some((of.clone(), watched.definition.clone(), watched.damping.clone()))
    }

    fn start(&mut self, of: &CheckRef, definition: Check, damping: Damping, begin: Begin) -> Watched {
        self.tasks_started += 1;
        let serial = self.tasks_started;
        let interval = definition.interval.max(MIN_INTERVAL);
        let looks = Looks::new();
        let round = Round {
            of: of.clone(),
            serial,
            prober: Prober::prepare(&definition, &self.surroundings, &looks),
            first: Instant::now()
                + match begin {
                    Begin::Spread => phase(of, interval),
                    Begin::AfterInterval => interval,
                },
            interval,
            timeout: definition.timeout,
            clock: self.surroundings.clock,
            report: self.report.clone(),
        };
        let task = self.tasks.spawn(round.run());
        Watched { definition, damping, looks, task, serial }
    }
}

/// What so many good probes in a row say together, or the first that is not good.
async fn told(mut prober: Prober, timeout: Duration, good: u32) -> Verdict {
    let mut verdict = prober.probe_within(timeout).await;
    for _ in 1..good {
        match verdict.status {
            Status::Passing => {}
            Status::Warning | Status::Critical | Status::Unknown => break,
        }
        tokio::time::sleep(BETWEEN_GOOD_PROBES).await;
        verdict = prober.probe_within(timeout).await;
    }
    verdict
}

/// When a task probes first.
#[derive(Clone, Copy)]
enum Begin {
    Spread,
    AfterInterval,
}

/// The delay of a check's first probe, from its name, so that checks do not all fire together.
fn phase(of: &CheckRef, interval: Duration) -> Duration {
    // FNV-1a, 64 bits: the same on every host and in every version.
    let name = of.service.as_str().bytes().chain([b'/']).chain(of.check.as_str().bytes());
    let hash =
        name.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    Duration::from_millis(hash % whole_millis(interval.min(FIRST_WITHIN)).max(1))
}

/// What one check's task owns.
struct Round {
    of: CheckRef,
    serial: u64,
    prober: Prober,
    first: Instant,
    interval: Duration,
    timeout: Duration,
    clock: Clock,
    report: mpsc::Sender<Report>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Interval,
    Event,
}

impl Round {
    async fn run(mut self) {
        let mut ticks = interval_at(self.first, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut last = None;
        let mut calm_at = Instant::now();
        loop {
            let cause = tokio::select! {
                biased;
                () = calm_event(&mut self.prober, calm_at) => Cause::Event,
                _ = ticks.tick() => Cause::Interval,
            };
            let verdict = self.prober.probe_within(self.timeout).await;
            if cause == Cause::Event {
                calm_at = Instant::now() + EVENT_SPACING;
                // `fail_after` counts intervals: events that say nothing new must not fill it up.
                if last == Some(verdict.status) {
                    continue;
                }
            }
            last = Some(verdict.status);
            let report = Report { check: self.of.clone(), serial: self.serial, verdict, at: (self.clock)() };
            if self.report.send(report).await.is_err() {
                return;
            }
        }
    }
}

async fn calm_event(prober: &mut Prober, calm_at: Instant) {
    if Instant::now() < calm_at {
        sleep_until(calm_at).await;
    }
    prober.event().await;
}

#[cfg(test)]
mod tests;
