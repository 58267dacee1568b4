//! How fast a killed service is healed: through its check, control plane, log, permit and sandbox, in the
//! shipped programs on loopback. And the two baselines: starting a command by itself, and a loop that
//! waits on a pidfd and starts the service again.

use super::numbers::{Row, Samples, Unit, milliseconds};
use crate::process::{Child, wait_until_every};
use crate::programs::Programs;
use crate::stage::answers::{self, Decision, RunState};
use crate::stage::{self, Host, HostPlan, Stage};
use crate::workspace::Workspace;
use anyhow::{Context as _, bail, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::time::{ClockId, clock_gettime};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Faults that are made and healed. One takes three seconds, nearly all of it the confirmation that the
/// service stays healthy; 40 give a 95th percentile that is not just the worst sample.
const SAMPLES: usize = 40;
/// Faults whose healing is not counted: caches fill.
const WARM_UP: usize = 3;
/// Between two looks at the page: a tenth of what is measured.
const PAGE_INTERVAL: Duration = Duration::from_micros(200);
/// How long one healing may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

const HOSTS: [HostPlan; 2] = [
    HostPlan { name: "bench-staging", environment: "staging", drills: "allowed" },
    HostPlan { name: "bench-1", environment: "production", drills: "refused" },
];

/// What one healing took, from just before the signal was sent.
#[derive(Debug, Clone, Copy)]
struct Healing {
    /// Until the first command of the repair began.
    told: Duration,
    /// Until the service answered again.
    answered: Duration,
}

/// Measures.
pub(super) fn measure(workspace: &Workspace, programs: &Programs, components: &[PathBuf]) -> anyhow::Result<Vec<Row>> {
    let template = std::fs::read_to_string(workspace.root.join("deploy/demo/agent.toml.template"))?;
    let mut stage = Stage::open(programs.clone(), &workspace.target.join("bench/heal"))?;
    stage.start_controlplane()?;
    stage.publish(&workspace.root, components)?;
    HOSTS.iter().try_for_each(|plan| stage.add_host(plan, &template))?;
    stage.apply(&[workspace.root.join("xtask/src/bench/heal.toml")])?;
    stage.wait_until_healthy()?;
    stage.drill("restart-service", "bench-staging", "restart-shop")?;
    stage.wait_until_healthy()?;
    let host = stage.host("bench-1")?.clone();
    let mut healings = Vec::new();
    for number in 0..WARM_UP + SAMPLES {
        let healing = heal_once(&mut stage, &host).with_context(|| format!("healing number {}", number + 1))?;
        if number >= WARM_UP {
            healings.push(healing);
        }
    }
    stage.stop()?;
    let told = Samples::new(healings.iter().map(|healing| healing.told).collect());
    let answered = Samples::new(healings.iter().map(|healing| healing.answered).collect());
    let spawned = Samples::new(spawn_baseline(&host)?);
    let looped = Samples::new(loop_baseline(programs, &host)?);
    Ok(rows(&told, &answered, &spawned, &looped))
}

fn rows(told: &Samples, answered: &Samples, spawned: &Samples, looped: &Samples) -> Vec<Row> {
    let row = |what: &str, samples: &Samples, percent: usize, aim: Option<f64>, baseline: (&'static str, &Samples)| {
        let value = |samples: &Samples| milliseconds(samples.percentile(percent).unwrap_or_default());
        let row = Row::new(what, value(samples), Unit::Milliseconds, samples.len());
        let row = row.beside(baseline.0, value(baseline.1));
        match aim {
            Some(aim) => row.aiming_at_most(aim),
            None => row,
        }
    };
    vec![
        row("fault made to fix command started, median", told, 50, Some(5.0), ("fork+exec", spawned)),
        row("fault made to fix command started, p95", told, 95, Some(15.0), ("fork+exec", spawned)),
        row("kill -9 to answering again, median", answered, 50, Some(20.0), ("loop on a pidfd", looped)),
        row("kill -9 to answering again, p95", answered, 95, None, ("loop on a pidfd", looped)),
    ]
}

fn heal_once(stage: &mut Stage, host: &Host) -> anyhow::Result<Healing> {
    let before = answers::log_size(stage.operator())?;
    let (began, instant) = (boot_clock(), Instant::now());
    host.kill_service()?;
    wait_for_answer(host)?;
    let answered = instant.elapsed();
    let told = first_command_after(host, began)?;
    let operator = stage.operator().clone();
    let of = format!("shop/process@{}", host.name());
    let ending = stage.watch("the run has ended", PATIENCE, || {
        let why = answers::why(&operator, &of)?;
        Ok(match why.decision {
            Some(Decision::Granted { run, position }) if position >= before && why.check.passes() => match run.state {
                RunState::Ended { ending, .. } => Some(ending),
                RunState::InFlight => None,
                RunState::Rejected { because } => bail!("the agent rejected the permit: {because}"),
                RunState::Unresolved => bail!("the run never reported"),
            },
            Some(Decision::Granted { .. } | Decision::Refused { .. }) | None => None,
        })
    })?;
    ensure!(ending == "succeeded", "the run ended {ending}");
    Ok(Healing { told, answered })
}

fn wait_for_answer(host: &Host) -> anyhow::Result<()> {
    let what = format!("{} answers", host.listen());
    wait_until_every(PAGE_INTERVAL, &what, PATIENCE, || {
        Ok((stage::page::status(host.listen(), "/") == Some(200)).then_some(()))
    })
}

fn boot_clock() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// How long after `began` the first of the service's own commands began.
fn first_command_after(host: &Host, began: Duration) -> anyhow::Result<Duration> {
    let path = host.root().join("commands.log");
    let log = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let times = log.lines().filter_map(|line| line.split_once(' ')?.0.parse().ok()).map(Duration::from_nanos);
    let first = times.filter(|at| *at > began).min().context("no command was started")?;
    Ok(first.saturating_sub(began))
}

/// Starting one of the service's commands, until it runs: what nothing that repairs by a command can beat.
fn spawn_baseline(host: &Host) -> anyhow::Result<Vec<Duration>> {
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        let words = host.command("stop");
        let (program, arguments) = words.split_first().context("no words")?;
        let began = boot_clock();
        let status = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        ensure!(status.success(), "{program} ended with {status}");
        samples.push(first_command_after(host, began)?);
    }
    Ok(samples)
}

/// The smallest healer there is: a thread that waits on a pidfd and starts the service again.
fn loop_baseline(programs: &Programs, host: &Host) -> anyhow::Result<Vec<Duration>> {
    let over = AtomicBool::new(false);
    let pid_file = host.root().join("service.pid");
    let logs = host.folder().to_owned();
    let start = || {
        let mut command = Command::new(programs.service());
        command.arg("run").arg("--root").arg(host.root()).args(["--listen", &host.listen().to_string()]);
        Child::spawn("looped-service", &mut command, &logs)
    };
    let supervise = || -> anyhow::Result<()> {
        loop {
            let mut child = start()?;
            let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process without an id")?;
            let process = pidfd_open(id, PidfdFlags::empty())?;
            poll(&mut [PollFd::new(&process, PollFlags::IN)], None)?;
            child.wait(PATIENCE)?;
            if over.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    };
    let measure = || -> anyhow::Result<Vec<Duration>> {
        let mut samples = Vec::new();
        wait_for_answer(host)?;
        for _ in 0..SAMPLES {
            let instant = Instant::now();
            host.kill_service()?;
            wait_for_answer(host)?;
            samples.push(instant.elapsed());
        }
        Ok(samples)
    };
    std::thread::scope(|scope| {
        let supervisor = scope.spawn(supervise);
        let samples = measure();
        over.store(true, Ordering::Relaxed);
        // Whatever happened above, the loop must end, or this scope never does.
        end_last(&pid_file)?;
        supervisor.join().map_err(|_panic| anyhow::anyhow!("the loop failed"))??;
        samples
    })
}

/// Ends the loop's last service.
fn end_last(pid_file: &std::path::Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(pid_file).context("the loop's service left no pid file")?;
    let pid = text.lines().next().and_then(|line| line.parse().ok()).and_then(Pid::from_raw);
    kill_process(pid.context("no process id")?, Signal::TERM).context("end the loop's service")
}
