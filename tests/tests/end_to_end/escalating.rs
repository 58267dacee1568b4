//! A list of playbooks: where a restart does not help, the rollback's turn comes, and it heals.

use anyhow::{Context as _, ensure};
use fettle_model::escalation::RungStanding;
use fettle_model::run::Ending;
use fettle_proto::operator::RunState;
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::shop::BAD;
use fettle_tests::site::{LOOSE, PATIENCE, Plan, STAGING, Site};
use std::fs;

const PLAN: Plan<'_> = Plan { remedies: &[Remedy::Rollback], production: &["prod-1"], pace: Pace::Quick, guard: LOOSE };

/// A restart of a bad release does not help; a rollback does.
const TURNS: [(&str, Ending); 2] = [("restart-service", Ending::Failed), ("rollback-release", Ending::Succeeded)];

#[test]
fn where_a_restart_does_not_help_the_rollback_heals() -> anyhow::Result<()> {
    Site::test(&PLAN, |site| {
        list(site)?;
        let before = site.run_ids()?;
        site.host("prod-1")?.shop(Remedy::Rollback)?.activate(BAD)?;
        let mut runs = site.wait("both playbooks had their turn", PATIENCE, |site| {
            let runs = site.operator.runs()?.into_iter().filter(|row| !before.contains(&row.run));
            let ended: Vec<_> = runs.filter(|row| matches!(row.state, RunState::Ended { .. })).collect();
            Ok((ended.len() == 2).then_some(ended))
        })?;
        runs.sort_by_key(|row| row.granted_at);
        for (row, (playbook, ended)) in runs.iter().zip(TURNS) {
            ensure!(row.playbook.as_ref().is_some_and(|name| name.as_str() == playbook), "{row:?}");
            ensure!(matches!(row.state, RunState::Ended { ending, .. } if ending == ended), "{row:?}");
        }
        let why = site.operator.why(&Remedy::Rollback.check_ref(), "prod-1")?;
        let standings: Vec<RungStanding> = why.rungs.iter().map(|row| row.standing).collect();
        ensure!(matches!(standings[..], [RungStanding::Over, RungStanding::Due { .. }]), "{standings:?}");
        site.wait("every check passes again", PATIENCE, |site| Ok(site.is_quiet()?.then_some(())))?;
        let shop = site.host("prod-1")?.shop(Remedy::Rollback)?;
        ensure!(Remedy::Rollback.is_mended(shop)?, "it says so, and it is not");
        ensure!((shop.starts()?, shop.activations()?) == (1, 1), "one restart, one rollback");
        site.verified_log()?.every_permit_has_one_end()
    })
}

/// Restart first, then roll back; both proven on the service, each by a drill of its own.
fn list(site: &mut Site) -> anyhow::Result<()> {
    site.publish(Remedy::Restart, Pace::Quick)?;
    let then = "parameters = { healthy-within = \"2s\" }\n[[remediation.then]]\nplaybook = \"rollback-release\"\n";
    let remediation = Remedy::Rollback.remediation_toml("restart-service", LOOSE) + then;
    let (services, remediations) = (site.path("services.toml"), site.path("remediations.toml"));
    fs::write(&remediations, remediation).context("write the remediations")?;
    site.operator.apply(&[&services, &remediations])?;
    for playbook in ["restart-service", "rollback-release"] {
        site.operator.drill(playbook, STAGING, &Remedy::Rollback.remediation())?;
        site.wait("every check passes again", PATIENCE, |site| Ok(site.is_quiet()?.then_some(())))?;
    }
    Ok(())
}
