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
    /// The log takes what an old leader appends.
    OldLeaderNotFenced,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::IntentNotJournalled,
        Self::LooksTooEarly,
        Self::LeaseFromReceipt,
        Self::StopIgnored,
        Self::HoldForgottenOnStart,
        Self::OldLeaderNotFenced,
    ];
}
