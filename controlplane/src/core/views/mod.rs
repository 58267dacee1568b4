//! Read-only questions about the [`State`](super::State), as rows that the API sends on.
//!
//! Rows hold what a person looks at; the full records are in the journal at the positions that rows
//! give. Nothing here decides anything.

mod briefing;
mod fleet;
mod playbooks;
mod rungs;
mod runs;
mod schedules;
mod switches;

pub use super::mutes::{held_by, mutes};
pub use super::promotions::promotions;
pub use briefing::{
    Briefing, Delivery, DrillWish, Nudge, Reached, briefing, delivery, nudges, nudges_on, opens_a_way,
    playbooks_in_use, waiting_drill,
};
pub use fleet::{CheckRow, HostRow, RemediationRow, ServiceRow, hosts, services};
pub use playbooks::{DrillRow, DrillStanding, EvidenceRow, EvidenceStanding, PlaybookRow, drills, playbooks};
pub use rungs::rungs;
pub use runs::{IncidentRow, RunRow, RunStanding, Why, incidents, run, runs, why};
pub use schedules::{ScheduleRow, schedules};
pub use switches::{BreakerRow, FreezeRow, SwitchStanding, breakers, freezes};
