//! `[service.NAME.faults]`: the faults that the owner allows by name, each with its bounds.
//!
//! The shape in the file, and its settings. Read by [`super::resolve`]; the effector asks the settings
//! before it injects anything.

use super::mistake::Complaints;
use super::scalar::AbsolutePath;
use fettle_model::evidence::FaultKind;
use fettle_model::time::HumanDuration;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::time::Duration;
use toml::Spanned;

/// How long a fault lasts when `longest` is not given: a check of a minute's pace fails three times, and a playbook
/// has two minutes.
const DEFAULT_LONGEST: Duration = Duration::from_mins(5);
/// Longest that a fault may last: the longest manifest.
const MAX_LONGEST: Duration = Duration::from_mins(30);
/// Largest file that fills a disk, in MiB: a tebibyte.
const MAX_FILL_MIB: u64 = 1024 * 1024;
/// Least room that is left on a disk, in MiB: the journals of this agent and of the host go on being written.
const MIN_KEEP_FREE_MIB: u64 = 64;

/// Shortest part of a turn: at most a hundred signals a second.
const MIN_TURN: Duration = Duration::from_millis(10);
/// Longest time for which a process stands still at once. A check fails `fail_after` times in a row only when that is more
/// than so many intervals and one timeout: 35 s of a check with the defaults (three times, 10 s, 5 s).
const MAX_STOPPED: Duration = Duration::from_mins(1);
/// Longest time for which it runs between. A check does not pass in between when that and its timeout are less than
/// `recover_after` - 1 intervals: 5 s of a check with the defaults.
const MAX_RUNNING: Duration = Duration::from_secs(10);

const MIB: u64 = 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct FaultsTable {
    fill_disk: Option<FillDiskTable>,
    refuse_port: Option<RefusePortTable>,
    slow_responses: Option<SlowResponsesTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FillDiskTable {
    folder: Spanned<String>,
    at_most_mib: Spanned<u64>,
    keep_free_mib: Spanned<u64>,
    longest: Option<Spanned<HumanDuration>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RefusePortTable {
    port: NonZeroU16,
    longest: Option<Spanned<HumanDuration>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SlowResponsesTable {
    stopped: Spanned<HumanDuration>,
    running: Spanned<HumanDuration>,
    longest: Option<Spanned<HumanDuration>>,
}

/// The faults that an owner allows by name for one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultSettings {
    /// A folder may be filled.
    pub fill_disk: Option<FillDiskSettings>,
    /// A port may be refused.
    pub refuse_port: Option<RefusePortSettings>,
    /// The service may be slowed down.
    pub slow_responses: Option<SlowResponsesSettings>,
}

/// In which turns a service's main process may be stopped and let go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowResponsesSettings {
    /// How long it is stopped in each turn.
    pub stopped: Duration,
    /// How long it runs after that.
    pub running: Duration,
    /// For how long in all.
    pub longest: Duration,
}

/// Which TCP port of this host may refuse connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusePortSettings {
    /// The port.
    pub port: NonZeroU16,
    /// For how long.
    pub longest: Duration,
}

/// Within what a folder may be filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FillDiskSettings {
    /// The folder.
    pub folder: AbsolutePath,
    /// Largest file, in bytes.
    pub at_most: u64,
    /// Room that stays, in bytes.
    pub keep_free: u64,
    /// For how long.
    pub longest: Duration,
}

impl FaultSettings {
    /// The kinds that are named.
    #[must_use]
    pub fn kinds(&self) -> BTreeSet<FaultKind> {
        let fill_disk = self.fill_disk.as_ref().map(|_| FaultKind::FillDisk);
        let refuse_port = self.refuse_port.as_ref().map(|_| FaultKind::RefusePort);
        let slow_responses = self.slow_responses.as_ref().map(|_| FaultKind::SlowResponses);
        [fill_disk, refuse_port, slow_responses].into_iter().flatten().collect()
    }
}

pub(super) fn resolve_faults(table: FaultsTable, complaints: &mut Complaints<'_>) -> FaultSettings {
    let FaultsTable { fill_disk, refuse_port, slow_responses } = table;
    FaultSettings {
        fill_disk: fill_disk.and_then(|table| fill_disk_settings(table, complaints)),
        refuse_port: refuse_port.map(|RefusePortTable { port, longest }| RefusePortSettings {
            port,
            longest: longest_of("refuse-port", longest, complaints),
        }),
        slow_responses: slow_responses.map(|SlowResponsesTable { stopped, running, longest }| SlowResponsesSettings {
            stopped: turn("stopped", stopped, MAX_STOPPED, complaints),
            running: turn("running", running, MAX_RUNNING, complaints),
            longest: longest_of("slow-responses", longest, complaints),
        }),
    }
}

fn fill_disk_settings(table: FillDiskTable, complaints: &mut Complaints<'_>) -> Option<FillDiskSettings> {
    let FillDiskTable { folder, at_most_mib, keep_free_mib, longest } = table;
    if !(1..=MAX_FILL_MIB).contains(at_most_mib.get_ref()) {
        complaints.note(
            at_most_mib.span().start,
            format!("fill-disk.at-most-mib must be 1 to {MAX_FILL_MIB}, not {}", at_most_mib.get_ref()),
            "choose the size of the file that makes the check critical",
        );
    }
    if !(MIN_KEEP_FREE_MIB..=MAX_FILL_MIB).contains(keep_free_mib.get_ref()) {
        complaints.note(
            keep_free_mib.span().start,
            format!(
                "fill-disk.keep-free-mib must be {MIN_KEEP_FREE_MIB} to {MAX_FILL_MIB}, not {}",
                keep_free_mib.get_ref()
            ),
            "leave room for the journals of the agent and of the host",
        );
    }
    let longest = longest_of("fill-disk", longest, complaints);
    let folder = complaints.accept(folder.span().start, "fill-disk.folder", folder.get_ref().parse::<AbsolutePath>());
    let bytes = |mib: Spanned<u64>| mib.into_inner().saturating_mul(MIB);
    Some(FillDiskSettings { folder: folder?, at_most: bytes(at_most_mib), keep_free: bytes(keep_free_mib), longest })
}

/// One part of a turn.
fn turn(key: &str, part: Spanned<HumanDuration>, most: Duration, complaints: &mut Complaints<'_>) -> Duration {
    if !(MIN_TURN..=most).contains(&part.get_ref().0) {
        complaints.note(
            part.span().start,
            format!(
                "slow-responses.{key} must be {} to {}, not {}",
                HumanDuration(MIN_TURN),
                HumanDuration(most),
                part.get_ref()
            ),
            "choose how long the service stands still, and how long it runs, in each turn",
        );
    }
    part.into_inner().0
}

fn longest_of(fault: &str, longest: Option<Spanned<HumanDuration>>, complaints: &mut Complaints<'_>) -> Duration {
    let Some(longest) = longest else { return DEFAULT_LONGEST };
    if !(Duration::from_secs(1)..=MAX_LONGEST).contains(&longest.get_ref().0) {
        complaints.note(
            longest.span().start,
            format!("{fault}.longest must be 1s to {}, not {}", HumanDuration(MAX_LONGEST), longest.get_ref()),
            "choose how long the fault may last when nothing ends it",
        );
    }
    longest.into_inner().0
}
