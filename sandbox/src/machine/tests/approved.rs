//! Runs under a plan that people approved: each of its changing calls once, and nothing else.

use super::*;
use crate::sample::{label, manifest, permit};
use fettle_model::id::ProposalId;
use fettle_model::permit::{ApprovedPlan, Permit};
use fettle_model::run::{Certainty, PlannedStep};

const OFF_PLAN: [&str; 6] =
    ["journal refused", "reply off-plan", "journal halted", "kill-worker", "journal ended", "end failed"];

fn step(action: playbook::Action, of: &str, arguments: &str) -> PlannedStep {
    PlannedStep { action, label: label(of), arguments: arguments.to_owned(), certainty: Certainty::Observed }
}

/// A run whose plan is to stop and to start the service.
fn running() -> Host {
    let manifest = manifest(UndoPolicy::Leave);
    let steps = vec![step(playbook::Action::Stop, "web", ""), step(playbook::Action::Start, "web", "")];
    let approved = Some(ApprovedPlan { proposal: ProposalId::from_uuid(uuid::Uuid::nil()), steps });
    let permit = Permit { approved, ..permit(&manifest) };
    let (mut host, _) = Host::open(Charter::new(permit, Some(&manifest)).expect("they fit"));
    host.feed(Event::CheckRerun(Status::Critical));
    host
}

#[test]
fn what_was_planned_is_done_in_any_order_and_may_be_left_out() {
    let mut host = running();
    assert_eq!(host.call(start()), ["before start"]);
    host.feed(Event::Prepared(Ok(before())));
    host.feed(Event::Acted(Ok(done())));
    assert_eq!(host.call(stop()), ["before stop"]);
}

#[test]
fn a_call_outside_of_the_plan_ends_the_run_before_the_host_is_touched() {
    let mut host = running();
    assert_eq!(host.call(change(playbook::Action::Restart, "r")), OFF_PLAN);
    assert_eq!(host.ended().0, Ending::Failed);
}

#[test]
fn a_planned_call_is_made_once_also_across_a_crash() {
    let mut host = running();
    host.act(stop());
    let durable = host.durable.len();
    host.crash(durable);
    host.feed(Event::WorkerCalled(stop()));
    assert_eq!(host.call(stop()), OFF_PLAN);
}

#[test]
fn other_arguments_are_another_call() {
    let manifest = manifest(UndoPolicy::Leave);
    let steps = vec![step(playbook::Action::Activate, "app", "release r41")];
    let approved = Some(ApprovedPlan { proposal: ProposalId::from_uuid(uuid::Uuid::nil()), steps });
    let permit = Permit { approved, ..permit(&manifest) };
    for (release, expected) in [("r41", vec!["before activate"]), ("r42", OFF_PLAN.to_vec())] {
        let (mut host, _) = Host::open(Charter::new(permit.clone(), Some(&manifest)).expect("they fit"));
        host.feed(Event::CheckRerun(Status::Critical));
        assert_eq!(host.call(activate(release, "r")), expected, "{release}");
    }
}
