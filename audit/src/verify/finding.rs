//! What a verification finds: rules, findings, the verdict, the report.

use crate::checkpoint::Checkpoint;
use fettle_model::counter::{AgentSequence, LogPosition};
use fettle_model::id::HostId;
use fettle_model::name::HostName;
use fettle_model::time::UnixMillis;
use std::fmt;

/// Most findings that are kept; more are counted. A log with one broken link early in it may have a
/// finding per record after it.
pub const MAX_FINDINGS: usize = 1_000;

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $severity:ident;)*) => {
        /// What was not as it must be. Closed; its text form is part of the command line's output.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[$doc])* $variant,)*
        }

        impl Rule {
            /// All rules, in the order in which a verification comes to them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in reports.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// What a finding under it does to the verdict.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$variant => Severity::$severity,)*
                }
            }
        }
    };
}

rules! {
    /// The bundle is not in its one spelling, or ends early or late.
    Framing = "framing", Invalid;
    /// The checkpoint is not signed by a log of the policy, or carries a signature that is not.
    Checkpoint = "checkpoint", Invalid;
    /// Too few of the policy's witnesses have cosigned the checkpoint.
    Quorum = "quorum", Invalid;
    /// The records are not those that the checkpoint commits to.
    Tree = "tree", Invalid;
    /// A leaf is malformed, or not that of its record.
    Leaf = "leaf", Invalid;
    /// An envelope or the record in it is malformed, or not the one that the leaf names.
    Envelope = "envelope", Invalid;
    /// A signature does not hold, or is by a key that is not its author's.
    Signature = "signature", Invalid;
    /// The author is not known, or may not say this.
    Author = "author", Invalid;
    /// An agent's records have a hole, a repetition or a wrong link.
    Chain = "chain", Invalid;
    /// The log does not begin as the policy says, or begins twice.
    Opening = "opening", Invalid;
    /// A host was enrolled without a token, twice, or with a key that is taken.
    Enrolment = "enrolment", Invalid;
    /// A permit, or a request withheld, is not about the check's newest transition, or that one is not critical.
    Transition = "transition", Invalid;
    /// A person's signing key is not proven, was registered before, or was replaced by themselves.
    PersonKey = "person-key", Invalid;
    /// A person logged in by an identity that was not theirs, with a token that was old or used, or for another certificate.
    Login = "login", Invalid;
    /// A person lost a role that they did not hold, the last administrator lost theirs, or somebody gave themselves one or
    /// did what only administrators do.
    Role = "role", Invalid;
    /// Broken glass was not opened by two people, lasted longer, called nobody, or gave what it must not.
    BreakGlass = "break-glass", Invalid;
    /// The configuration does not count up, or a permit does not rest on the newest one that has reached its host.
    Configuration = "configuration", Invalid;
    /// A configuration that changes what hosts hold was everywhere at once, or a rollout reached a ring out of its order, while
    /// it was halted, or with hosts that the ring may not have.
    Rollout = "rollout", Invalid;
    /// A playbook is not signed by a trusted publisher, or a permit is for one that was not admitted.
    Playbook = "playbook", Invalid;
    /// Evidence is not borne out by a drill, or a permit has none.
    Evidence = "evidence", Invalid;
    /// A drill does not fit its host, or a permit, or a request withheld, does not fit its drill.
    Drill = "drill", Invalid;
    /// A permit or refusal answers no open request, or another than it says.
    Request = "request", Invalid;
    /// An id was used twice.
    Identifier = "identifier", Invalid;
    /// A permit was granted to a host that may not act.
    HostState = "host-state", Invalid;
    /// A host's fence did not grow.
    Fence = "fence", Invalid;
    /// A permit has no target, or more than was asked for, bound or declared.
    Target = "target", Invalid;
    /// A proposal is not what its agent planned, or not for the remediation as it is configured.
    Proposal = "proposal", Invalid;
    /// A yes or no is not by an independent approver, or a permit has too few of them for exactly what it allows.
    Approval = "approval", Invalid;
    /// A promotion was not earned by the records that it names.
    Promotion = "promotion", Invalid;
    /// The remediation does not act by itself in that environment, and people did not approve; or they did where it does.
    Mode = "mode", Invalid;
    /// No attempt at the problem was left.
    Attempts = "attempts", Invalid;
    /// The last run for the check had ended too short a time before.
    Cooldown = "cooldown", Invalid;
    /// More runs of a remediation at once than its runs had earned.
    Ramp = "ramp", Invalid;
    /// A permit is for another rung than the one whose turn it was, or a refusal does not say that every turn is over.
    Turn = "turn", Invalid;
    /// Nothing was left to try, and people were not called.
    Called = "called", Invalid;
    /// A stop order stood, or was newer than the permit says.
    Stop = "stop", Invalid;
    /// A freeze was in force, or another than one in force was lifted.
    Freeze = "freeze", Invalid;
    /// A mute ends at a time that none may have, or was not in force when it was lifted.
    Mute = "mute", Invalid;
    /// A breaker was open.
    Breaker = "breaker", Invalid;
    /// More permits in flight than the guard allows.
    InFlight = "in-flight", Invalid;
    /// More permits within the guard's window than it allows.
    Window = "window", Invalid;
    /// A permit names grounds that do not come before it.
    Grounds = "grounds", Invalid;
    /// Something ran, or was given up, under no permit or under another one than it says.
    Permit = "permit", Invalid;
    /// A run took a step that its permit does not allow.
    Step = "step", Invalid;
    /// A run took a step that cannot be taken back before the log held its intent.
    Intent = "intent", Invalid;
    /// A budget in advance was given for more than its remediation says, or more was run under it.
    Offline = "offline", Invalid;
    /// A run ended twice, or after its permit was refused by the agent.
    Ending = "ending", Invalid;
    /// Two contradicting checkpoints, both signed by the log's key.
    Fork = "fork", Invalid;
    /// An agent says that it saw a fork; what it shows does not prove one.
    ForkReported = "fork-reported", Gap;
    /// A run had not ended when the log ends.
    OpenRun = "open-run", Gap;
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a finding does to the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something is missing, nothing contradicts.
    Gap,
    /// The log is not what it must be.
    Invalid,
}

/// One thing that was not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// At which record; `None`: about the bundle as a whole.
    pub position: Option<LogPosition>,
    /// Which rule.
    pub rule: Rule,
    /// In words, for people.
    pub words: String,
}

/// The outcome of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Complete and without contradiction.
    Valid,
    /// Without contradiction, but something is missing.
    ValidWithGaps,
    /// Not to be believed.
    Invalid,
}

impl Verdict {
    /// The command's exit code: 0 valid, 1 invalid, 2 valid with gaps.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Invalid => 1,
            Self::ValidWithGaps => 2,
        }
    }
}

/// How far one agent's records reach. A log that ends early looks complete from inside: whether the
/// agent has said more since, only the agent knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentTail {
    /// The host.
    pub host: HostId,
    /// Its name for people.
    pub name: HostName,
    /// Sequence of its last record; 0: it has none.
    pub sequence: AgentSequence,
    /// When it wrote that record, on its own clock.
    pub at: Option<UnixMillis>,
    /// Where that record is.
    pub position: Option<LogPosition>,
}

impl fmt::Display for AgentTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => {
                write!(
                    f,
                    "agent {} ({}) complete up to sequence {} at {} ms",
                    self.name, self.host, self.sequence, at.0
                )
            }
            None => write!(f, "agent {} ({}) has no records", self.name, self.host),
        }
    }
}

/// Everything that a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The checkpoint, when it verified.
    pub checkpoint: Option<Checkpoint>,
    /// Names, in the policy, of the witnesses that cosigned it.
    pub witnesses: Vec<String>,
    /// Records read.
    pub records: u64,
    /// Permits granted.
    pub permits: u64,
    /// Runs ended.
    pub runs: u64,
    /// How far each agent's records reach, by host id.
    pub agents: Vec<AgentTail>,
    /// The first [`MAX_FINDINGS`] findings, in the order of the log.
    pub findings: Vec<Finding>,
    /// Findings that were not kept.
    pub more_findings: u64,
    pub(super) verdict: Verdict,
}

impl Report {
    /// The outcome. Rests on all findings, also those that were not kept.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }
}

/// Findings as they come in.
#[derive(Debug, Clone)]
pub(super) struct Findings {
    pub(super) kept: Vec<Finding>,
    pub(super) more: u64,
    pub(super) verdict: Verdict,
}

impl Findings {
    pub(super) const fn new() -> Self {
        Self { kept: Vec::new(), more: 0, verdict: Verdict::Valid }
    }

    pub(super) fn add(&mut self, position: Option<LogPosition>, rule: Rule, words: impl Into<String>) {
        self.verdict = self.verdict.max(match rule.severity() {
            Severity::Gap => Verdict::ValidWithGaps,
            Severity::Invalid => Verdict::Invalid,
        });
        if self.kept.len() < MAX_FINDINGS {
            self.kept.push(Finding { position, rule, words: words.into() });
        } else {
            self.more += 1;
        }
    }

    pub(super) const fn at(&mut self, position: LogPosition) -> At<'_> {
        At { position, findings: self }
    }
}

/// Findings at one record.
pub(super) struct At<'f> {
    pub(super) position: LogPosition,
    findings: &'f mut Findings,
}

impl At<'_> {
    pub(super) fn flag(&mut self, rule: Rule, words: impl Into<String>) {
        self.findings.add(Some(self.position), rule, words);
    }
}
