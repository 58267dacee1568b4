//! Every known way to get the permit protocol wrong breaks exactly the invariants that it should.

use fettle_permit_model::cases::FLAWED;
use fettle_permit_model::explore::explore;
use fettle_permit_model::invariants::INVARIANTS;
use std::num::NonZeroUsize;

#[test]
fn every_flaw_breaks_exactly_the_invariants_that_are_named() {
    for case in &FLAWED {
        let report = explore(case, NonZeroUsize::MIN);
        assert_eq!(report.broken_names(), case.breaks, "{}\n{report}", case.name);
    }
}

#[test]
fn every_invariant_is_broken_by_a_flaw() {
    for invariant in &INVARIANTS {
        let broken = FLAWED.iter().any(|case| case.breaks.contains(&invariant.name));
        assert!(broken, "nothing shows that {:?} is looked at", invariant.name);
    }
}
