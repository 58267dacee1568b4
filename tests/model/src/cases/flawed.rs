//! The protocol with one flaw at a time, each in the smallest setting in which it shows.

use super::Case;
use super::settings::{
    CHANGE, IRREVERSIBLE, NESTING, ONE_EFFECT, RESTART, SMALL, STOP, TAKEOVER, TWO, UNITS_IRREVERSIBLE,
    UNITS_ONE_AT_A_TIME, UNITS_TWO_AT_A_TIME, UNITS_WITH_BUDGET, wall_clock,
};
use crate::invariants::{I1, I2, I3, I4, I5, I6, I7, I8, I9, I10, I11};
use crate::protocol::flaw::{Flaw, Flaws};
use crate::protocol::setup::Setup;

/// Flawed protocols. Two break nothing: a fault that the margin covers, and a second line of defence without the first one failing.
pub const FLAWED: [Case; 29] = [
    flawed("looks-too-early", SMALL, &[Flaw::LooksTooEarly], &[I3, I7]),
    flawed("repeats", SMALL, &[Flaw::Repeats], &[I1, I3, I4, I7]),
    flawed("volatile-journal", SMALL, &[Flaw::VolatileJournal], &[I1, I2, I3, I4, I5, I7]),
    flawed("intent-after-effect", SMALL, &[Flaw::IntentAfterEffect], &[I1, I2, I3, I4, I7]),
    flawed("lease-from-receipt", SMALL, &[Flaw::LeaseFromReceipt], &[I3]),
    flawed("hold-without-effect", SMALL, &[Flaw::HoldWithoutEffect], &[I3]),
    flawed("hold-without-margin", SMALL, &[Flaw::HoldWithoutMargin], &[I3]),
    flawed("hold-forgotten-on-start", RESTART, &[Flaw::HoldForgottenOnStart], &[I3]),
    flawed("wall-clock-within-margin", wall_clock(2, 2), &[Flaw::LeaseByWallClock], &[]),
    flawed("wall-clock-beyond-margin", wall_clock(2, 0), &[Flaw::LeaseByWallClock], &[I3]),
    flawed("wall-clock-far-beyond-margin", wall_clock(4, 0), &[Flaw::LeaseByWallClock], &[I3]),
    flawed("wall-clock-without-fence", wall_clock(4, 0), &[Flaw::LeaseByWallClock, Flaw::FenceIgnored], &[I3, I5]),
    flawed("fence-ignored", SMALL, &[Flaw::FenceIgnored], &[]),
    flawed("refund-on-reclaim", ONE_EFFECT, &[Flaw::RefundOnReclaim], &[I4]),
    flawed("busy-host-granted", TWO, &[Flaw::BusyHostGranted], &[I9]),
    flawed("old-leader-not-fenced", TAKEOVER, &[Flaw::OldLeaderNotFenced], &[I3, I9, I11]),
    flawed("answers-forgotten", RESTART, &[Flaw::AnswersForgotten], &[I11]),
    flawed("outer-scopes-ignored", NESTING, &[Flaw::OuterScopesIgnored], &[I3, I4]),
    flawed("stop-ignored", STOP, &[Flaw::StopIgnored], &[I6]),
    flawed("stop-forgotten", STOP, &[Flaw::StopForgotten], &[I6]),
    flawed("escrow-without-slot", UNITS_WITH_BUDGET, &[Flaw::EscrowWithoutSlot], &[I3]),
    flawed("escrow-without-debit", UNITS_TWO_AT_A_TIME, &[Flaw::EscrowWithoutDebit], &[I4]),
    flawed("escrow-refund-on-expiry", UNITS_ONE_AT_A_TIME, &[Flaw::EscrowRefundOnExpiry], &[I4]),
    flawed("escrow-used-after-return", UNITS_ONE_AT_A_TIME, &[Flaw::EscrowUsedAfterReturn], &[I3, I4]),
    flawed("escrow-for-any-effect", UNITS_IRREVERSIBLE, &[Flaw::EscrowForAnyEffect], &[I8]),
    flawed("approval-not-bound", CHANGE, &[Flaw::ApprovalNotBound], &[I10]),
    flawed("targets-not-compared", CHANGE, &[Flaw::TargetsNotCompared], &[I10]),
    flawed("approves-own", CHANGE, &[Flaw::ApprovesOwn], &[I10]),
    flawed("irreversible-unpublished", IRREVERSIBLE, &[Flaw::IrreversibleUnpublished], &[I8]),
];

const fn flawed(name: &'static str, setup: Setup, flaws: &[Flaw], breaks: &'static [&'static str]) -> Case {
    Case::new(name, setup, Flaws::of(flaws), breaks)
}
