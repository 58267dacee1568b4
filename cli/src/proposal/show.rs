//! Proposals as a table and a page. Pure.

use crate::host::target;
use crate::plain::plain;
use crate::table::{count, facts, table};
use crate::when::distance;
use fettle_model::proposal::{EndedBecause, Verdict};
use fettle_model::run::Certainty;
use fettle_model::time::UnixMillis;
use fettle_proto::operator::{ProposalState, ProposalView};

pub(super) fn proposals(views: &[ProposalView], now: UnixMillis) -> String {
    let rows = views.iter().map(|view| {
        let proposal = &view.proposal;
        [
            proposal.proposal.to_string(),
            format!("{}@{}", proposal.check, view.host),
            proposal.playbook.name.to_string(),
            format!("{} of {}", view.approvals.len(), proposal.required),
            state(view, now),
        ]
    });
    table(
        ["PROPOSAL", "CHECK", "PLAYBOOK", "APPROVALS", "STATE"],
        rows.collect(),
        "nothing waits for a person; a remediation in mode approve proposes what it would do",
    )
}

fn state(view: &ProposalView, now: UnixMillis) -> String {
    match &view.state {
        ProposalState::Waiting => format!("waits, ends {}", distance(view.proposal.expires_at, now)),
        ProposalState::Approved => "approved; its host is to ask for the permit".to_owned(),
        ProposalState::Granted { run } => format!("run {run}"),
        ProposalState::Ended { because } => format!("ended: {}", ended(because)),
    }
}

fn ended(because: &EndedBecause) -> String {
    match because {
        EndedBecause::Rejected { by } => format!("rejected by {by}"),
        EndedBecause::Expired => "nobody decided in time".to_owned(),
        EndedBecause::TransitionChanged => "the check has changed since".to_owned(),
        EndedBecause::ConfigurationChanged => "the remediation has changed since".to_owned(),
        EndedBecause::RungChanged => "another playbook of the list is due by now".to_owned(),
        EndedBecause::TargetsChanged => "the host binds other things by now".to_owned(),
        EndedBecause::PoliciesChanged => "the control plane decides by other policies by now".to_owned(),
        EndedBecause::ApproverLost { person } => format!("{person} approved it and may not any more"),
    }
}

pub(super) fn proposal(view: &ProposalView, now: UnixMillis) -> String {
    let proposal = &view.proposal;
    let wished: Vec<&str> = proposal.wished_by.iter().map(fettle_model::name::PersonName::as_str).collect();
    let by =
        if wished.is_empty() { "the control plane".to_owned() } else { format!("the wish of {}", wished.join(", ")) };
    let approved: Vec<&str> = view.approvals.iter().map(|given| given.person.as_str()).collect();
    let approved = if approved.is_empty() { "nobody yet".to_owned() } else { approved.join(", ") };
    let mut text = facts(&[
        ("proposal", proposal.proposal.to_string()),
        ("state", state(view, now)),
        ("check", format!("{}@{}, transition {}", proposal.check, view.host, proposal.epoch)),
        ("remediation", format!("{}, configuration {}", proposal.remediation, proposal.configuration)),
        ("playbook", format!("{} {}", proposal.playbook.name, proposal.playbook.digest)),
        ("proposed by", by),
        ("approvals", format!("{} of {}: {approved}", view.approvals.len(), proposal.required)),
    ]);
    text.push_str("\nit may touch\n");
    for permitted in &proposal.targets {
        let actions: Vec<&str> = permitted.actions.iter().map(|action| action.as_str()).collect();
        let actions = if actions.is_empty() { "look".to_owned() } else { actions.join(", ") };
        text.push_str(&format!("  {}: {} ({actions})\n", permitted.label, plain(&target(&permitted.target))));
    }
    let steps = u64::try_from(proposal.steps.len()).unwrap_or(u64::MAX);
    text.push_str(&format!("\nit would make {}, and nothing else\n", count(steps, "change")));
    for (number, step) in (1..).zip(&proposal.steps) {
        let rests = match step.certainty {
            Certainty::Observed => "on what was seen",
            Certainty::Conditional => "if the steps before have the effect that is predicted",
        };
        let arguments = plain(&step.arguments);
        let arguments = if arguments.is_empty() { arguments } else { format!(" {arguments}") };
        text.push_str(&format!("  {number}. {} {}{arguments} ({rests})\n", step.action.as_str(), step.label));
    }
    let (id, hash) = (proposal.proposal, proposal.request());
    text.push_str(&format!("\nwhat is signed\n  {hash}\n"));
    match &view.state {
        ProposalState::Waiting => {
            text.push_str(&format!("\n  fettle approve {id} --hash {hash}\n  fettle reject {id} --why …\n"));
        }
        ProposalState::Approved | ProposalState::Granted { .. } | ProposalState::Ended { .. } => {}
    }
    text
}

/// What a person's answer did, in one line.
pub(super) fn answered(view: &ProposalView, verdict: &Verdict) -> String {
    let proposal = &view.proposal;
    let what = format!("{} for {}@{}", proposal.playbook.name, proposal.check, view.host);
    match verdict {
        Verdict::Approve => format!("{what} is approved as {}", proposal.request()),
        Verdict::Reject { .. } => format!("{what} is rejected: the proposal has ended"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::digest::{DocumentDigest, EnvelopeDigest, PlaybookDigest};
    use fettle_model::guard::Guard;
    use fettle_model::id::{HostId, ProposalId};
    use fettle_model::permit::{PermittedTarget, Target};
    use fettle_model::playbook::Action;
    use fettle_model::proposal::Proposal;
    use fettle_model::remediation::PlaybookVersion;
    use fettle_model::run::PlannedStep;
    use fettle_proto::operator::ApprovalRow;
    use std::collections::BTreeSet;
    use uuid::Uuid;

    fn parsed<T: std::str::FromStr>(text: &str) -> T
    where
        T::Err: std::fmt::Debug,
    {
        text.parse().expect("sound")
    }

    fn view() -> ProposalView {
        let step = PlannedStep {
            action: Action::Restart,
            label: parsed("worker"),
            arguments: "now\u{1b}[2J".to_owned(),
            certainty: Certainty::Observed,
        };
        let proposal = Proposal {
            proposal: ProposalId::from_uuid(Uuid::from_u128(9)),
            remediation: parsed("restart-web"),
            rung: fettle_model::escalation::Rung::FIRST,
            configured: DocumentDigest::of(b"remediation"),
            configuration: fettle_model::counter::ConfigurationGeneration(3),
            host: HostId::from_uuid(Uuid::from_u128(5)),
            check: fettle_model::check::CheckRef { service: parsed("web"), check: parsed("http") },
            epoch: fettle_model::counter::TransitionEpoch(7),
            playbook: PlaybookVersion { name: parsed("restart-service"), digest: PlaybookDigest::of(b"package") },
            parameters: DocumentDigest::of(b"{}"),
            targets: vec![PermittedTarget {
                label: parsed("worker"),
                target: Target::SystemdUnit { unit: "nginx.service".to_owned() },
                actions: BTreeSet::from([Action::Restart]),
            }],
            plan: EnvelopeDigest::of(b"plan"),
            steps: vec![step],
            guard: Guard::default(),
            policies: DocumentDigest::of(b"policies"),
            required: 2,
            wished_by: BTreeSet::from([parsed("olga")]),
            expires_at: UnixMillis(3_600_000),
        };
        let given = ApprovalRow { person: parsed("ann"), position: parsed_position(41), at: UnixMillis(1_000) };
        ProposalView {
            proposal,
            host: parsed("web-1"),
            position: parsed_position(40),
            made_at: UnixMillis(0),
            approvals: vec![given],
            state: ProposalState::Waiting,
        }
    }

    const fn parsed_position(position: u64) -> fettle_model::counter::LogPosition {
        fettle_model::counter::LogPosition(position)
    }

    #[test]
    fn a_proposal_is_told_with_targets_steps_and_the_hash_that_is_signed() {
        let told = proposal(&view(), UnixMillis(60_000));
        insta::assert_snapshot!(told);
        assert!(told.contains(&view().proposal.request().to_string()));
    }

    #[test]
    fn a_table_says_how_each_stands() {
        let ended = ProposalView {
            state: ProposalState::Ended { because: EndedBecause::Rejected { by: parsed("ann") } },
            ..view()
        };
        insta::assert_snapshot!(proposals(&[view(), ended], UnixMillis(60_000)));
    }
}
