//! The control plane is away, and a host that holds a budget in advance mends itself.

use anyhow::{Context as _, ensure};
use fettle_model::run::Ending;
use fettle_proto::operator::RunState;
use fettle_tests::control_plane::Hold;
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::site::{LOOSE, PATIENCE, Plan, Site};
use std::fs;
use xtask::process::wait_until;

const HOST: &str = "prod-1";
/// Only what the flag's playbook does can all be undone.
const REMEDY: Remedy = Remedy::Disable;
const PLAN: Plan<'_> = Plan { remedies: &[REMEDY], production: &[HOST], pace: Pace::Quick, guard: LOOSE };

#[test]
fn a_host_with_a_budget_mends_itself_while_nobody_is_there_and_tells_it_afterwards() -> anyhow::Result<()> {
    Site::test(&PLAN, |site| {
        apply(site, "[remediation.offline]\nhosts = 1\nunits = 2\nlasts = \"1h\"\n")?;
        let before = site.run_ids()?;
        site.wait("the host holds a budget", PATIENCE, |site| Ok(budget(site)?.is_some().then_some(())))?;
        let why = site.operator.why(&REMEDY.check_ref(), HOST)?;
        ensure!(why.budget.is_some_and(|budget| (budget.units, budget.used) == (2, 0)), "`fettle why` tells it");
        site.control_plane.stop()?;
        let host = site.host(HOST)?;
        REMEDY.break_it(host.shop(REMEDY)?)?;
        wait_until("the host mends itself", PATIENCE, || {
            Ok((REMEDY.is_mended(host.shop(REMEDY)?)? && host.agent.changes_to("passing")? > 1).then_some(()))
        })?;
        ensure!(REMEDY.witnessed(host.shop(REMEDY)?)? == 1, "one effect");

        site.control_plane.start(Hold::Never)?;
        site.wait_until_connected()?;
        let (run, ending) = site.wait_for_run(HOST, &before)?;
        ensure!(ending == Ending::Succeeded, "{run:?}");
        let told = site.operator.run(&["why", &run.run.to_string()])?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        ensure!(told.contains("under a budget given in advance"), "{told}");

        apply(site, "")?;
        let returned = site.wait("the budget is given back", PATIENCE, |site| {
            Ok(site.operator.runs()?.into_iter().find_map(|row| match row.state {
                RunState::Returned { used, .. } if row.host.as_str() == HOST && used > 0 => Some(used),
                RunState::Returned { .. }
                | RunState::Expired { .. }
                | RunState::InFlight
                | RunState::Ended { .. }
                | RunState::Rejected { .. }
                | RunState::Unresolved => None,
            }))
        })?;
        ensure!(returned == 1, "{returned} of two were used");
        site.wait("nothing is held any more", PATIENCE, |site| Ok(budget(site)?.is_none().then_some(())))?;
        site.verified_log()?.every_permit_has_one_end()
    })
}

/// The permit that a production host holds, where nothing is wrong.
fn budget(site: &Site) -> anyhow::Result<Option<fettle_model::id::RunId>> {
    let held = site.operator.runs()?.into_iter().filter(|row| matches!(row.state, RunState::InFlight));
    Ok(held.filter(|row| row.host.as_str() == HOST).map(|row| row.run).next())
}

fn apply(site: &Site, offline: &str) -> anyhow::Result<()> {
    let guard = LOOSE.replace("{ ", "{ max-in-flight = 2, ");
    let remediation = REMEDY.remediation_toml(REMEDY.playbook(), &guard);
    let (services, remediations) = (site.path("services.toml"), site.path("remediations.toml"));
    fs::write(&remediations, remediation + offline).context("write the remediations")?;
    site.operator.apply(&[&services, &remediations])
}
