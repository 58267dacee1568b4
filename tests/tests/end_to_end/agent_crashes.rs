//! `kill -9` of each of an agent's processes at every journal record of a run, one at a time.
//!
//! The effector stops itself after its n-th record; the test kills its victim, lets the rest go on or
//! starts it again, and looks at what became of the run and of the service.

use anyhow::{Context as _, bail, ensure};
use fettle_model::run::Ending;
use fettle_proto::operator::RunState;
use fettle_tests::agent::Part;
use fettle_tests::log::{Effects, effects};
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::shop::Gate;
use fettle_tests::site::{LOOSE, PATIENCE, Plan, Site};
use xtask::process::wait_until;

const HOST: &str = "prod-1";
/// Far more records than a run of these playbooks writes.
const MOST_RECORDS: u32 = 60;
/// The fewest that a run can write: opened, checked, the fault probed, the thing read, intent, outcome,
/// health awaited, returned, confirming, confirmed, ended.
const FEWEST_RECORDS: u32 = 11;

/// Whether the run was still going on at its n-th record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Yes,
    No,
}

#[test]
fn an_effector_killed_at_any_record_of_a_restart_ends_the_run_once_and_repeats_nothing() -> anyhow::Result<()> {
    at_every_record(Part::Effector, Remedy::Restart)
}

#[test]
fn an_effector_killed_at_any_record_of_a_rollback_ends_the_run_once_and_repeats_nothing() -> anyhow::Result<()> {
    at_every_record(Part::Effector, Remedy::Rollback)
}

#[test]
fn an_effector_killed_at_any_record_while_a_flag_is_set_ends_the_run_once_and_repeats_nothing() -> anyhow::Result<()> {
    at_every_record(Part::Effector, Remedy::Disable)
}

#[test]
fn a_daemon_killed_at_any_record_of_a_run_comes_back_and_the_run_ends_once() -> anyhow::Result<()> {
    at_every_record(Part::Daemon, Remedy::Restart)
}

#[test]
fn a_worker_killed_at_any_record_of_a_run_ends_it_once_and_repeats_nothing() -> anyhow::Result<()> {
    at_every_record(Part::Worker, Remedy::Restart)
}

#[test]
fn an_effector_killed_in_the_middle_of_an_effect_looks_and_does_not_repeat_it() -> anyhow::Result<()> {
    let plan = Plan { remedies: &[Remedy::Restart], production: &[HOST], pace: Pace::Quick, guard: LOOSE };
    Site::test(&plan, |site| {
        for gate in [Gate::BeforeStart, Gate::AfterStart] {
            killed_at(site, gate).with_context(|| format!("killed while the start command waits {gate:?}"))?;
        }
        site.verified_log()?.every_permit_has_one_end()
    })
}

/// The command that the effector ran is at work when the effector dies, and goes on after it.
fn killed_at(site: &mut Site, gate: Gate) -> anyhow::Result<()> {
    let before = site.run_ids()?;
    let host = site.host(HOST)?;
    let shop = host.shop(Remedy::Restart)?;
    let starts = shop.starts()?;
    shop.shut(gate)?;
    shop.kill()?;
    wait_until("the start command is at work", PATIENCE, || {
        let there = match gate {
            Gate::BeforeStart => shop.starts()? > starts,
            Gate::AfterStart => shop.get("/") == Some(200),
        };
        Ok(there.then_some(()))
    })?;
    host.agent.kill(Part::Effector)?;
    host.agent.start()?;
    host.shop(Remedy::Restart)?.open_up(gate)?;
    let (row, ending) = site.wait_for_run(HOST, &before)?;
    ensure!(ending == Ending::Succeeded, "looking can tell here: {row:?}");
    let record = site.operator.run_detail(row.run)?.record.context("it has an account")?;
    ensure!(record.resumed == 1 && effects(&record) == Effects { made: 1, possible: 1 }, "{record:?}");
    let happened = site.host(HOST)?.shop(Remedy::Restart)?.starts()? - starts;
    ensure!(happened == 1, "{happened} starts");
    site.wait_until_quiet_resuming(HOST, Remedy::Restart)
}

fn at_every_record(victim: Part, remedy: Remedy) -> anyhow::Result<()> {
    let plan = Plan { remedies: &[remedy], production: &[HOST], pace: Pace::Quick, guard: LOOSE };
    Site::test(&plan, |site| {
        let mut records = 0;
        for at in 1..=MOST_RECORDS {
            let reached = crash(site, victim, remedy, at);
            if reached.with_context(|| format!("{victim:?} killed at record {at}"))? == Reached::No {
                break;
            }
            records = at;
        }
        eprintln!("{victim:?} was killed at {records} records");
        ensure!((FEWEST_RECORDS..MOST_RECORDS).contains(&records), "the run has {records} records");
        site.verified_log()?.every_permit_has_one_end()
    })
}

fn crash(site: &mut Site, victim: Part, remedy: Remedy, at: u32) -> anyhow::Result<Reached> {
    let before = site.run_ids()?;
    let host = site.host(HOST)?;
    let effects_before = remedy.witnessed(host.shop(remedy)?)?;
    host.agent.stop()?;
    host.agent.start_to_hold(at)?;
    remedy.break_it(host.shop(remedy)?)?;
    let reached = site.wait("the effector holds, or the run ends", PATIENCE, |site| {
        if site.host(HOST)?.agent.is_held()? {
            return Ok(Some(Reached::Yes));
        }
        let ended = |state: &RunState| matches!(state, RunState::Ended { .. });
        let over = site.operator.runs()?.iter().any(|row| !before.contains(&row.run) && ended(&row.state));
        Ok(over.then_some(Reached::No))
    })?;
    if reached == Reached::Yes {
        let agent = &mut site.host(HOST)?.agent;
        agent.kill(victim)?;
        if victim == Part::Effector {
            agent.start()?;
        }
    }
    site.wait_until_quiet_resuming(HOST, remedy)?;
    let mut told = Effects::default();
    for row in site.operator.runs()?.into_iter().filter(|row| !before.contains(&row.run)) {
        match row.state {
            RunState::Ended { .. } => {}
            // The fault was gone before the permit came, so nobody asks for it any more.
            RunState::Rejected { .. } => continue,
            RunState::InFlight | RunState::Unresolved | RunState::Returned { .. } | RunState::Expired { .. } => {
                bail!("the run has no end: {row:?}")
            }
        }
        let record = site.operator.run_detail(row.run)?.record.context("an ended run has an account")?;
        let one = effects(&record);
        told = Effects { made: told.made + one.made, possible: told.possible + one.possible };
    }
    let shop = site.host(HOST)?.shop(remedy)?;
    ensure!(remedy.is_mended(shop)?, "the service is not mended");
    let happened = remedy.witnessed(shop)? - effects_before;
    ensure!(
        (told.made..=told.possible).contains(&happened) && happened >= 1,
        "there were {happened} effects; the runs say {told:?}"
    );
    Ok(reached)
}
