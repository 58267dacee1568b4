//! The governor: every rule between a request and a permit (design, sections 2 and 6).
//!
//! All rules are asked, and every reason that holds goes into the refusal, so that a person sees at once
//! everything that must change. A permit is built only where no reason holds.

mod approvals;
mod checks;
mod inject;
mod offline;
mod remediate;
mod repeat;
mod switches;
pub(in crate::core) mod targets;

use super::authorisation::Authorisation;
use super::hosts::Host;
use super::now::Now;
use super::reclaim::Reclaims;
use super::state::State;
use fettle_model::configuration::Configuration;
use fettle_model::digest::DocumentDigest;
use fettle_model::id::PermitId;
use fettle_model::permit::{Permit, PermitRequest, Purpose};
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::time::UnixMillis;
use std::time::Duration;

/// The run must have started this long after the agent sent its request: room for a durable append,
/// a signed checkpoint, a stream to a slow site and the start of a worker.
pub const LEASE: Duration = Duration::from_secs(30);
/// No single effect takes longer: systemd's default limits for stopping and starting a unit, 90 seconds each.
pub const EFFECT_WITHIN: Duration = Duration::from_mins(3);
/// A drill's fault must have been injected this long after the run's start.
pub const INJECTION_WITHIN: Duration = Duration::from_mins(1);
/// When an agent may ask again for a reason that other runs clear, the first time: about a short run.
/// It doubles with every refusal about the same transition.
const RETRY_FIRST: Duration = Duration::from_secs(15);
/// The longest it doubles to. A fault that waits a day for room then costs about 100 refusals.
const RETRY_MOST: Duration = Duration::from_mins(15);

/// A request, and everything that the decision may look at.
#[derive(Debug, Clone, Copy)]
pub(in crate::core) struct Case<'a> {
    pub(in crate::core) state: &'a State,
    pub(in crate::core) reclaims: &'a Reclaims,
    pub(in crate::core) now: Now,
    pub(in crate::core) host: &'a Host,
    pub(in crate::core) request: &'a PermitRequest,
    pub(in crate::core) authorised: &'a Authorisation,
    pub(in crate::core) permit: PermitId,
    pub(in crate::core) policies: &'a DocumentDigest,
}

impl<'a> Case<'a> {
    /// What the host is judged by.
    pub(in crate::core) fn configuration(&self) -> &'a Configuration {
        self.state.configuration_of(self.host)
    }
}

/// What the governor says.
#[derive(Debug)]
pub(in crate::core) enum Verdict {
    Granted(Box<Permit>),
    Refused(Box<Refusal>),
}

/// Judges a request.
pub(in crate::core) fn judge(case: &Case<'_>) -> Verdict {
    let judged = match &case.request.purpose {
        Purpose::Remediate { check, epoch, remediation, rung } => {
            remediate::judge(case, &remediate::Fault { check, epoch: *epoch, remediation, rung: *rung })
        }
        Purpose::InjectFault { drill, fault } => inject::judge(case, *drill, fault),
        Purpose::Repeat { drill, check, remediation } => repeat::judge(case, *drill, check, remediation),
        Purpose::Offline { check, remediation } => offline::judge(case, check, remediation),
    };
    match judged {
        Ok(permit) => Verdict::Granted(Box::new(permit)),
        Err(reasons) => Verdict::Refused(Box::new(refusal(case, reasons))),
    }
}

fn refusal(case: &Case<'_>, reasons: Vec<Reason>) -> Refusal {
    let (mut check, mut epoch, mut budget) = (None, None, None);
    match &case.request.purpose {
        Purpose::Remediate { check: of, epoch: at, .. } => (check, epoch) = (Some(of.clone()), Some(*at)),
        Purpose::Offline { check: of, .. } => budget = Some(of.clone()),
        Purpose::InjectFault { .. } | Purpose::Repeat { .. } => {}
    }
    let earlier = case.state.answers.refusals(case.host.id, check.as_ref());
    let earlier = earlier.filter(|known| known.refusal.epoch == epoch).count();
    Refusal {
        request: case.request.request,
        run: case.request.run,
        host: case.host.id,
        check,
        epoch,
        budget,
        retry_at: retry_at(&reasons, case.now.wall, patience(earlier)).or_else(|| turn_over_at(case)),
        reasons,
    }
}

/// When another rung of the list is due by time alone, which the agent is to ask for then.
fn turn_over_at(case: &Case<'_>) -> Option<UnixMillis> {
    let Purpose::Remediate { check, remediation, .. } = &case.request.purpose else { return None };
    let answer = case.configuration().answer_to(check).filter(|answer| &answer.name == remediation)?;
    case.state.turn_over_at(case.host.id, answer, case.now.wall)
}

/// Whether one of these reasons clears only by something that a person or the agent's own host does.
pub(in crate::core) fn waits_for_a_change(reasons: &[Reason]) -> bool {
    retry_at(reasons, UnixMillis(0), Duration::ZERO).is_none()
}

/// How long to wait after this many refusals about the same transition.
fn patience(earlier: usize) -> Duration {
    let doublings = u32::try_from(earlier).unwrap_or(u32::MAX);
    RETRY_FIRST.saturating_mul(2_u32.saturating_pow(doublings)).min(RETRY_MOST)
}

/// When the agent may ask again by itself: when the last of the reasons may have cleared. `None` where
/// one of them clears only by something that a person or the agent's own host does.
fn retry_at(reasons: &[Reason], wall: UnixMillis, patience: Duration) -> Option<UnixMillis> {
    reasons
        .iter()
        .map(|reason| match reason {
            Reason::BreakerOpen { clears_at: Some(at), .. } => Some(*at),
            // What is over by itself is asked about again, as what other runs clear is.
            Reason::BreakerOpen { clears_at: None, because, .. } => {
                because.iter().all(|reason| reason.kind().passes()).then(|| wall.plus(patience))
            }
            Reason::Cooldown { clears_at } => Some(*clears_at),
            // A maximum of zero means never.
            Reason::MaxInFlight { limit: 0, .. } => None,
            Reason::MaxPerWindow { limit: 0, .. } => None,
            // Without a time it is full of units that hosts hold in advance; they come back by word.
            Reason::MaxPerWindow { clears_at: None, .. } => Some(wall.plus(patience)),
            Reason::Frozen { clears_at, .. }
            | Reason::OfflineHosts { clears_at, .. }
            | Reason::RungNotDue { clears_at, .. }
            | Reason::MaxPerWindow { clears_at, .. }
            | Reason::MaxIrreversible { clears_at, .. } => *clears_at,
            // Their own times are when a lost run is reclaimed; a run that ends well frees them long before.
            Reason::ProbeTaken { .. }
            | Reason::MaxInFlight { .. }
            | Reason::Ramp { .. }
            | Reason::MinHealthy { .. }
            | Reason::HostBusy { .. } => Some(wall.plus(patience)),
            Reason::NoRemediation
            | Reason::ConfigurationStale { .. }
            | Reason::TransitionStale { .. }
            | Reason::Mode { .. }
            | Reason::PlaybookNotAdmitted
            | Reason::NoEvidence { .. }
            | Reason::EvidenceDiffers { .. }
            | Reason::EvidenceExpired { .. }
            | Reason::NotAuthorised { .. }
            | Reason::Stopped { .. }
            | Reason::MaxAttempts { .. }
            | Reason::RungsExhausted { .. }
            | Reason::HostNotActive
            | Reason::Unbound { .. }
            | Reason::NoSuchDrill
            | Reason::NoOffline
            | Reason::OfflineIrreversible => None,
        })
        .try_fold(wall, |latest, at| at.map(|at| latest.max(at)))
}
