//! `kill -9` of the control plane at every append that a fault and its repair bring, one at a time,
//! before and after the checkpoint that covers it is published. Which records share an append is
//! chance, so it is killed at the append of the first record, of the second, and so on.

use anyhow::{Context as _, ensure};
use fettle_model::counter::TransitionEpoch;
use fettle_model::record::{Author, Body};
use fettle_proto::operator::RunState;
use fettle_tests::control_plane::{Hold, When};
use fettle_tests::log::Log;
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::site::{LOOSE, PATIENCE, Plan, Site};
use std::collections::BTreeMap;

const HOST: &str = "prod-1";
const PLAN: Plan<'_> = Plan { remedies: &[Remedy::Restart], production: &[HOST], pace: Pace::Quick, guard: LOOSE };
/// Far more records than one fault brings.
const MOST_RECORDS: u32 = 40;
/// The fewest: the transition, the request, the permit, the run's end, the transition back.
const FEWEST_RECORDS: u32 = 5;

/// Whether there was an n-th record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Yes,
    No,
}

#[test]
fn a_control_plane_killed_before_its_checkpoint_is_published_loses_nothing() -> anyhow::Result<()> {
    at_every_append(When::Appended)
}

#[test]
fn a_control_plane_killed_after_its_checkpoint_is_published_loses_nothing() -> anyhow::Result<()> {
    at_every_append(When::Published)
}

fn at_every_append(when: When) -> anyhow::Result<()> {
    Site::test(&PLAN, |site| {
        let mut records = 0;
        for at in 1..=MOST_RECORDS {
            let reached = crash(site, when, at).with_context(|| format!("killed at record {at}, {when:?}"))?;
            if reached == Reached::No {
                break;
            }
            records = at;
        }
        eprintln!("killed at {records} records, {when:?}");
        ensure!((FEWEST_RECORDS..MOST_RECORDS).contains(&records), "the fault brings {records} records");
        // Verification finds a permit that was used and is not in the log.
        let log = site.verified_log()?;
        log.every_permit_has_one_end()?;
        no_transition_is_missing(&log)
    })
}

fn crash(site: &mut Site, when: When, at: u32) -> anyhow::Result<Reached> {
    let before = site.run_ids()?;
    let starts = site.host(HOST)?.shop(Remedy::Restart)?.starts()?;
    site.control_plane.stop()?;
    site.control_plane.start(Hold::At(at, when))?;
    site.host(HOST)?.shop(Remedy::Restart)?.kill()?;
    let reached = site.wait("the control plane holds, or the run is over", PATIENCE, |site| {
        // First, since a held one answers nobody.
        if site.control_plane.is_held()? {
            return Ok(Some(Reached::Yes));
        }
        match site.is_mended_since(&before) {
            Ok(mended) => Ok(mended.then_some(Reached::No)),
            // It may have stopped itself in the middle of the answer.
            Err(error) => {
                if site.control_plane.is_held()? {
                    Ok(Some(Reached::Yes))
                } else {
                    Err(error)
                }
            }
        }
    })?;
    if reached == Reached::Yes {
        site.control_plane.kill()?;
        site.control_plane.start(Hold::Never)?;
    }
    site.wait("the fault is mended and told", PATIENCE, |site| Ok(site.is_mended_since(&before)?.then_some(())))?;
    for row in site.operator.runs()?.iter().filter(|row| !before.contains(&row.run)) {
        let over = matches!(row.state, RunState::Ended { .. } | RunState::Rejected { .. });
        ensure!(over, "every run ends: {row:?}");
    }
    let happened = site.host(HOST)?.shop(Remedy::Restart)?.starts()? - starts;
    ensure!(happened == 1, "one fault, {happened} starts");
    Ok(reached)
}

/// The epochs of every check on every host have no gap.
fn no_transition_is_missing(log: &Log) -> anyhow::Result<()> {
    let mut newest: BTreeMap<_, TransitionEpoch> = BTreeMap::new();
    for record in log.records() {
        if let (Author::Agent { host, .. }, Body::TransitionSeen(transition)) = (&record.author, &record.body) {
            let known = newest.entry((*host, transition.of.clone())).or_default();
            ensure!(transition.epoch == known.next(), "{transition:?} follows epoch {known:?}");
            *known = transition.epoch;
        }
    }
    ensure!(!newest.is_empty(), "there are transitions");
    Ok(())
}
