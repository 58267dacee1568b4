//! A configuration rolls out in rings: staging, one host, a part, all; one that staging cannot hold goes no further; and an
//! agent keeps the last good one, also when it is killed between receiving the next and keeping it.

use anyhow::{Context as _, ensure};
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::record::Body;
use fettle_model::rollout::Ring;
use fettle_proto::operator::{QueryReply, RolloutStanding, RolloutView};
use fettle_tests::agent::Part;
use fettle_tests::control_plane::Hold;
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::site::{LOOSE, PATIENCE, Plan, STAGING, Site};
use std::collections::BTreeMap;
use std::fs;
use xtask::process::wait_until;

const PRODUCTION: [&str; 3] = ["prod-1", "prod-2", "prod-3"];

#[test]
fn a_configuration_goes_ring_by_ring_and_one_that_staging_cannot_hold_stays_there() -> anyhow::Result<()> {
    let plan = Plan { remedies: &[Remedy::Restart], production: &PRODUCTION, pace: Pace::Quick, guard: LOOSE };
    Site::test(&plan, |site| {
        let first = rollout(site)?.generation;
        reconfigure(site, "interval = \"100ms\"", "interval = \"150ms\"", "2s")?;
        let begun = rollout(site)?;
        let second = begun.generation;
        ensure!(second > first && begun.rollout.is_some(), "a rollout began: {begun:?}");
        let mut seen: Vec<usize> = Vec::new();
        site.wait("the configuration is everywhere", PATIENCE, |site| {
            let view = rollout(site)?;
            if let Some(progress) = &view.rollout {
                let held = holding(&view);
                let production = PRODUCTION.iter().filter(|host| held.get(**host) == Some(&second)).count();
                let reached = progress.rings.iter().find(|row| row.ring == Ring::One).map_or(0, |row| row.count);
                ensure!(u64::try_from(production)? <= reached, "a host holds it before its ring: {view:?}");
                seen.push(production);
            }
            Ok(view.rollout.is_none().then_some(()))
        })?;
        ensure!(seen.contains(&0), "no production host held it at first: {seen:?}");

        // Its only staging host has no such value: it says so, and nobody else gets it.
        reconfigure(site, "{host.address}", "{host.nothing}", "2s")?;
        let halted = site.wait("the rollout halts", PATIENCE, |site| {
            let view = rollout(site)?;
            let standing = view.rollout.as_ref().map(|progress| &progress.standing);
            Ok(matches!(standing, Some(RolloutStanding::Halted { .. })).then_some(view))
        })?;
        ensure!(halted.rejections.iter().any(|row| row.host.as_str() == STAGING && row.keeps == second), "{halted:?}");
        for (host, held) in holding(&halted) {
            ensure!(held == second, "{host} holds {held}: {halted:?}");
        }
        // What they hold is in force: a fault is mended under it.
        let before = site.run_ids()?;
        site.host("prod-3")?.shop(Remedy::Restart)?.kill()?;
        let (row, _) = site.wait_for_run("prod-3", &before)?;
        ensure!(site.operator.run_detail(row.run)?.permit.configuration == second, "{row:?}");

        site.operator.done(&["rollout", "abort", "--why", "it names a value that no host has"])?;
        let fourth = ConfigurationGeneration(halted.generation.0 + 1);
        site.wait("everybody holds what was there before", PATIENCE, |site| {
            let held = site.operator.hosts()?.len();
            let view = rollout(site)?;
            Ok((view.generation == fourth && view.rollout.is_none() && held == 4).then_some(()))
        })?;
        let log = site.verified_log()?;
        let rings: Vec<(u64, Ring)> = log
            .records()
            .iter()
            .filter_map(|record| {
                let Body::RolloutAdvanced(advanced) = &record.body else { return None };
                Some((advanced.generation.0, advanced.ring))
            })
            .collect();
        // One of three hosts is more than a quarter: the ring `part` adds nobody.
        ensure!(rings == [(second.0, Ring::One), (second.0, Ring::All)], "{rings:?}");
        Ok(())
    })
}

#[test]
fn an_agent_killed_between_receiving_a_configuration_and_keeping_it_holds_the_last_good_one() -> anyhow::Result<()> {
    let plan = Plan { remedies: &[Remedy::Restart], production: &["prod-1"], pace: Pace::Quick, guard: LOOSE };
    Site::test(&plan, |site| {
        let first = rollout(site)?.generation;
        let second = ConfigurationGeneration(first.0 + 1);
        let staging = site.host(STAGING)?;
        staging.agent.stop()?;
        staging.agent.start_to_hold_configuration(second.0)?;
        site.wait_until_connected()?;
        reconfigure(site, "interval = \"100ms\"", "interval = \"150ms\"", "1s")?;
        site.wait("the agent has received it", PATIENCE, |site| {
            Ok(site.host(STAGING)?.agent.is_held()?.then_some(()))
        })?;
        ensure!(rollout(site)?.rollout.is_some(), "the ring waits for it");
        let staging = site.host(STAGING)?;
        staging.agent.kill(Part::Effector)?;
        // Without a control plane it looks by what it held before.
        site.control_plane.stop()?;
        let staging = site.host(STAGING)?;
        let before = staging.agent.changes_to("critical")?;
        staging.agent.start()?;
        staging.shop(Remedy::Restart)?.kill()?;
        wait_until("its check is critical", PATIENCE, || {
            Ok((site.host(STAGING)?.agent.changes_to("critical")? > before).then_some(()))
        })?;
        site.control_plane.start(Hold::Never)?;
        site.wait("the configuration is everywhere", PATIENCE, |site| {
            let view = rollout(site)?;
            Ok((view.generation == second && view.rollout.is_none()).then_some(()))
        })?;
        site.verified_log().map(drop)
    })
}

fn rollout(site: &Site) -> anyhow::Result<Box<RolloutView>> {
    let QueryReply::Rollout { rollout } = site.operator.json(&["rollout", "show"])? else {
        anyhow::bail!("the rollout was asked for: fettle answered something else")
    };
    Ok(rollout)
}

/// What each connected host holds, while a rollout is under way.
fn holding(view: &RolloutView) -> BTreeMap<String, ConfigurationGeneration> {
    let rows = view.rollout.iter().flat_map(|progress| progress.rings.iter().flat_map(|row| &row.hosts));
    rows.filter_map(|row| Some((row.host.to_string(), row.holds?))).collect()
}

/// Applies the site's files with something replaced, and with a soak.
fn reconfigure(site: &Site, text: &str, replacement: &str, soak: &str) -> anyhow::Result<()> {
    let (services, remediations) = (site.path("services.toml"), site.path("remediations.toml"));
    let sound = fs::read_to_string(&services).context("read the services")?;
    ensure!(sound.contains(text), "{text} is not in {sound}");
    let changed = sound.replace(text, replacement).replace("soak = \"0s\"", &format!("soak = \"{soak}\""));
    let path = site.path("changed.toml");
    fs::write(&path, &changed)?;
    site.operator.apply(&[&path, &remediations])
}
