//! A state: the log, the leaders, the hosts, and what is left of the faults. About a hundred bytes, copied, never
//! allocated.
//!
//! What is in a state and can never matter again is set to zero, so that states that differ only in it are one.

use super::set::{HostNo, PermitNo, PermitSet};
use super::setup::{Setup, Surprises};

/// The most hosts of any setting.
pub const HOSTS: usize = 3;
/// The most permits of any setting.
pub const PERMITS: usize = 4;
/// What is left of the lease of a permit that counts from its receipt, before that.
pub(super) const NOT_RECEIVED: u8 = u8::MAX;

/// What a request or a permit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One run.
    Single,
    /// Units in advance.
    Escrow,
}

/// What exactly a request would do, as its hash: a number that every change raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Content(pub u8);

/// Somebody who proposes or approves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Person {
    /// Who proposed.
    Proposer,
    /// Somebody else.
    Other,
}

/// One person's yes to exactly one content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Approval {
    /// To what.
    pub content: Content,
    /// Whose.
    pub by: Person,
}

/// A request that is not answered yet. The agent asks again until it is, so it is never lost for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// What for.
    pub kind: Kind,
    /// What it would do.
    pub content: Content,
    /// What is left of the lease, on the agent's clock.
    pub lease_left: u8,
}

/// Where a permit stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Its effects may be in progress.
    InFlight,
    /// Its agent reported an effect.
    Done,
    /// Its agent reported that nothing was done: the run ended before, or the permit was refused.
    NotApplied,
    /// Its agent reported that it cannot tell.
    InDoubt,
    /// Its agent returned the units that it had not used.
    Returned,
    /// Nothing was heard in time; the slot was given back.
    Unresolved,
}

/// What the agent's journal says of a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Journal {
    /// Nothing.
    Nothing,
    /// It is used; no effect was intended.
    Used,
    /// An effect is intended.
    Intent,
    /// Units in advance: what was begun is over, and there may be units left.
    Idle,
    /// The effect happened.
    Done,
    /// Nothing happened, and nothing will.
    NotApplied,
    /// It cannot be told.
    InDoubt,
    /// Units in advance: given back, and not to be used again.
    Returned,
}

impl Journal {
    /// Whether a run under this permit has begun and not ended.
    #[must_use]
    pub const fn is_open(self) -> bool {
        match self {
            Self::Used | Self::Intent => true,
            Self::Nothing | Self::Idle | Self::Done | Self::NotApplied | Self::InDoubt | Self::Returned => false,
        }
    }

    /// What the agent reports, once there is something to report.
    #[must_use]
    pub const fn report(self) -> Option<Standing> {
        match self {
            Self::Done => Some(Standing::Done),
            Self::NotApplied => Some(Standing::NotApplied),
            Self::InDoubt => Some(Standing::InDoubt),
            Self::Returned => Some(Standing::Returned),
            Self::Nothing | Self::Used | Self::Intent | Self::Idle => None,
        }
    }
}

/// Whether the control plane has answered the request with the permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answered {
    /// It has not: so far the permit is only in the log.
    NotYet,
    /// It has not, and the process that appended the permit is gone.
    CutOff,
    /// It has, and the permit may arrive.
    Sent,
    /// It has, in another process than the one that appended it.
    SentByAnother,
}

impl Answered {
    /// Whether the permit may arrive.
    #[must_use]
    pub const fn may_arrive(self) -> bool {
        match self {
            Self::NotYet | Self::CutOff => false,
            Self::Sent | Self::SentByAnother => true,
        }
    }
}

/// A permit: what the log and what its host knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permit {
    /// The host.
    pub host: HostNo,
    /// The request that it answers, by the number of the first permit for it.
    pub request: PermitNo,
    /// What for.
    pub kind: Kind,
    /// What it allows.
    pub content: Content,
    /// The approval that it names.
    pub approval: Option<Approval>,
    /// Fencing token of the host.
    pub fence: u8,
    /// The newest stop order at the grant.
    pub stop: u8,
    /// The epoch of the leader that granted it.
    pub leader: u8,
    /// In the log.
    pub standing: Standing,
    /// Whether it may have arrived.
    pub answered: Answered,
    /// What is left of its slot's hold, on the leader's clock.
    pub hold_left: u8,
    /// What is left of its lease, on the agent's clock.
    pub lease_left: u8,
    /// In the agent's journal.
    pub journal: Journal,
    /// Runs begun under it, by the agent's journal.
    pub uses: u8,
    /// Effects that really happened under it.
    pub effects: u8,
}

impl Permit {
    const NONE: Self = Self {
        host: HostNo(0),
        request: PermitNo(0),
        kind: Kind::Single,
        content: Content(0),
        approval: None,
        fence: 0,
        stop: 0,
        leader: 0,
        standing: Standing::NotApplied,
        answered: Answered::NotYet,
        hold_left: 0,
        lease_left: 0,
        journal: Journal::Nothing,
        uses: 0,
        effects: 0,
    };
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The permit is marked as used; nothing is intended yet.
    Opened,
    /// The same, and the agent has crashed.
    Suspended,
    /// The intent is journalled and waits to be in the log.
    Declared,
    /// The intent is in the log.
    Published,
    /// The effect is in progress and has not happened yet.
    Acting,
    /// The effect has happened; its outcome is not journalled.
    Acted,
}

/// A run in progress on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run {
    /// Under which permit.
    pub permit: PermitNo,
    /// How far it is.
    pub phase: Phase,
    /// Ticks of the host's clock: until no effect may start, or until the effect in progress is ended.
    pub left: u8,
}

/// An effect that goes on although the agent that started it has crashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Orphan {
    /// Under which permit.
    pub permit: PermitNo,
    /// Whether it has happened.
    pub phase: Phase,
    /// Ticks of the host's clock until it is ended.
    pub left: u8,
}

/// A host and its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Host {
    /// What a request of this host would do now.
    pub content: Content,
    /// The request that it waits for.
    pub waiting: Option<Request>,
    /// The run in progress.
    pub run: Option<Run>,
    /// The effect that outlived its agent.
    pub orphan: Option<Orphan>,
    /// The highest fence that the agent remembers.
    pub highest_fence: u8,
    /// The newest stop order that the agent remembers.
    pub stop_seen: u8,
    /// The highest fence that was ever accepted here. No agent knows it; the invariants do.
    pub fence_accepted: u8,
    /// The newest stop order that ever arrived here. No agent knows it; the invariants do.
    pub stop_arrived: u8,
}

/// Whether a stop order is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Switch {
    /// Automation goes on.
    On,
    /// It is stopped.
    Stopped,
}

/// The log as a leader has it. An old leader's is as the log was when another took over, and what it appended itself since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct View {
    /// Permits that it knows.
    pub known: PermitSet,
    /// Those of them that it takes for in flight.
    pub in_flight: PermitSet,
    /// Those of them that count against no budget.
    pub refunded: PermitSet,
    /// The newest stop order that it knows.
    pub stop: u8,
    /// Whether it takes it for in force.
    pub switch: Switch,
}

/// An invariant about a moment, not about a state, that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Breach {
    /// An effect happened without an intent in the journal.
    WithoutIntent,
    /// A run began below the highest fence that was accepted.
    StaleFence,
    /// An effect started after a newer stop order had arrived.
    AfterStop,
    /// An irreversible effect started before its intent was in the log.
    Unpublished,
    /// An effect started that was not what was approved, or that nobody else approved.
    Unapproved,
}

/// The breaches so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Breaches(u8);

impl Breaches {
    /// Whether it has happened.
    #[must_use]
    pub const fn contains(self, breach: Breach) -> bool {
        self.0 & (1 << breach as u8) != 0
    }

    /// Notes one.
    pub(super) const fn insert(&mut self, breach: Breach) {
        self.0 |= 1 << breach as u8;
    }
}

/// A state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    permits: [Permit; PERMITS],
    granted: u8,
    hosts: [Host; HOSTS],
    /// The newest stop order in the log.
    pub stop: u8,
    /// Whether it is in force.
    pub switch: Switch,
    /// The epoch under which the log takes records, from 1.
    pub leader: u8,
    /// The leader before it, if that one is still there.
    pub old: Option<View>,
    /// Permits that this process of the control plane remembers to have granted. Only a flawed one looks at it.
    pub remembered: PermitSet,
    /// What was proposed.
    pub proposal: Option<Content>,
    /// What was approved.
    pub approval: Option<Approval>,
    /// Faults and surprises that are left.
    pub left: Surprises,
    /// How often an agent's clock may still stand.
    pub lag_left: u8,
    /// What went wrong.
    pub breaches: Breaches,
}

impl State {
    /// Nothing has happened.
    #[must_use]
    pub fn at_start(setup: &Setup) -> Self {
        Self {
            permits: [Permit::NONE; PERMITS],
            granted: 0,
            hosts: [Host::default(); HOSTS],
            stop: 0,
            switch: Switch::On,
            leader: 1,
            old: None,
            remembered: PermitSet::default(),
            proposal: None,
            approval: None,
            left: setup.surprises,
            lag_left: setup.timing.lag,
            breaches: Breaches::default(),
        }
    }

    /// How many permits are in the log.
    #[must_use]
    pub const fn granted(&self) -> u8 {
        self.granted
    }

    /// The permits in the log, in its order.
    pub fn permits(&self) -> impl Iterator<Item = (PermitNo, &Permit)> {
        (0..self.granted).map(PermitNo).zip(&self.permits)
    }

    pub(super) fn permits_mut(&mut self) -> impl Iterator<Item = &mut Permit> {
        self.permits.iter_mut().take(usize::from(self.granted))
    }

    /// A permit.
    #[must_use]
    pub fn permit(&self, permit: PermitNo) -> &Permit {
        &self.permits[usize::from(permit.0)]
    }

    pub(super) fn permit_mut(&mut self, permit: PermitNo) -> &mut Permit {
        &mut self.permits[usize::from(permit.0)]
    }

    /// The number of the next permit.
    #[must_use]
    pub const fn next_permit(&self) -> PermitNo {
        PermitNo(self.granted)
    }

    /// Appends a permit to the log.
    pub(super) fn append(&mut self, permit: Permit) {
        self.permits[usize::from(self.granted)] = permit;
        self.granted += 1;
    }

    /// A host.
    #[must_use]
    pub fn host(&self, host: HostNo) -> &Host {
        &self.hosts[usize::from(host.0)]
    }

    pub(super) fn host_mut(&mut self, host: HostNo) -> &mut Host {
        &mut self.hosts[usize::from(host.0)]
    }
}
