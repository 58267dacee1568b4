//! What nearly every playbook names.

pub use crate::{
    Activity, Failure, Millis, Outcome, Run, Verdict, escalate, hours, mins, mitigated, no_action, parameters,
    playbook, resolved, secs,
};
