//! Performs the script on a stage: sets up, drills, breaks, waits for the healing, verifies the log.

use super::account::{self, Times};
use super::story::{DRILLS, FAULTS, Fault, FaultPlan, HOSTS, STAGING};
use crate::process;
use crate::programs::Programs;
use crate::stage::answers::{self, Decision, RunState};
use crate::stage::{self, Stage};
use crate::steps::Steps;
use crate::workspace::Workspace;
use anyhow::{Context as _, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a healing may take: half a second until the check is critical, some 50 ms for the decision
/// and the effect, three seconds until the effect is confirmed; a busy machine ten times that.
const HEAL_PATIENCE: Duration = Duration::from_mins(1);

/// One healing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Healed {
    pub(super) plan: FaultPlan,
    pub(super) times: Times,
}

/// Control plane, playbooks, hosts, configuration; everything healthy at the end.
pub(super) fn set_up(
    workspace: &Workspace,
    steps: &mut Steps,
    programs: Programs,
    components: &[PathBuf],
) -> anyhow::Result<Stage> {
    let folder = workspace.target.join("demo");
    let files = workspace.root.join("deploy/demo");
    let mut stage = steps.run("start a control plane", || {
        let mut stage = Stage::open(programs, &folder)?;
        stage.start_controlplane()?;
        Ok(stage)
    })?;
    steps.run("sign and publish the playbooks", || stage.publish(&workspace.root, components))?;
    steps.run("start three hosts: service, join token, agent", || {
        let template = std::fs::read_to_string(files.join("agent.toml.template"))?;
        HOSTS.iter().try_for_each(|plan| stage.add_host(plan, &template))
    })?;
    steps.run("apply service, checks and remediations; wait until all checks pass", || {
        stage.apply(&[files.join("service.toml"), files.join("remediations.toml")])?;
        stage.wait_until_healthy()
    })?;
    Ok(stage)
}

/// Earns the evidence without which nothing is done in production.
pub(super) fn drill(stage: &mut Stage, steps: &mut Steps) -> anyhow::Result<()> {
    for drill in DRILLS {
        steps.run(&format!("drill on {STAGING}: {} must heal its own fault", drill.playbook), || {
            stage.drill(drill.playbook, STAGING, drill.remediation)
        })?;
    }
    stage.wait_until_healthy()
}

/// Breaks production in every way of the script and waits until each is healed.
pub(super) fn break_and_heal(stage: &mut Stage, steps: &mut Steps) -> anyhow::Result<Vec<Healed>> {
    let mut healed = Vec::new();
    for plan in FAULTS {
        let name = format!("{}: {}", plan.host, plan.title);
        let times = steps.run(&name, || heal(stage, plan))?;
        healed.push(Healed { plan, times });
    }
    Ok(healed)
}

fn heal(stage: &mut Stage, plan: FaultPlan) -> anyhow::Result<Times> {
    let operator = stage.operator().clone();
    let host = stage.host(plan.host)?.clone();
    ensure!(stage::page::status(host.listen(), plan.page) == Some(200), "{} is broken already", plan.page);
    let before = answers::log_size(&operator)?;
    let fault_at = crate::clock::unix_millis();
    match plan.fault {
        Fault::Kill => say(&format!("killed process {}", host.kill_service()?)),
        Fault::BadRelease => say(&format!("release {} is current", host.deploy_bad_release()?)),
        Fault::FlagOn => {
            host.set_flag("on")?;
            say("the flag new-checkout is on");
        }
    }
    stage::wait_for_page(host.listen(), plan.page, 200, HEAL_PATIENCE).with_context(|| why(stage, plan))?;
    let answered_at = crate::clock::unix_millis();
    let of = format!("shop/{}@{}", plan.check, plan.host);
    let ended = stage.watch(&format!("the run for {of} has ended"), HEAL_PATIENCE, || {
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
    });
    let ending = ended.with_context(|| self::why(stage, plan))?;
    let rows = answers::log_from(&operator, before)?;
    for line in account::lines(&rows, fault_at) {
        say(&line.to_string());
    }
    ensure!(ending == "succeeded", "the run ended {ending}, not succeeded");
    check_effect(stage, plan)?;
    let times = account::times(&rows, plan.host, fault_at, answered_at);
    times.context("the log lacks a transition, a permit or the run's end")
}

/// Looks whether the playbook did what it is for, on the host itself.
fn check_effect(stage: &Stage, plan: FaultPlan) -> anyhow::Result<()> {
    let host = stage.host(plan.host)?;
    match plan.fault {
        Fault::Kill => {}
        Fault::BadRelease => {
            let release = host.current_release()?;
            ensure!(release == "1.4.0", "release {release} is current after the roll back");
        }
        Fault::FlagOn => {
            let flags = std::fs::read_to_string(host.root().join("flags.json"))?;
            let flags: serde_json::Value = serde_json::from_str(&flags)?;
            let variant = &flags["flags"]["new-checkout"]["defaultVariant"];
            ensure!(variant == "off", "the flag is {variant} after it was disabled");
        }
    }
    Ok(())
}

/// What the control plane says about a fault that was not healed, for the failure.
fn why(stage: &Stage, plan: FaultPlan) -> String {
    let of = format!("shop/{}@{}", plan.check, plan.host);
    match process::output(stage.operator().command().args(["why", &of])) {
        Ok(text) => format!("it was not healed; `fettle why {of}` says:\n{text}"),
        Err(error) => format!("it was not healed, and `fettle why {of}` says nothing: {error:#}"),
    }
}

/// Exports log and policy and verifies them without network, profile or control plane.
pub(super) fn verify(stage: &Stage) -> anyhow::Result<()> {
    let bundle = stage.folder().join("log.bundle");
    let policy = stage.folder().join("policy.txt");
    stage.operator().run(&["log", "export", "--out", &bundle.display().to_string()])?;
    stage.operator().run(&["log", "policy", "--out", &policy.display().to_string()])?;
    let verified = process::output(&mut verifier(stage, &bundle, &policy))?;
    verified.lines().for_each(say);
    // The same with one byte changed in the middle: nobody should have to believe the verifier.
    let mut bytes = std::fs::read(&bundle)?;
    let middle = bytes.len() / 2;
    let byte = bytes.get_mut(middle).context("the bundle is empty")?;
    *byte ^= 1;
    let changed = stage.folder().join("log-with-one-byte-changed.bundle");
    std::fs::write(&changed, bytes)?;
    let status = verifier(stage, &changed, &policy).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    ensure!(!status.success(), "the verifier accepted a bundle with a changed byte");
    say(&format!("the same with one bit of it changed: refused ({status})"));
    Ok(())
}

fn verifier(stage: &Stage, bundle: &Path, policy: &Path) -> Command {
    let mut command = Command::new(stage.operator().program());
    command.args(["log", "verify"]).arg(bundle).arg("--policy").arg(policy).env_clear().stdin(Stdio::null());
    command
}

/// Prints the log as a table.
pub(super) fn show_log(stage: &Stage) -> anyhow::Result<()> {
    process::run(stage.operator().command().args(["log", "list", "--limit", "1000"]))
}

fn say(text: &str) {
    println!("    {text}");
}
