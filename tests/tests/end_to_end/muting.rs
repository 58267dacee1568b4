//! A mute holds what people are called to, and automation goes on.

use anyhow::{Context as _, bail, ensure};
use fettle_model::incident::IncidentCause;
use fettle_model::run::Ending;
use fettle_proto::operator::{IncidentRow, MuteRow, QueryReply};
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::site::{LOOSE, PATIENCE, Plan, Site};
use serde::Deserialize;
use std::fs;

const HOST: &str = "prod-1";

#[derive(Deserialize)]
struct Standing {
    incidents: Vec<IncidentRow>,
    muted: Vec<MuteRow>,
}

#[test]
fn a_halted_rollout_is_held_while_it_is_muted_and_a_fault_is_mended_meanwhile() -> anyhow::Result<()> {
    let plan = Plan { remedies: &[Remedy::Restart], production: &[HOST], pace: Pace::Quick, guard: LOOSE };
    Site::test(&plan, |site| {
        let (services, remediations) = (site.path("services.toml"), site.path("remediations.toml"));
        let (code, said) = site.operator.refused(&["mute", "start", "global", "--for", "8d", "--why", "too long"])?;
        ensure!(code == 4, "exit {code}: {said}");
        site.operator.done(&["mute", "start", "global", "--for", "1h", "--why", "new disks"])?;
        let QueryReply::Mutes { mutes } = site.operator.json(&["mute", "list"])? else {
            bail!("mutes were asked for: fettle answered something else")
        };
        let mute = mutes.first().context("a mute")?.mute;

        // Its only staging host has no such value: the rollout halts.
        let text = fs::read_to_string(&services)?;
        ensure!(text.contains("{host.address}"), "{text}");
        fs::write(&services, text.replace("{host.address}", "{host.nothing}"))?;
        site.operator.apply(&[&services, &remediations])?;
        let called = site.wait("the rollout halts", PATIENCE, |site| halted(site))?;
        ensure!(called.held.as_ref().map(|held| held.mute) == Some(mute), "{called:?}");

        let before = site.run_ids()?;
        site.host(HOST)?.shop(Remedy::Restart)?.kill()?;
        let (row, ending) = site.wait_for_run(HOST, &before)?;
        ensure!(ending == Ending::Succeeded, "{row:?}");

        site.operator.done(&["mute", "lift", &mute.to_string(), "--why", "done"])?;
        let after = halted(site)?.context("the incident")?;
        ensure!(after.held.is_none() && after.incident == called.incident, "{after:?}");
        let standing: Standing = site.operator.json(&["status"])?;
        ensure!(standing.muted.is_empty(), "{:?}", standing.muted);
        site.verified_log().map(drop)
    })
}

/// The incident of the rollout that halted.
fn halted(site: &Site) -> anyhow::Result<Option<IncidentRow>> {
    let standing: Standing = site.operator.json(&["status"])?;
    let is_halt = |row: &IncidentRow| matches!(row.cause, IncidentCause::RolloutHalted { .. });
    Ok(standing.incidents.into_iter().find(is_halt))
}
