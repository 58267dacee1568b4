//! The rules on stop orders, freezes and breakers.

use super::Case;
use crate::core::breakers::{Standing, scopes};
use crate::core::conditions;
use crate::core::freezes;
use fettle_model::name::{PlaybookName, ServiceName};
use fettle_model::refusal::Reason;

/// Whether a run may be a half-open breaker's probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probing {
    /// Its success shows that remediation works again.
    Allowed,
    /// Its success would show nothing: a drill's injection.
    Refused,
}

/// No stop order, no freeze and no open breaker in any scope of the run.
pub(super) fn switches(
    case: &Case<'_>,
    service: &ServiceName,
    playbook: Option<&PlaybookName>,
    probing: Probing,
    reasons: &mut Vec<Reason>,
) {
    for scope in scopes(&case.host.environment, service, playbook) {
        if let Some(order) = case.state.stops.in_force(&scope) {
            reasons.push(Reason::Stopped { scope: scope.clone(), epoch: order.epoch });
        }
        reasons.extend(freezes::holding(case.state, &scope, case.now.wall).map(|frozen| Reason::Frozen {
            scope: frozen.scope,
            freeze: frozen.freeze,
            why: frozen.why,
            clears_at: frozen.until,
        }));
        match case.state.breakers.standing(&scope, case.now.wall) {
            // A storm's first requests come before the tick that opens the breaker.
            Standing::Closed => {
                if let Some(because) = conditions::storm(case.state, &scope, case.now.wall) {
                    reasons.push(Reason::BreakerOpen { scope, because: vec![because], clears_at: None });
                }
            }
            Standing::Open(breaker) => reasons.push(Reason::BreakerOpen {
                scope,
                because: breaker.because(),
                clears_at: breaker.half_open_at(),
            }),
            Standing::HalfOpen(breaker) => match (breaker.probe, probing) {
                (None, Probing::Allowed) => {}
                (None, Probing::Refused) => {
                    reasons.push(Reason::BreakerOpen { scope, because: breaker.because(), clears_at: None });
                }
                (Some(probe), Probing::Allowed | Probing::Refused) => {
                    reasons.push(Reason::ProbeTaken { scope, run: probe.run });
                }
            },
        }
    }
}
