//! The plan that people approved: which changing calls it leaves to a run. Asked before a deed is looked at.

use crate::call::{ActError, Call};
use crate::journal::{Asked, Deed, Entry, begun};
use crate::words::arguments;
use fettle_model::playbook::Action;
use fettle_model::run::PlannedStep;

/// Whether a changing call is one of the plan's steps that was not begun before. Each may be begun once, in any
/// order: what turns out to be unneeded may be left out, and nothing may be done twice in its stead.
pub(super) fn leaves<D: Deed>(
    steps: &[PlannedStep],
    entries: &[Entry<D>],
    call: &Call,
    action: Action,
) -> Result<(), ActError> {
    let wanted = arguments(call);
    let planned = steps
        .iter()
        .filter(|step| step.action == action && Some(&step.label) == call.label() && step.arguments == wanted);
    let begun = begun(entries).filter(|entry| {
        let Entry::Intent { asked: Asked::Playbook(before), .. } = entry else { return false };
        before.effect() == call.effect() && before.label() == call.label() && arguments(before) == wanted
    });
    if begun.count() < planned.count() { Ok(()) } else { Err(ActError::OffPlan) }
}
