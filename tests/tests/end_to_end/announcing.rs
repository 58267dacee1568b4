//! A restart, which nothing takes back, waits until the log holds its intent; without the log it does not come.

use anyhow::{Context as _, bail, ensure};
use fettle_model::id::RunId;
use fettle_model::record::Body;
use fettle_model::run::{Ending, StepOutcome};
use fettle_tests::control_plane::Hold;
use fettle_tests::log::Log;
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::site::{LOOSE, PATIENCE, Plan, Site};
use xtask::process::wait_until;

const HOST: &str = "prod-1";
const PLAN: Plan<'_> = Plan { remedies: &[Remedy::Restart], production: &[HOST], pace: Pace::Quick, guard: LOOSE };

/// A run has begun, the control plane is gone, and the run's restart waits for the log.
fn waiting(site: &mut Site) -> anyhow::Result<()> {
    let host = site.host(HOST)?;
    host.agent.stop()?;
    // The first record says that the permit is used.
    host.agent.start_to_hold(1)?;
    host.shop(Remedy::Restart)?.kill()?;
    wait_until("the run has begun", PATIENCE, || Ok(host.agent.is_held()?.then_some(())))?;
    site.control_plane.stop()?;
    let host = site.host(HOST)?;
    host.agent.release()?;
    wait_until("the restart waits", PATIENCE, || {
        Ok(host.agent.log()?.contains("a step waits until the log holds its intent").then_some(()))
    })?;
    Ok(())
}

/// The intent of a run's first step stands before its end.
fn intended(log: &Log, run: RunId) -> anyhow::Result<()> {
    let place = |wanted: &dyn Fn(&Body) -> bool| log.records().iter().position(|record| wanted(&record.body));
    let intent = place(&|body| matches!(body, Body::StepIntended(step) if step.run == run && step.number == 1));
    let end = place(&|body| matches!(body, Body::RunEnded(ended) if ended.run == run));
    match (intent, end) {
        (Some(intent), Some(end)) if intent < end => Ok(()),
        other => bail!("intent and end of {run}: {other:?}"),
    }
}

#[test]
fn a_restart_waits_for_the_log_and_comes_when_the_control_plane_is_back() -> anyhow::Result<()> {
    Site::test(&PLAN, |site| {
        let before = site.run_ids()?;
        waiting(site)?;
        site.control_plane.start(Hold::Never)?;
        let (row, ending) = site.wait_for_run(HOST, &before)?;
        ensure!(ending == Ending::Succeeded, "{row:?}");
        ensure!(site.host(HOST)?.shop(Remedy::Restart)?.starts()? == 1);
        let log = site.verified_log()?;
        intended(&log, row.run)?;
        log.every_permit_has_one_end()
    })
}

#[test]
fn without_the_log_there_is_no_restart_and_the_run_says_so() -> anyhow::Result<()> {
    Site::test(&PLAN, |site| {
        let mut before = site.run_ids()?;
        waiting(site)?;
        let host = site.host(HOST)?;
        wait_until("the run ends", PATIENCE, || Ok(host.agent.log()?.contains("a run has ended").then_some(())))?;
        ensure!(host.shop(Remedy::Restart)?.starts()? == 0, "it was restarted without the log");
        site.control_plane.start(Hold::Never)?;
        let (row, ending) = site.wait_for_run(HOST, &before)?;
        ensure!(ending == Ending::Failed, "{row:?}");
        let record = site.operator.run_detail(row.run)?.record.context("it has an account")?;
        let refused = |outcome: &StepOutcome| matches!(outcome, StepOutcome::Refused { .. });
        ensure!(record.steps.len() == 1 && record.steps.iter().all(|step| refused(&step.outcome)), "{record:?}");
        before.insert(row.run);
        let (next, ending) = site.wait_for_run(HOST, &before)?;
        ensure!(ending == Ending::Succeeded, "{next:?}");
        ensure!(site.host(HOST)?.shop(Remedy::Restart)?.starts()? == 1, "the next run restarts it");
        intended(&site.verified_log()?, row.run)
    })
}
