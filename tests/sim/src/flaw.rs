//! The rules that can be broken on purpose, so that the simulation shows that it would see it.

/// One rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The agent's journal loses the records of intents.
    IntentNotJournalled,
    /// After a crash the agent looks at once, while the effect goes on without it.
    LooksTooEarly,
    /// The lease counts from the receipt of the permit.
    LeaseFromReceipt,
    /// The agent does not compare stop orders.
    StopIgnored,
    /// A control plane that starts gives every slot back.
    HoldForgottenOnStart,
    /// An irreversible effect does not wait until its intent is in the log.
    IrreversibleUnpublished,
    /// The log takes what an old leader appends.
    OldLeaderNotFenced,
    /// The agent begins a second run under a unit of its budget.
    UnitUsedTwice,
    /// The agent gives its budget back as if it had used nothing of it.
    UnitsNotCounted,
    /// The control plane takes an approval in anybody's name.
    SignatureNotChecked,
    /// The agent forgets which steps people approved.
    PlanNotHeld,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::IntentNotJournalled,
        Self::LooksTooEarly,
        Self::LeaseFromReceipt,
        Self::StopIgnored,
        Self::HoldForgottenOnStart,
        Self::IrreversibleUnpublished,
        Self::OldLeaderNotFenced,
        Self::UnitUsedTwice,
        Self::UnitsNotCounted,
        Self::SignatureNotChecked,
        Self::PlanNotHeld,
    ];
}
