//! `kill -9` of each of an agent's processes at every journal record of a run, one at a time.
//!
//! The effector stops itself after its n-th record; the test kills its victim, lets the rest go on or
//! starts it again, and looks at what became of the run and of the service.

use anyhow::{Context as _, ensure};
use fettle_proto::operator::RunState;
use fettle_tests::agent::Part;
use fettle_tests::log::{Effects, effects};
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::site::{LOOSE, PATIENCE, Plan, Site};

const HOST: &str = "prod-1";
const PLAN: Plan<'_> = Plan { remedies: &[Remedy::Restart], production: &[HOST], pace: Pace::Quick, guard: LOOSE };
/// Far more records than a run of the playbook writes.
const MOST_RECORDS: u32 = 60;
/// The fewest that a run can write: opened, checked, three reads, intent, outcome, returned, confirming,
/// confirmed, ended.
const FEWEST_RECORDS: u32 = 11;

/// Whether the run was still going on at its n-th record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Yes,
    No,
}

#[test]
fn an_effector_killed_at_any_record_of_a_run_ends_it_once_and_repeats_nothing() -> anyhow::Result<()> {
    at_every_record(Part::Effector)
}

#[test]
fn a_daemon_killed_at_any_record_of_a_run_comes_back_and_the_run_ends_once() -> anyhow::Result<()> {
    at_every_record(Part::Daemon)
}

#[test]
fn a_worker_killed_at_any_record_of_a_run_ends_it_once_and_repeats_nothing() -> anyhow::Result<()> {
    at_every_record(Part::Worker)
}

fn at_every_record(victim: Part) -> anyhow::Result<()> {
    Site::test(&PLAN, |site| {
        let mut records = 0;
        for at in 1..=MOST_RECORDS {
            let reached = crash(site, victim, at).with_context(|| format!("{victim:?} killed at record {at}"))?;
            if reached == Reached::No {
                break;
            }
            records = at;
        }
        eprintln!("{victim:?} was killed at {records} records");
        ensure!((FEWEST_RECORDS..MOST_RECORDS).contains(&records), "the run has {records} records");
        site.verified_log()?.every_permit_has_one_end()
    })
}

fn crash(site: &mut Site, victim: Part, at: u32) -> anyhow::Result<Reached> {
    let before = site.run_ids()?;
    let host = site.host(HOST)?;
    let starts = host.shop(Remedy::Restart)?.starts()?;
    host.agent.stop()?;
    host.agent.start_to_hold(at)?;
    host.shop(Remedy::Restart)?.kill()?;
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
    site.wait_until_quiet_resuming(HOST, Remedy::Restart)?;
    let mut told = Effects::default();
    for row in site.operator.runs()?.into_iter().filter(|row| !before.contains(&row.run)) {
        ensure!(matches!(row.state, RunState::Ended { .. }), "every run ends: {row:?}");
        let record = site.operator.run_detail(row.run)?.record.context("an ended run has an account")?;
        let one = effects(&record);
        told = Effects { made: told.made + one.made, possible: told.possible + one.possible };
    }
    let happened = site.host(HOST)?.shop(Remedy::Restart)?.starts()? - starts;
    ensure!(
        (told.made..=told.possible).contains(&happened) && happened >= 1,
        "the service was started {happened} times; the runs say {told:?}"
    );
    Ok(reached)
}
