//! A fault that is gone before the first effect is not repaired.

use anyhow::{Context as _, ensure};
use fettle_model::run::Ending;
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::site::{LOOSE, PATIENCE, Plan, Site};
use xtask::process::wait_until;

const HOST: &str = "prod-1";
const PLAN: Plan<'_> = Plan { remedies: &[Remedy::Restart], production: &[HOST], pace: Pace::Quick, guard: LOOSE };

#[test]
fn a_check_that_recovers_before_the_first_effect_supersedes_the_run() -> anyhow::Result<()> {
    Site::test(&PLAN, |site| {
        let before = site.run_ids()?;
        let host = site.host(HOST)?;
        host.agent.stop()?;
        // The first record says that the permit is used: the check is run again after it.
        host.agent.start_to_hold(1)?;
        host.shop(Remedy::Restart)?.kill()?;
        wait_until("the run has begun", PATIENCE, || Ok(host.agent.is_held()?.then_some(())))?;
        host.shop(Remedy::Restart)?.start_by_hand()?;
        host.agent.release()?;
        let (row, ending) = site.wait_for_run(HOST, &before)?;
        ensure!(ending == Ending::Superseded, "{row:?}");
        let record = site.operator.run_detail(row.run)?.record.context("it has an account")?;
        ensure!(record.steps.is_empty() && record.claim.is_none(), "{record:?}");
        ensure!(site.host(HOST)?.shop(Remedy::Restart)?.starts()? == 0, "the service was started");
        Ok(())
    })
}
