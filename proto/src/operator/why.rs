//! Why automation did or did not act on a check of a host. Answers [`Query::WhyCheck`](super::Query::WhyCheck).

use super::{BreakGlassRow, CheckRow, RunRow};
use fettle_model::check::CheckRef;
use fettle_model::counter::LogPosition;
use fettle_model::escalation::RungRow;
use fettle_model::id::{PermitId, RunId};
use fettle_model::name::RemediationName;
use fettle_model::refusal::Refusal;
use fettle_model::remediation::Mode;
use fettle_model::run::Plan;
use fettle_model::time::UnixMillis;
use fettle_model::withheld::RequestWithheld;
use serde::{Deserialize, Serialize};

/// Why automation did or did not act on a check of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhyCheck {
    /// The check as it stands.
    pub check: CheckRow,
    /// The remediation that answers it, and its mode there.
    pub remediation: Option<(RemediationName, Mode)>,
    /// The rungs of its list, where it has one.
    #[serde(default)]
    pub rungs: Vec<RungRow>,
    /// The newest decision of the control plane, or of the agent not to ask for one.
    pub decision: Option<WhyDecision>,
    /// The newest plan, in mode `observe`.
    pub plan: Option<Plan>,
    /// The run in progress on the host, before whose end its agent asks for nothing.
    pub running: Option<RunId>,
    /// A budget that the host holds in advance, before whose end it gets no other permit.
    #[serde(default)]
    pub budget: Option<BudgetRow>,
    /// Glass that is broken, for the whole installation or for the team that owns the service.
    #[serde(default)]
    pub broken_glass: Vec<BreakGlassRow>,
}

/// A budget that a host holds in advance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetRow {
    /// For which check.
    pub check: CheckRef,
    /// Runs that it allows.
    pub units: u32,
    /// Runs under it that were reported.
    pub used: u32,
    /// No run begins under it later.
    pub until: UnixMillis,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "was", deny_unknown_fields)]
pub enum WhyDecision {
    /// Granted.
    Granted {
        /// The permit.
        permit: PermitId,
        /// The run.
        run: Box<RunRow>,
        /// Where it is in the log.
        position: LogPosition,
    },
    /// Refused.
    Refused {
        /// With every reason.
        refusal: Refusal,
        /// Where it is in the log.
        position: LogPosition,
        /// When.
        at: UnixMillis,
    },
    /// Nobody was asked: the host cannot run the playbook.
    Withheld {
        /// With everything that hinders it.
        withheld: Box<RequestWithheld>,
        /// Where it is in the log.
        position: LogPosition,
        /// When.
        at: UnixMillis,
    },
}
