//! `fettle stop` stops, `fettle resume` lets it go on.

use anyhow::{Context as _, ensure};
use fettle_model::refusal::Reason;
use fettle_model::run::Ending;
use fettle_proto::operator::WhyDecision;
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::site::{LOOSE, PATIENCE, Plan, Site};
use std::time::Duration;
use xtask::process::wait_until;

const HOST: &str = "prod-1";
const PLAN: Plan<'_> = Plan { remedies: &[Remedy::Restart], production: &[HOST], pace: Pace::Quick, guard: LOOSE };
/// A run that waits for health in vain waits a minute.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_stopped_scope_is_refused_with_its_reason_until_it_is_resumed() -> anyhow::Result<()> {
    Site::test(&PLAN, |site| {
        let before = site.run_ids()?;
        site.operator.done(&["stop", "service:till", "--why", "a test of stopping"])?;
        site.host(HOST)?.shop(Remedy::Restart)?.kill()?;
        let refusal = site.wait("the refusal is told", PATIENCE, |site| {
            let why = site.operator.why(&Remedy::Restart.check_ref(), HOST)?;
            Ok(match why.decision {
                Some(WhyDecision::Refused { refusal, .. }) => Some(refusal),
                Some(WhyDecision::Granted { .. } | WhyDecision::Withheld { .. }) | None => None,
            })
        })?;
        ensure!(refusal.reasons.iter().any(|reason| matches!(reason, Reason::Stopped { .. })), "{refusal:?}");
        ensure!(site.host(HOST)?.shop(Remedy::Restart)?.starts()? == 0, "something acted");
        ensure!(site.run_ids()? == before, "a run was granted");

        site.operator.done(&["resume", "service:till", "--why", "the test goes on"])?;
        let (row, ending) = site.wait_for_run(HOST, &before)?;
        ensure!(ending == Ending::Succeeded, "{row:?}");
        ensure!(site.host(HOST)?.shop(Remedy::Restart)?.starts()? == 1);
        site.verified_log()?.every_permit_has_one_end()
    })
}

#[test]
fn a_stop_order_ends_a_run_that_is_in_progress() -> anyhow::Result<()> {
    let plan = Plan { remedies: &[Remedy::Disable], ..PLAN };
    Site::test(&plan, |site| {
        let before = site.run_ids()?;
        let host = site.host(HOST)?;
        host.agent.stop()?;
        // Turning the flag off will not help: nobody answers. The playbook waits for health meanwhile.
        host.shop(Remedy::Disable)?.set_flag("on")?;
        host.shop(Remedy::Disable)?.kill()?;
        host.agent.start()?;
        let shop = host.shop(Remedy::Disable)?;
        wait_until("the flag is turned off", PATIENCE, || Ok((shop.flaggings()? > 0).then_some(())))?;
        site.operator.done(&["stop", "global", "--why", "a test of stopping"])?;
        let (row, ending) = site.wait_for_run(HOST, &before)?;
        ensure!(ending == Ending::Cancelled, "{row:?}");
        let record = site.operator.run_detail(row.run)?.record.context("it has an account")?;
        ensure!(record.ended_at.since(record.started_at) < SOON, "it waited for its own end: {record:?}");
        site.verified_log()?.every_permit_has_one_end()
    })
}
