//! One reason of a refusal as sentences: the rule, its limit, its value, and what clears it. Pure.

use crate::switch::{clears_at, open_reason};
use crate::table::count;
use crate::when::instant_with_distance;
use fettle_model::refusal::Reason;
use fettle_model::remediation::Mode;
use fettle_model::time::UnixMillis;

/// The reason, and when or by what it may clear.
pub(super) fn reason(reason: &Reason, now: UnixMillis) -> String {
    let clears = clears_at(reason.clears_at(), now).unwrap_or_else(|| cleared_by(reason));
    format!("{}: {} {clears}", reason.rule(), what(reason, now)).trim_end().to_owned()
}

fn what(reason: &Reason, now: UnixMillis) -> String {
    match reason {
        Reason::NoRemediation => "no remediation answers this check.".to_owned(),
        Reason::ConfigurationStale { held, current } => {
            format!("the agent asked under configuration {held}, and {current} is current.")
        }
        Reason::TransitionStale { asked, newest } => {
            format!(
                "the agent asked about transition {asked} of the check; {newest} is its newest, or it is not critical."
            )
        }
        Reason::Mode { mode: Mode::Approve, proposal: Some(proposal) } => {
            format!("the remediation waits for a person here (mode approve); its proposal is {proposal}.")
        }
        Reason::Mode { mode: Mode::Approve, proposal: None } => {
            "the remediation waits for a person here (mode approve); what its agent plans is proposed.".to_owned()
        }
        Reason::Mode { mode, .. } => {
            format!("the remediation does not act by itself here (mode {}).", mode.as_str())
        }
        Reason::PlaybookNotAdmitted => {
            "the playbook is not admitted, or the agent holds another version than the configuration names.".to_owned()
        }
        Reason::NoEvidence { class, covered } => {
            let covered: Vec<String> = covered.iter().map(ToString::to_string).collect();
            let covered = if covered.is_empty() { "none".to_owned() } else { covered.join("; ") };
            format!("no evidence covers this version of the playbook on {class}. Covered: {covered}.")
        }
        Reason::EvidenceDiffers { labels } => {
            let labels: Vec<&str> = labels.iter().map(fettle_model::name::Label::as_str).collect();
            let labels = labels.join(", ");
            format!("evidence covers this class of host, but was earned with other kinds of things bound to: {labels}.")
        }
        Reason::EvidenceExpired { at } => {
            format!("the playbook's evidence expired at {}.", instant_with_distance(*at, now))
        }
        Reason::NotAuthorised { policies } if policies.is_empty() => "no policy permits it.".to_owned(),
        Reason::NotAuthorised { policies } => format!("forbidden by policy: {}.", policies.join(", ")),
        Reason::BreakerOpen { scope, because, .. } => {
            let because: Vec<String> = because.iter().map(open_reason).collect();
            format!("the breaker {scope} is open: {}.", because.join("; "))
        }
        Reason::ProbeTaken { scope, run } => {
            format!("the breaker {scope} is half-open, and its one probe is run {run}.")
        }
        Reason::Stopped { scope, epoch } => format!("automation is stopped in {scope} (stop order {epoch})."),
        Reason::Frozen { scope, freeze, why, .. } => format!("{scope} is frozen by {freeze}: {why}."),
        Reason::MaxInFlight { limit, value, .. } => format!(
            "{} of this group may still have effects in progress; the limit is {limit}.",
            count(u64::from(*value), "permit")
        ),
        Reason::MinHealthy { limit, value } => format!(
            "{} would stay healthy without this one; the limit is at least {limit}.",
            count(u64::from(*value), "host")
        ),
        Reason::Ramp { limit, value } => format!(
            "{} of this remediation in progress; it acts on one host first and doubles while its runs succeed: so far \
             it may act on {limit} at once.",
            count(u64::from(*value), "run")
        ),
        Reason::MaxPerWindow { limit, value, .. } => format!(
            "{} for this service in the guard's window; the limit is {limit}.",
            count(u64::from(*value), "permit")
        ),
        Reason::MaxIrreversible { limit, value, .. } => format!(
            "{} for something that nothing undoes in the guard's window; the limit is {limit}.",
            count(u64::from(*value), "permit")
        ),
        Reason::MaxAttempts { limit, value, began_with: Some(began) } => format!(
            "{} at the problem that began with {began} on this host, whose fix brought this check down; the limit is \
             {limit}.",
            count(u64::from(*value), "attempt")
        ),
        Reason::MaxAttempts { limit, value, began_with: None } => format!(
            "{} for this check on this host did not keep it healthy; the limit is {limit}.",
            count(u64::from(*value), "attempt")
        ),
        Reason::RungNotDue { asked, due, .. } => {
            format!("the agent asked for rung {asked} of the remediation's list, and rung {due} is due.")
        }
        Reason::RungsExhausted { rungs } => {
            format!(
                "none of the {} of the remediation's list kept the check healthy.",
                count(u64::from(*rungs), "playbook")
            )
        }
        Reason::Cooldown { .. } => "the last run for this check on this host ended too recently.".to_owned(),
        Reason::HostBusy { run, .. } => format!("the host has a permit whose effects may be in progress, run {run}."),
        Reason::HostNotActive => {
            "the host is quarantined or revoked, or does not describe itself as it was enrolled.".to_owned()
        }
        Reason::Unbound { label: Some(label) } => format!("the label {label} is not bound on this host."),
        Reason::Unbound { label: None } => "nothing is bound on this host, so there is nothing to act on.".to_owned(),
        Reason::NoSuchDrill => "the drill does not run on this host, or does not wait for this run of it.".to_owned(),
        Reason::NoOffline => "the remediation gives no budget in advance.".to_owned(),
        Reason::OfflineIrreversible => "what no inverse undoes is never given in advance.".to_owned(),
        Reason::OfflineHosts { limit, value, .. } => {
            format!("{value} hosts of the group hold a budget given in advance; the limit is {limit}.")
        }
    }
}

/// What clears a reason that no time clears.
fn cleared_by(reason: &Reason) -> String {
    match reason {
        Reason::NoRemediation => "Cleared by a remediation for it: `fettle apply`.".to_owned(),
        Reason::ConfigurationStale { .. } => {
            "Clears by itself when the agent has the current configuration.".to_owned()
        }
        Reason::TransitionStale { .. } => "Clears with the check's next transition to critical.".to_owned(),
        Reason::Mode { .. } => "Cleared by the mode auto for this environment: `fettle apply`.".to_owned(),
        Reason::PlaybookNotAdmitted => {
            "Cleared by `fettle playbook publish` and `fettle apply`; the agent fetches it then.".to_owned()
        }
        Reason::NoEvidence { .. } | Reason::EvidenceDiffers { .. } | Reason::EvidenceExpired { .. } => {
            "Cleared by a drill on a staging host of this class: `fettle playbook drill`.".to_owned()
        }
        Reason::NotAuthorised { .. } => "Cleared by a change of the policies.".to_owned(),
        Reason::BreakerOpen { because, .. } if because.iter().all(|reason| reason.kind().passes()) => {
            "Clears by itself once that is over for a while.".to_owned()
        }
        Reason::BreakerOpen { scope, .. } => format!("Cleared by a person: `fettle resume {scope} --why …`."),
        Reason::ProbeTaken { .. } => "Clears when the probe has ended and succeeded.".to_owned(),
        Reason::Stopped { scope, .. } => format!("Cleared by a person: `fettle resume {scope} --why …`."),
        Reason::Frozen { .. } => "No end is known: see `fettle freeze list`.".to_owned(),
        Reason::MaxInFlight { .. } | Reason::Ramp { .. } => "Clears when one of them ends.".to_owned(),
        Reason::MaxPerWindow { limit: 0, .. } | Reason::MaxIrreversible { .. } => {
            "Cleared by a higher limit in the guard: `fettle apply`.".to_owned()
        }
        Reason::MaxPerWindow { .. } => {
            "Clears when a budget held in advance is given back: `fettle run list`.".to_owned()
        }
        Reason::MinHealthy { .. } => "Clears when more hosts of the group are healthy.".to_owned(),
        Reason::RungNotDue { due, .. } => {
            format!("Clears when the turn of rung {due} is over; the agent asks for that one.")
        }
        Reason::MaxAttempts { .. } | Reason::RungsExhausted { .. } => {
            "Clears when the check has stayed healthy for the guard's healthy-for: a person must mend it.".to_owned()
        }
        Reason::HostNotActive => "Cleared by `fettle host reinstate`, or by enrolling the host anew.".to_owned(),
        Reason::Unbound { .. } => "Cleared by the host's owner, in the agent's configuration.".to_owned(),
        Reason::NoSuchDrill => "Cleared by a new drill: `fettle playbook drill`.".to_owned(),
        Reason::NoOffline => "Cleared by [remediation.offline] in the file: `fettle apply`.".to_owned(),
        Reason::OfflineIrreversible => "Cleared by a playbook that only does what can be undone.".to_owned(),
        Reason::OfflineHosts { .. } => {
            "Cleared by a higher `max-in-flight` of every remediation of the service.".to_owned()
        }
        // These always carry their time.
        Reason::Cooldown { .. } | Reason::HostBusy { .. } => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::breaker::{OpenReason, Scope};
    use fettle_model::counter::{ConfigurationGeneration, StopEpoch, TransitionEpoch};
    use fettle_model::escalation::Rung;
    use fettle_model::evidence::HostClass;
    use fettle_model::host::{ManagerKind, OperatingSystem};
    use fettle_model::id::RunId;
    use uuid::Uuid;

    fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("sound text")
    }

    #[test]
    fn every_reason_says_its_limit_its_value_and_what_clears_it() {
        let class = HostClass {
            service: parsed("web"),
            manager: ManagerKind::Systemd,
            os: OperatingSystem { id: "debian".to_owned(), version: "12".to_owned() },
            architecture: "x86_64".to_owned(),
        };
        let run = RunId::from_uuid(Uuid::from_u128(1));
        let scope = Scope::Service(parsed("web"));
        let later = UnixMillis(160_000);
        let by_hand = OpenReason::ByHand { by: parsed("alice"), why: "quiet".to_owned() };
        let reasons = [
            Reason::NoRemediation,
            Reason::ConfigurationStale { held: ConfigurationGeneration(3), current: ConfigurationGeneration(4) },
            Reason::TransitionStale { asked: TransitionEpoch(6), newest: TransitionEpoch(7) },
            Reason::Mode { mode: Mode::Observe, proposal: None },
            Reason::PlaybookNotAdmitted,
            Reason::NoEvidence { class: class.clone(), covered: Vec::new() },
            Reason::EvidenceDiffers { labels: vec!["service".parse().expect("a label")] },
            Reason::NoEvidence { class: class.clone(), covered: vec![class] },
            Reason::EvidenceExpired { at: UnixMillis(40_000) },
            Reason::NotAuthorised { policies: vec!["floor-drills".to_owned()] },
            Reason::NotAuthorised { policies: Vec::new() },
            Reason::BreakerOpen { scope: scope.clone(), because: vec![by_hand], clears_at: None },
            Reason::BreakerOpen {
                scope: scope.clone(),
                because: vec![OpenReason::Failures { count: 3, allowed: 2 }],
                clears_at: Some(later),
            },
            Reason::ProbeTaken { scope: scope.clone(), run },
            Reason::Stopped { scope, epoch: StopEpoch(2) },
            Reason::MaxInFlight { limit: 1, value: 1, clears_at: Some(later) },
            Reason::Ramp { limit: 2, value: 2 },
            Reason::MaxPerWindow { limit: 30, value: 30, clears_at: Some(later) },
            Reason::MaxPerWindow { limit: 0, value: 0, clears_at: None },
            Reason::MaxIrreversible { limit: 1, value: 1, clears_at: Some(later) },
            Reason::MinHealthy { limit: 2, value: 1 },
            Reason::MaxAttempts { limit: 3, value: 3, began_with: None },
            Reason::RungNotDue { asked: Rung::FIRST, due: Rung::try_from(2).expect("a rung"), clears_at: None },
            Reason::RungNotDue { asked: Rung::try_from(2).expect("a rung"), due: Rung::FIRST, clears_at: Some(later) },
            Reason::RungsExhausted { rungs: 2 },
            Reason::Cooldown { clears_at: later },
            Reason::HostBusy { run, clears_at: later },
            Reason::HostNotActive,
            Reason::Unbound { label: Some(parsed("worker")) },
            Reason::Unbound { label: None },
            Reason::NoSuchDrill,
            Reason::NoOffline,
            Reason::OfflineIrreversible,
            Reason::OfflineHosts { limit: 2, value: 2, clears_at: Some(later) },
            Reason::OfflineHosts { limit: 0, value: 0, clears_at: None },
            Reason::MaxPerWindow { limit: 2, value: 2, clears_at: None },
        ];
        let sentences: Vec<String> = reasons.iter().map(|each| reason(each, UnixMillis(100_000))).collect();
        insta::assert_snapshot!(sentences.join("\n"));
    }
}
