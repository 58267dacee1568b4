//! A drill as an operator sees it. Answers [`Query::Drill`](super::Query::Drill).

use fettle_model::counter::LogPosition;
use fettle_model::evidence::{DrillResult, DrillStage, Fault};
use fettle_model::id::DrillId;
use fettle_model::name::{HostName, PersonName, PlaybookName};
use fettle_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// A drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillView {
    /// Its id.
    pub drill: DrillId,
    /// The playbook.
    pub playbook: PlaybookName,
    /// Where.
    pub host: HostName,
    /// The fault.
    pub fault: Fault,
    /// Who asked for it.
    pub by: PersonName,
    /// The stages that it passed, in order.
    pub stages: Vec<DrillStageRow>,
    /// How it ended; `None`: it runs.
    pub result: Option<DrillResult>,
}

/// A stage that a drill passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillStageRow {
    /// Which.
    pub stage: DrillStage,
    /// Its record.
    pub position: LogPosition,
    /// When.
    pub at: UnixMillis,
}
