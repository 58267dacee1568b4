//! The known ways to get the protocol wrong. Each is a change of one rule, and each must break an invariant: that is how
//! we know that the rule is needed, and that the invariants see what they should.

/// One rule that is left out or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// After a crash the agent looks at once, while the effect goes on without it.
    LooksTooEarly,
    /// After a crash the agent repeats the effect instead of looking.
    Repeats,
    /// The agent's journal does not survive a crash.
    VolatileJournal,
    /// The effect starts before its intent is journalled.
    IntentAfterEffect,
    /// The lease counts from the receipt of the permit.
    LeaseFromReceipt,
    /// The lease is an instant of the wall clock.
    LeaseByWallClock,
    /// The slot is given back without waiting for an effect that started last.
    HoldWithoutEffect,
    /// The slot is given back without a margin for clock rates.
    HoldWithoutMargin,
    /// A control plane that starts gives every slot back.
    HoldForgottenOnStart,
    /// A permit whose slot was given back does not count against the budget.
    RefundOnReclaim,
    /// The agent accepts a permit below the highest fence.
    FenceIgnored,
    /// A host that holds a permit is given another one.
    BusyHostGranted,
    /// The log takes what an old leader appends.
    OldLeaderNotFenced,
    /// The control plane remembers in memory only which requests it has answered.
    AnswersForgotten,
    /// Only the service's own limits are asked.
    OuterScopesIgnored,
    /// The agent does not compare stop orders.
    StopIgnored,
    /// The agent forgets the stop orders that it saw in a crash.
    StopForgotten,
    /// Units in advance take no slot.
    EscrowWithoutSlot,
    /// Units in advance are not debited.
    EscrowWithoutDebit,
    /// Units in advance that expired come back without a word of the agent.
    EscrowRefundOnExpiry,
    /// The agent goes on with units that it has returned.
    EscrowUsedAfterReturn,
    /// Units in advance pay for an irreversible effect.
    EscrowForAnyEffect,
    /// An approval is good for whatever the request has become.
    ApprovalNotBound,
    /// The agent acts on what is bound on its host, whatever the permit says.
    TargetsNotCompared,
    /// Who proposed may approve.
    ApprovesOwn,
    /// An irreversible effect does not wait until its intent is in the log.
    IrreversibleUnpublished,
}

/// The flaws that a protocol has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flaws(u32);

impl Flaws {
    /// These.
    #[must_use]
    pub const fn of(flaws: &[Flaw]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < flaws.len() {
            bits |= 1 << flaws[at] as u32;
            at += 1;
        }
        Self(bits)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this one is among them.
    #[must_use]
    pub const fn contains(self, flaw: Flaw) -> bool {
        self.0 & (1 << flaw as u32) != 0
    }
}
