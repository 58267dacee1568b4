//! A thousand histories hold every invariant, the same seed gives the same history, and every flaw is found.
//!
//! `FETTLE_SIMULATION_SEEDS=<n>` plays more or fewer; `FETTLE_SIMULATION_FROM=<seed>` begins elsewhere, so that one
//! seed that a failure printed is played alone with `FROM=<seed> SEEDS=1`.

use fettle_simulation::{Breach, Counts, Flaw, play};
use std::sync::atomic::{AtomicU64, Ordering};

/// Histories that are played in every test run. One takes a third of a second of one core without optimisation: three
/// minutes on two.
const SEEDS: u64 = 1_000;
/// Histories within which each flaw must be found.
const SEEDS_OF_A_FLAW: u64 = 300;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number of seeds"))
}

/// Plays seeds on all processors; gives what happened, or the breach of the lowest seed that has one.
fn play_all(from: u64, seeds: u64, flaw: Option<Flaw>) -> Result<Counts, Breach> {
    let next = AtomicU64::new(from);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part = || {
        let mut counts = Counts::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds {
                return Ok(counts);
            }
            match play(seed, flaw).unwrap_or_else(|error| unreachable!("seed {seed}: {error:?}")) {
                Ok(more) => counts = counts.and(more),
                Err(breach) => {
                    // The others end with the seed that they play.
                    next.store(from + seeds, Ordering::Relaxed);
                    return Err(breach);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|_| scope.spawn(part)).collect();
        let parts = parts.into_iter().map(|part| part.join().expect("no part panics"));
        let mut counts = Counts::default();
        let mut first: Option<Breach> = None;
        for part in parts {
            match part {
                Ok(more) => counts = counts.and(more),
                Err(breach) if first.as_ref().is_none_or(|first| breach.seed < first.seed) => first = Some(breach),
                Err(_) => {}
            }
        }
        first.map_or(Ok(counts), Err)
    })
}

#[test]
fn no_history_breaks_an_invariant_and_enough_happens_in_them() {
    let seeds = number("FETTLE_SIMULATION_SEEDS", SEEDS);
    let counts = play_all(number("FETTLE_SIMULATION_FROM", 0), seeds, None);
    let counts = counts.unwrap_or_else(|breach| unreachable!("{breach}"));
    println!("{seeds} histories: {counts:?}");
    if seeds >= SEEDS {
        let each = [
            counts.effects / 5,
            counts.granted / 5,
            counts.refused / 5,
            counts.orphans,
            counts.rejected,
            counts.unresolved,
            counts.resumed,
            counts.deposed,
            counts.stops,
            counts.units,
            counts.expired * 10,
            counts.approved,
        ];
        assert!(each.iter().all(|each| u64::from(*each) >= seeds / 10), "too little happens: {counts:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in 0..5 {
        let twice = [(); 2].map(|()| play(seed, None).expect("it plays").expect("it holds"));
        assert_eq!(twice[0], twice[1], "seed {seed}");
    }
}

/// Each flaw with the invariants of which it breaks one.
#[track_caller]
fn is_found(flaw: Flaw, by: &[&str]) {
    let breach = play_all(0, SEEDS_OF_A_FLAW, Some(flaw)).expect_err("it must be found");
    println!("{flaw:?}: {breach}");
    assert!(by.iter().any(|name| breach.invariant.starts_with(name)), "{flaw:?} broke something else: {breach}");
}

#[test]
fn a_journal_that_loses_intents_is_found() {
    is_found(Flaw::IntentNotJournalled, &["I2 "]);
}

#[test]
fn an_agent_that_looks_while_its_effect_goes_on_is_found() {
    is_found(Flaw::LooksTooEarly, &["I3 ", "I7 ", "I9 "]);
}

#[test]
fn a_lease_that_counts_from_the_receipt_is_found() {
    is_found(Flaw::LeaseFromReceipt, &["I3 "]);
}

#[test]
fn an_agent_that_ignores_stop_orders_is_found() {
    is_found(Flaw::StopIgnored, &["I6 "]);
}

#[test]
fn a_control_plane_that_forgets_its_holds_is_found() {
    is_found(Flaw::HoldForgottenOnStart, &["I3 ", "I9 "]);
}

#[test]
fn an_irreversible_effect_before_its_intent_is_in_the_log_is_found() {
    is_found(Flaw::IrreversibleUnpublished, &["I8 "]);
}

#[test]
fn an_old_leader_that_still_appends_is_found() {
    is_found(Flaw::OldLeaderNotFenced, &["I3 ", "I4 ", "I11 ", "the leader's state", "an honest agent's record"]);
}

#[test]
fn an_agent_that_uses_a_unit_of_its_budget_twice_is_found() {
    is_found(Flaw::UnitUsedTwice, &["I1 "]);
}

#[test]
fn an_agent_that_tells_of_fewer_units_than_it_used_is_found() {
    is_found(Flaw::UnitsNotCounted, &["I4 "]);
}

#[test]
fn a_control_plane_that_takes_a_yes_in_anybodys_name_is_found() {
    is_found(Flaw::SignatureNotChecked, &["I10 "]);
}

#[test]
fn an_agent_that_forgets_what_was_approved_is_found() {
    is_found(Flaw::PlanNotHeld, &["I10 "]);
}
