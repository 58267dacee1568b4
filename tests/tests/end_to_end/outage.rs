//! The control plane is away: checks run, transitions are kept and arrive, nothing acts.

use anyhow::ensure;
use fettle_model::check::Status;
use fettle_model::record::Body;
use fettle_tests::control_plane::Hold;
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::site::{LOOSE, PATIENCE, Plan, Site};
use xtask::process::wait_until;

const HOST: &str = "prod-1";
const PLAN: Plan<'_> = Plan { remedies: &[Remedy::Restart], production: &[HOST], pace: Pace::Quick, guard: LOOSE };

#[test]
fn without_a_control_plane_checks_run_and_transitions_are_kept_and_nothing_acts() -> anyhow::Result<()> {
    Site::test(&PLAN, |site| {
        let before = site.run_ids()?;
        let earlier = site.verified_log()?.records().len();
        site.control_plane.stop()?;
        let host = site.host(HOST)?;
        host.shop(Remedy::Restart)?.kill()?;
        wait_until("the agent notices the fault", PATIENCE, || Ok(host.agent.changes_to("critical")?.checked_sub(1)))?;
        let passed = host.agent.changes_to("passing")?;
        host.shop(Remedy::Restart)?.start_by_hand()?;
        wait_until("the agent notices the recovery", PATIENCE, || {
            Ok((host.agent.changes_to("passing")? > passed).then_some(()))
        })?;
        ensure!(host.shop(Remedy::Restart)?.starts()? == 0, "something acted without a permit");

        site.control_plane.start(Hold::Never)?;
        site.wait_until_connected()?;
        site.wait_for_status(HOST, Remedy::Restart, Status::Passing)?;
        site.wait("both transitions have arrived", PATIENCE, |site| {
            let log = site.verified_log()?;
            let seen = |status: Status| {
                log.records()
                    .iter()
                    .skip(earlier)
                    .any(|record| matches!(&record.body, Body::TransitionSeen(transition) if transition.to == status))
            };
            Ok((seen(Status::Critical) && seen(Status::Passing)).then_some(()))
        })?;
        ensure!(site.run_ids()? == before, "a run was granted for a fault that had passed");
        Ok(())
    })
}
