//! Why a check on a host was, or was not, acted upon. Pure.

use super::reason::reason;
use super::rungs::rungs;
use super::withheld::withheld;
use crate::break_glass::holds;
use crate::prose::paragraph;
use crate::run::{claim, state};
use crate::service::status;
use crate::table::count;
use crate::when::instant_with_distance;
use fettle_model::check::{CheckRef, Status};
use fettle_model::counter::LogPosition;
use fettle_model::refusal::Refusal;
use fettle_model::remediation::Mode;
use fettle_model::run::{Certainty, Plan};
use fettle_model::time::UnixMillis;
use fettle_proto::operator::{BudgetRow, WhyCheck, WhyDecision};

pub(super) fn check(of: &CheckRef, why: &WhyCheck, now: UnixMillis) -> String {
    let mut text = paragraph(0, &standing(of, why, now));
    match &why.remediation {
        Some((name, mode)) => {
            let does = match mode {
                Mode::Observe => "in mode observe there: it plans, and does nothing",
                Mode::Approve => "in mode approve there: it waits for a person",
                Mode::Auto => "in mode auto there",
            };
            text.push_str(&paragraph(0, &format!("Remediation {name} answers it, {does}.")));
        }
        None => text.push_str(&paragraph(0, "No remediation answers it, so nothing is ever done about it.")),
    }
    text.push_str(&rungs(&why.rungs, now));
    match &why.decision {
        Some(WhyDecision::Refused { refusal, position, at }) => text.push_str(&refused(refusal, *position, *at, now)),
        Some(WhyDecision::Withheld { withheld: said, position, at }) => {
            text.push_str(&withheld(said, *position, *at, now));
        }
        Some(WhyDecision::Granted { permit, run, position }) => {
            let granted = format!(
                "Automation acted: the newest decision, log position {position}, {}, granted permit {permit} for run {}.",
                instant_with_distance(run.granted_at, now),
                run.run
            );
            text.push_str(&paragraph(0, &granted));
            let story = format!("The run {}. `fettle why {}` tells all of it.", state(&run.state, now), run.run);
            text.push_str(&paragraph(0, &story));
        }
        None => text.push_str(&paragraph(0, &undecided(why))),
    }
    if let Some(plan) = &why.plan {
        text.push_str(&planned(plan, now));
    }
    if let Some(budget) = &why.budget {
        text.push_str(&paragraph(0, &held(budget, now)));
    }
    for broken in &why.broken_glass {
        text.push_str(&paragraph(0, &format!("Glass is broken: {}.", holds(broken, now))));
    }
    text
}

fn standing(of: &CheckRef, why: &WhyCheck, now: UnixMillis) -> String {
    let row = &why.check;
    let place = format!("{of} on {} ({})", row.host, row.environment);
    match row.status {
        None => format!("{place} has never been reported."),
        Some(_) => {
            let since =
                row.since.map_or_else(String::new, |since| format!(" since {}", instant_with_distance(since, now)));
            let reason = if row.reason.is_empty() { String::new() } else { format!(": {}", row.reason) };
            format!("{place} is {}{since}, its transition {}{reason}.", status(row), row.epoch)
        }
    }
}

/// A budget in advance, and what follows from it.
fn held(budget: &BudgetRow, now: UnixMillis) -> String {
    let BudgetRow { check, units, used, until } = budget;
    let left = count(u64::from(units.saturating_sub(*used)), "run");
    format!(
        "The host holds a budget in advance for {check}: {left} of {units} are left as far as it has told, to begin before {} \
         while it cannot reach the control plane. It gives it back before it asks for anything else.",
        instant_with_distance(*until, now)
    )
}

fn refused(refusal: &Refusal, position: LogPosition, at: UnixMillis, now: UnixMillis) -> String {
    let reasons = u64::try_from(refusal.reasons.len()).unwrap_or(u64::MAX);
    let mut text = paragraph(
        0,
        &format!(
            "Automation did not act: the newest decision, log position {position}, {}, refused a permit for {}:",
            instant_with_distance(at, now),
            count(reasons, "reason")
        ),
    );
    for each in &refusal.reasons {
        text.push_str(&paragraph(2, &reason(each, now)));
    }
    let again = match refusal.retry_at {
        Some(at) => format!("The agent asks again by itself at {}.", instant_with_distance(at, now)),
        None => "The agent asks again when something changes.".to_owned(),
    };
    text.push_str(&paragraph(0, &again));
    text
}

/// Why nobody has decided anything.
fn undecided(why: &WhyCheck) -> String {
    match (why.check.status, why.running) {
        (Some(Status::Critical), Some(run)) if why.remediation.is_some() => {
            return format!("No decision is known: the agent asks when the run in progress there, {run}, has ended.");
        }
        (Some(Status::Critical), None) if why.remediation.is_some() => {
            "No decision is known: the agent has not asked yet. See `fettle host list` whether it is connected."
        }
        (Some(Status::Critical), _) => "There is nothing to decide.",
        (Some(Status::Passing | Status::Warning | Status::Unknown), _) => {
            "There was nothing to decide: only a critical check is acted upon."
        }
        (None, _) => "There was nothing to decide: the host does not carry the service, or its agent has not reported.",
    }
    .to_owned()
}

fn planned(plan: &Plan, now: UnixMillis) -> String {
    let steps = u64::try_from(plan.steps.len()).unwrap_or(u64::MAX);
    let heading = format!(
        "What {} would have done, as planned {}: {}.",
        plan.playbook.name,
        instant_with_distance(plan.made_at, now),
        count(steps, "change")
    );
    let mut text = paragraph(0, &heading);
    for step in &plan.steps {
        let certainty = match step.certainty {
            Certainty::Observed => "",
            Certainty::Conditional => " (if the steps before have the predicted effect)",
        };
        let line = format!("{} {} {}{certainty}", step.action.as_str(), step.label, step.arguments);
        text.push_str(&paragraph(2, line.trim_end()));
    }
    text.push_str(&paragraph(0, &format!("It would have said: {}", claim(&plan.claim, now))));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::breaker::Scope;
    use fettle_model::counter::{ConfigurationGeneration, StopEpoch, TransitionEpoch};
    use fettle_model::digest::PlaybookDigest;
    use fettle_model::escalation::Rung;
    use fettle_model::id::{HostId, PermitId, RequestId, RunId};
    use fettle_model::permit::Purpose;
    use fettle_model::playbook::Action;
    use fettle_model::refusal::Reason;
    use fettle_model::remediation::PlaybookVersion;
    use fettle_model::run::{Claim, Ending, PlannedStep};
    use fettle_model::withheld::{Hindrance, Hindrances, RequestWithheld};
    use fettle_proto::operator::{CheckRow, RunRow, RunState};
    use uuid::Uuid;

    const NOW: UnixMillis = UnixMillis(1_795_731_481_000);

    fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("sound text")
    }

    fn of() -> CheckRef {
        CheckRef { service: parsed("web"), check: parsed("http") }
    }

    fn before(millis: u64) -> UnixMillis {
        UnixMillis(NOW.0 - millis)
    }

    fn why(status: Option<Status>, decision: Option<WhyDecision>) -> WhyCheck {
        WhyCheck {
            check: CheckRow {
                host: parsed("web-1"),
                environment: parsed("production"),
                check: parsed("http"),
                status,
                epoch: TransitionEpoch(7),
                since: Some(before(190_000)),
                reason: "connection refused".to_owned(),
            },
            remediation: Some((parsed("restart-web"), Mode::Auto)),
            rungs: Vec::new(),
            decision,
            plan: None,
            running: None,
            budget: None,
            broken_glass: Vec::new(),
        }
    }

    #[test]
    fn a_refusal_is_told_with_every_reason() {
        let refusal = Refusal {
            request: RequestId::from_uuid(Uuid::from_u128(1)),
            run: RunId::from_uuid(Uuid::from_u128(2)),
            host: HostId::from_uuid(Uuid::from_u128(3)),
            check: Some(of()),
            epoch: Some(TransitionEpoch(7)),
            reasons: vec![
                Reason::MaxInFlight { limit: 1, value: 1, clears_at: Some(UnixMillis(NOW.0 + 60_000)) },
                Reason::Stopped { scope: Scope::Global, epoch: StopEpoch(2) },
            ],
            budget: None,
            retry_at: Some(UnixMillis(NOW.0 + 60_000)),
        };
        let decision = WhyDecision::Refused { refusal, position: LogPosition(512), at: before(180_000) };
        insta::assert_snapshot!(check(&of(), &why(Some(Status::Critical), Some(decision)), NOW), @r"
        web/http on web-1 (production) is critical since 2026-11-26 22:14:51Z (3m 10s ago), its transition
          7: connection refused.
        Remediation restart-web answers it, in mode auto there.
        Automation did not act: the newest decision, log position 512, 2026-11-26 22:15:01Z (3m ago),
          refused a permit for 2 reasons:
          max-in-flight: 1 permit of this group may still have effects in progress; the limit is 1. It may
            clear at 2026-11-26 22:19:01Z (in 1m).
          stopped: automation is stopped in global (stop order 2). Cleared by a person: `fettle resume
            global --why …`.
        The agent asks again by itself at 2026-11-26 22:19:01Z (in 1m).
        ");
    }

    #[test]
    fn a_request_that_was_never_made_is_told_with_what_hinders_the_host() {
        let said = RequestWithheld {
            purpose: Purpose::Remediate {
                check: of(),
                epoch: TransitionEpoch(7),
                remediation: parsed("restart-web"),
                rung: Rung::FIRST,
            },
            playbook: PlaybookVersion { name: parsed("restart-service"), digest: PlaybookDigest::of(b"package") },
            configuration: ConfigurationGeneration(4),
            because: Hindrances::first_of(vec![Hindrance::PublisherUntrusted { publisher: parsed("acme") }])
                .expect("there is one"),
        };
        let decision =
            WhyDecision::Withheld { withheld: Box::new(said), position: LogPosition(512), at: before(180_000) };
        insta::assert_snapshot!(check(&of(), &why(Some(Status::Critical), Some(decision)), NOW), @r"
        web/http on web-1 (production) is critical since 2026-11-26 22:14:51Z (3m 10s ago), its transition
          7: connection refused.
        Remediation restart-web answers it, in mode auto there.
        Automation did not act: nobody was asked for a permit about transition 7. The host cannot run
          restart-service (bc4a71180870), as its agent said at log position 512, 2026-11-26 22:15:01Z (3m
          ago):
          publisher-untrusted: it is signed by acme, and by nobody whom the host's owner trusts. Cleared by
            the host's owner: a [[publisher]] in agent.toml.
        The agent asks by itself when nothing of this hinders it any more.
        ");
    }

    #[test]
    fn a_grant_leads_to_its_run() {
        let run = RunRow {
            run: RunId::from_uuid(Uuid::from_u128(2)),
            host: parsed("web-1"),
            playbook: Some(parsed("restart-service")),
            check: Some(of()),
            granted_at: before(180_000),
            state: RunState::Ended { ending: Ending::Succeeded, at: before(175_000) },
        };
        let permit = PermitId::from_uuid(Uuid::from_u128(4));
        let decision = WhyDecision::Granted { permit, run: Box::new(run), position: LogPosition(512) };
        let text = check(&of(), &why(Some(Status::Passing), Some(decision)), NOW);
        assert!(text.contains("Automation acted: the newest decision, log position 512"), "{text}");
        assert!(text.contains("The run succeeded at 2026-11-26 22:15:06Z (2m 55s ago)."), "{text}");
    }

    #[test]
    fn a_plan_is_told_with_what_it_rests_on() {
        let step = |label: &str, certainty| PlannedStep {
            action: Action::Restart,
            label: parsed(label),
            arguments: String::new(),
            certainty,
        };
        let plan = Plan {
            request: RequestId::from_uuid(Uuid::from_u128(1)),
            run: RunId::from_uuid(Uuid::from_u128(2)),
            host: HostId::from_uuid(Uuid::from_u128(3)),
            purpose: Purpose::Remediate {
                check: of(),
                epoch: TransitionEpoch(7),
                remediation: parsed("restart-web"),
                rung: Rung::FIRST,
            },
            playbook: PlaybookVersion { name: parsed("restart-service"), digest: PlaybookDigest::of(b"package") },
            made_at: before(60_000),
            steps: vec![step("web", Certainty::Observed), step("worker", Certainty::Conditional)],
            claim: Claim::Resolved { summary: "restarted both".to_owned() },
        };
        let why = WhyCheck {
            remediation: Some((parsed("restart-web"), Mode::Observe)),
            plan: Some(plan),
            ..why(Some(Status::Critical), None)
        };
        let text = check(&of(), &why, NOW);
        let (_, planned) = text.split_once("What restart-service").expect("the plan");
        insta::assert_snapshot!(planned, @r"
         would have done, as planned 2026-11-26 22:17:01Z (1m ago): 2 changes.
          restart web
          restart worker (if the steps before have the predicted effect)
        It would have said: resolved: restarted both
        ");
    }

    #[test]
    fn no_decision_is_explained_by_the_checks_status() {
        let text = check(&of(), &why(Some(Status::Passing), None), NOW);
        assert!(text.ends_with("only a critical check is acted upon.\n"), "{text}");
        let text = check(&of(), &why(Some(Status::Critical), None), NOW);
        assert!(text.contains("the agent has not asked yet"), "{text}");
        let budget = Some(BudgetRow { check: of(), units: 3, used: 1, until: UnixMillis(NOW.0 + 3_600_000) });
        let text = check(&of(), &WhyCheck { budget, ..why(Some(Status::Passing), None) }, NOW);
        let told = text.replace('\n', " ");
        assert!(
            told.contains(
                "The host holds a budget in advance for web/http: 2 runs of 3 are left as far as it has told"
            ),
            "{text}"
        );
        let running = Some(RunId::from_uuid(Uuid::from_u128(2)));
        let text = check(&of(), &WhyCheck { running, ..why(Some(Status::Critical), None) }, NOW);
        assert!(text.contains("the agent asks when the run in progress there,"), "{text}");
        assert!(text.ends_with("00000000-0000-0000-0000-000000000002, has ended.\n"), "{text}");
        let text = check(&of(), &WhyCheck { remediation: None, ..why(None, None) }, NOW);
        assert!(text.starts_with("web/http on web-1 (production) has never been reported.\nNo remediation"), "{text}");
    }
}
