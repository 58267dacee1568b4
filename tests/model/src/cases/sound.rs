//! The protocol as it is.

use super::Case;
use super::settings::{
    APPROVALS, APPROVALS_AND_CHANGES, CORE, CRASHES, ESCROW, ESCROW_AND_STOP, LEADERS, SCOPES, STOPS,
};
use crate::protocol::flaw::Flaws;
use crate::protocol::setup::Setup;

/// Settings in which every invariant holds, and everything that must be able to happen can.
pub const SOUND: [Case; 6] = [
    sound("core", CORE),
    sound("leaders", LEADERS),
    sound("scopes", SCOPES),
    sound("stops", STOPS),
    sound("escrow", ESCROW),
    sound("approvals", APPROVALS),
];

/// The same in settings that take minutes; the command explores them, the tests do not.
pub const LARGE: [Case; 3] = [
    sound("large-crashes", CRASHES),
    sound("large-escrow-and-stop", ESCROW_AND_STOP),
    sound("large-approvals-and-changes", APPROVALS_AND_CHANGES),
];

const fn sound(name: &'static str, setup: Setup) -> Case {
    Case::new(name, setup, Flaws::of(&[]), &[])
}
