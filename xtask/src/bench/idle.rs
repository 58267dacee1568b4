//! What an agent costs that has nothing to repair: memory and processor time of all its processes, with
//! fifteen checks each second.

use super::numbers::{Row, Unit};
use crate::process::wait_until_every;
use crate::programs::Programs;
use crate::stage::{HostPlan, Stage};
use crate::workspace::Workspace;
use anyhow::Context as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long the agent is left alone first: what it did at the start is over then.
const SETTLE: Duration = Duration::from_secs(10);
/// How long its processor time is counted.
const WINDOW: Duration = Duration::from_mins(1);
/// Between two looks at the clock.
const LOOK: Duration = Duration::from_millis(100);
/// `utime` and `stime` in `/proc/<pid>/stat` count in these, on every architecture that is built for.
const TICKS_PER_SECOND: f64 = 100.0;

const HOST: HostPlan = HostPlan { name: "idle-1", environment: "production", drills: "refused" };

/// What the processes used, together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Usage {
    /// `VmRSS`.
    resident_kib: u64,
    /// `Pss`: what several processes share is counted once.
    shared_once_kib: u64,
    /// `RssAnon`.
    anonymous_kib: u64,
    /// `utime` and `stime`, those of its threads included.
    ticks: u64,
}

/// Measures.
pub(super) fn measure(workspace: &Workspace, programs: &Programs, components: &[PathBuf]) -> anyhow::Result<Vec<Row>> {
    let template = std::fs::read_to_string(workspace.root.join("deploy/demo/agent.toml.template"))?;
    let mut stage = Stage::open(programs.clone(), &workspace.target.join("bench/idle"))?;
    stage.start_controlplane()?;
    // The playbooks are there as on any host; that they are compiled once is over before it is measured.
    stage.publish(&workspace.root, components)?;
    stage.add_host(&HOST, &template)?;
    stage.apply(&[workspace.root.join("xtask/src/bench/idle.toml")])?;
    stage.wait_until_healthy()?;
    let effector = stage.agent_id(HOST.name)?;
    pass(SETTLE)?;
    let before = usage(&family(effector)?)?;
    pass(WINDOW)?;
    let processes = family(effector)?;
    let after = usage(&processes)?;
    stage.stop()?;
    Ok(rows(before, after, processes.len()))
}

#[expect(clippy::cast_precision_loss, reason = "kibibytes and ticks of a minute are far below 2^52")]
fn rows(before: Usage, after: Usage, processes: usize) -> Vec<Row> {
    let mebibytes = |kib: u64| kib as f64 / 1024.0;
    let seconds = after.ticks.saturating_sub(before.ticks) as f64 / TICKS_PER_SECOND;
    let of = format!("idle agent ({processes} processes, 15 checks each second)");
    vec![
        Row::new(format!("{of}: RSS"), mebibytes(after.resident_kib), Unit::Mebibytes, 1).aiming_at_most(20.0),
        Row::new("  what they share counted once (PSS)", mebibytes(after.shared_once_kib), Unit::Mebibytes, 1),
        Row::new("  of it anonymous", mebibytes(after.anonymous_kib), Unit::Mebibytes, 1).aiming_at_most(8.0),
        Row::new("  CPU in a minute", seconds, Unit::Seconds, 1).aiming_at_most(0.3),
    ]
}

/// Lets time pass; an interrupt ends it.
fn pass(time: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    wait_until_every(LOOK, "the time is over", time + SETTLE, || Ok((began.elapsed() >= time).then_some(())))
}

/// A process and its descendants.
fn family(root: u32) -> anyhow::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").context("list processes")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process that ends meanwhile has no parent.
        if let Some(parent) = stat_field(pid, PARENT) {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == u64::from(parent)).map(|(pid, _)| *pid));
        next += 1;
    }
    Ok(found)
}

/// Places in `/proc/<pid>/stat` behind the command's name: field 4, 14 and 15 of proc(5).
const PARENT: usize = 1;
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;

fn stat_field(pid: u32, place: usize) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(place)?.parse().ok()
}

/// A number of kibibytes in one of the kernel's texts of `Name:   123 kB`.
fn kib(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

fn usage(processes: &[u32]) -> anyhow::Result<Usage> {
    let mut sum = Usage::default();
    for pid in processes {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("an agent's process has ended")?;
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("its maps")?;
        let ticks = |place| stat_field(*pid, place).context("an agent's process has ended");
        sum.resident_kib += kib(&status, "VmRSS:")?;
        sum.shared_once_kib += kib(&rollup, "Pss:")?;
        sum.anonymous_kib += kib(&status, "RssAnon:")?;
        sum.ticks += ticks(USER_TIME)? + ticks(SYSTEM_TIME)?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_a_process_with_its_children_and_theirs() {
        let mut child = std::process::Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().expect("it starts");
        let all = crate::process::wait_until("the grandchild is there", Duration::from_secs(10), || {
            let found = family(std::process::id())?;
            Ok((found.len() >= 3).then_some(found))
        });
        let all = all.expect("three generations");
        assert!(all.contains(&child.id()));
        let used = usage(&all).expect("they run");
        assert!(used.resident_kib >= used.anonymous_kib && used.anonymous_kib > 0, "{used:?}");
        for pid in all.into_iter().filter(|pid| *pid != std::process::id()) {
            let process = rustix::process::Pid::from_raw(i32::try_from(pid).expect("an id")).expect("an id");
            rustix::process::kill_process(process, rustix::process::Signal::KILL).expect("it ends");
        }
        child.wait().expect("it ended");
    }
}
