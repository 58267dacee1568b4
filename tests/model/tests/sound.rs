//! The permit protocol as it is: in every setting all invariants hold in all states, and what must be able to happen can.

use fettle_permit_model::cases::SOUND;
use fettle_permit_model::explore::{Report, explore};
use std::num::NonZeroUsize;

/// What the runner gives to each of these tests.
const THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

#[track_caller]
fn check(name: &str) -> Report {
    let case = SOUND.iter().find(|case| case.name == name).expect("a case of this name");
    let report = explore(case, THREADS);
    assert!(report.broken.is_empty() && report.unreached.is_empty(), "{report}");
    report
}

#[test]
fn crashes_and_clocks_break_nothing() {
    check("core");
}

#[test]
fn two_leaders_break_nothing() {
    // As many as make it worth the name: a setting that shrinks unnoticed explores less than it says.
    assert!(check("leaders").unique >= 10_000_000);
}

#[test]
fn nested_scopes_hold_together() {
    check("scopes");
}

#[test]
fn stop_orders_hold() {
    check("stops");
}

#[test]
fn units_in_advance_break_nothing() {
    check("escrow");
}

#[test]
fn approvals_bind() {
    check("approvals");
}
