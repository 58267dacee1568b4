//! The offline verifier: reads a bundle once, from front to back, and believes nothing but a policy.
//!
//! Called by `fettle log verify`, by the control plane's own tests and by the end-to-end tests as
//! their oracle. It needs no network, no database and no clock. In this order it checks:
//!
//! 1. the bundle's framing ([`crate::bundle`]), so that no byte is without meaning;
//! 2. each record: leaf, envelope, author, signature, the agent's chain;
//! 3. the rules of the design's section 2, as far as the records show them (below);
//! 4. the checkpoint: signatures, quorum, and that size and root are those of the records.
//!
//! From the records it re-checks that every permit answers one open request word for word, rests on
//! the newest configuration, the newest transition, an admitted playbook, evidence for the host's
//! class or a running drill, the mode `auto` or the signed approvals of enough independent people, no standing stop order and no open breaker, room in
//! `max_in_flight`, `max_per_window` (units held in advance count in it) and `max_irreversible`, a fence that grows, targets that were asked for and actions that were declared; and
//! that every run has its permit, stays within it and ends once, its irreversible steps in the log before its report; and that attempts,
//! cooldown, the ramp and whose turn it was in a list were counted as the records show, and people were called when nothing was left to try; and that a person's signature is by the key
//! that stands for them there, which they proved to hold and nobody else ever had; and that whoever logged in did so by the
//! identity that was registered as theirs, with a young token that nobody had used, for the certificate that follows; and that a
//! configuration which is everywhere at once changes nothing for a host that holds one.
//!
//! It does **not** re-check what records do not show: people's authority (Cedar) but for approvers' and administrators' roles,
//! which the floors under all policies ask for; whether the policies that a permit or a proposal names were those in force: no
//! record says when they changed, so that after two hashes nobody can tell which was in force between (that a permit names those
//! of its proposal is re-checked); what only an agent's boot clock shows; and what a provider signed for a
//! login. Nor does it re-check `min_healthy`, which the records do show: only folding every host's health as the control plane
//! does tells.
//!
//! Every record is held against the rules of this version, whenever it was written. A log that an earlier control plane began,
//! before a rule was there, is flagged where it does not hold to it: `rollout` where a configuration from before there were
//! rings changed what hosts held, `evidence` where a drill has fewer stages, `window`, `attempts`, `cooldown`, `ramp`, `turn` and
//! `called` where nobody counted yet, `intent` where agents did not announce, `role` where nobody asked. None of these is excused
//! by what is missing in a record, because whoever holds the log's key could leave it out.
//!
//! A log that was cut at an older checkpoint is a valid older log: the report says for each agent up to
//! which sequence it is complete.
//!
//! Memory: one line, and per host, run and playbook what later records are compared with.

mod authority;
mod break_glass;
mod budgets;
mod calls;
mod course;
mod finding;
mod grants;
mod hosts;
mod intents;
mod logins;
mod mutes;
mod offline;
mod people;
mod problems;
mod promotions;
mod proposals;
mod ramps;
mod record;
mod rollout;
mod runs;
mod standing;
mod turns;
mod windows;

pub use finding::{AgentTail, Finding, MAX_FINDINGS, Report, Rule, Severity, Verdict};

use crate::bundle::{Line, MAX_LINE_BYTES};
use crate::checkpoint::Checkpoint;
use crate::note::{KeyName, Note};
use crate::policy::Policy;
use crate::tree::{Frontier, leaf_hash};
use fettle_model::counter::LogPosition;
use finding::Findings;
use record::Records;

/// A verification in progress. Feed it the bundle in pieces of any size, then finish.
#[derive(Debug, Clone)]
pub struct Verification<'p> {
    policy: &'p Policy,
    stage: Stage,
    /// An incomplete line; at most [`MAX_LINE_BYTES`].
    buffer: Vec<u8>,
    frontier: Frontier,
    records: Records,
    checkpoint: Option<Checkpoint>,
    witnesses: Vec<String>,
    findings: Findings,
}

/// What the bundle's next line must be.
#[derive(Debug, Clone)]
enum Stage {
    Header,
    Records {
        origin: KeyName,
    },
    End,
    /// The framing is broken: nothing after it can be told apart.
    Lost,
}

/// Verifies a bundle that is at hand as a whole.
#[must_use]
pub fn verify_bundle(bundle: &[u8], policy: &Policy) -> Report {
    let mut verification = Verification::new(policy);
    verification.feed(bundle);
    verification.finish()
}

impl<'p> Verification<'p> {
    /// Begins a verification under this policy.
    #[must_use]
    pub fn new(policy: &'p Policy) -> Self {
        Self {
            policy,
            stage: Stage::Header,
            buffer: Vec::new(),
            frontier: Frontier::new(),
            records: Records::new(*policy.permit_key()),
            checkpoint: None,
            witnesses: Vec::new(),
            findings: Findings::new(),
        }
    }

    /// Takes the next piece of the bundle.
    pub fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, tail) = rest.split_at(end);
            if self.buffer.is_empty() {
                self.line(line);
            } else if self.keep(line) {
                let whole = std::mem::take(&mut self.buffer);
                self.line(&whole);
            }
            rest = tail.get(1..).unwrap_or_default();
        }
        self.keep(rest);
    }

    /// The verdict on what was read so far. It only gets worse.
    #[must_use]
    pub const fn verdict_so_far(&self) -> Verdict {
        self.findings.verdict
    }

    /// Ends the verification.
    #[must_use]
    pub fn finish(mut self) -> Report {
        match self.stage {
            Stage::End if self.buffer.is_empty() => {}
            Stage::End => self.lose("bytes follow the checkpoint"),
            Stage::Header | Stage::Records { .. } => self.lose("the bundle ends before its checkpoint"),
            Stage::Lost => {}
        }
        self.records.finish(&mut self.findings);
        Report {
            checkpoint: self.checkpoint,
            witnesses: self.witnesses,
            records: self.frontier.size().0,
            permits: self.records.permits(),
            runs: self.records.runs(),
            agents: self.records.tails(),
            findings: self.findings.kept,
            more_findings: self.findings.more,
            verdict: self.findings.verdict,
        }
    }

    /// Adds to the incomplete line; `false` when it became too long.
    fn keep(&mut self, part: &[u8]) -> bool {
        if matches!(self.stage, Stage::Lost) {
            return false;
        }
        if self.buffer.len() + part.len() > MAX_LINE_BYTES {
            self.lose("a line is too long");
            return false;
        }
        self.buffer.extend_from_slice(part);
        true
    }

    fn lose(&mut self, words: &str) {
        let position = LogPosition(self.frontier.size().0);
        self.findings.add(Some(position), Rule::Framing, words);
        self.stage = Stage::Lost;
        self.buffer = Vec::new();
    }

    fn line(&mut self, line: &[u8]) {
        if matches!(self.stage, Stage::Lost) {
            return;
        }
        if line.len() > MAX_LINE_BYTES {
            self.lose("a line is too long");
            return;
        }
        let parsed = match Line::parse(line) {
            Ok(parsed) => parsed,
            Err(error) => return self.lose(&error.to_string()),
        };
        match (&self.stage, parsed) {
            (Stage::Header, Line::Header { origin }) => {
                if self.policy.logs_named(&origin).next().is_none() {
                    self.findings.add(None, Rule::Opening, format!("the policy knows no log {origin}"));
                }
                self.stage = Stage::Records { origin };
            }
            (Stage::Records { origin }, Line::Record { leaf, envelope }) => {
                let position = LogPosition(self.frontier.size().0);
                self.frontier.append(leaf_hash(&leaf));
                let log = record::Log { policy: self.policy, origin };
                self.records.take(&log, &leaf, envelope, &mut self.findings.at(position));
            }
            (Stage::Records { origin }, Line::Checkpoint { note }) => {
                let origin = origin.clone();
                self.checkpoint(&origin, &note);
                self.stage = Stage::End;
            }
            (Stage::Header, Line::Record { .. } | Line::Checkpoint { .. }) => self.lose("the header is not first"),
            (Stage::Records { .. }, Line::Header { .. }) => self.lose("a second header"),
            (Stage::End, _) => self.lose("a line follows the checkpoint"),
            (Stage::Lost, _) => {}
        }
    }

    fn checkpoint(&mut self, origin: &KeyName, note: &str) {
        let opened = match open_checkpoint(origin, note, self.policy) {
            Ok(opened) => opened,
            Err(words) => return self.findings.add(None, Rule::Checkpoint, words),
        };
        let (checkpoint, signers) = opened;
        if !self.policy.is_quorum(&signers) {
            self.findings.add(None, Rule::Quorum, "the witnesses that cosigned are no quorum of the policy");
        }
        if checkpoint.size != self.frontier.size() {
            let words =
                format!("the checkpoint is of {} records, the bundle has {}", checkpoint.size, self.frontier.size());
            self.findings.add(None, Rule::Tree, words);
        } else if checkpoint.root != self.frontier.root() {
            let words = format!("the records' root is {}, the checkpoint's {}", self.frontier.root(), checkpoint.root);
            self.findings.add(None, Rule::Tree, words);
        }
        if checkpoint.size.0 == 0 {
            self.findings.add(None, Rule::Opening, "the log has no records");
        }
        let witnesses = self.policy.witnesses().iter();
        self.witnesses =
            witnesses.filter(|witness| signers.contains(&&witness.key)).map(|witness| witness.name.clone()).collect();
        self.checkpoint = Some(checkpoint);
    }
}

/// Opens a bundle's checkpoint. Unlike anywhere else an unknown signature is refused: it would be
/// bytes without meaning.
fn open_checkpoint<'p>(
    origin: &KeyName,
    note: &str,
    policy: &'p Policy,
) -> Result<(Checkpoint, Vec<&'p crate::note::VerifierKey>), String> {
    let note = Note::parse(note).map_err(|error| error.to_string())?;
    let logs: Vec<_> = policy.logs().iter().filter(|log| log.origin() == origin).map(|log| log.key()).collect();
    let known: Vec<_> = logs.iter().copied().chain(policy.witnesses().iter().map(|witness| &witness.key)).collect();
    if let Some(unknown) = note.signatures().iter().find(|signature| !known.iter().any(|key| key.claims(signature))) {
        return Err(format!("a signature by {}, which the policy does not know", unknown.name()));
    }
    let signers = note.verify(known).map_err(|error| error.to_string())?;
    if !signers.iter().any(|signer| logs.contains(signer)) {
        return Err(format!("no signature by the log {origin}"));
    }
    let checkpoint: Checkpoint = note.unverified_text().parse().map_err(|error| format!("{error}"))?;
    if &checkpoint.origin != origin {
        return Err(format!("the checkpoint is of {}, the bundle of {origin}", checkpoint.origin));
    }
    Ok((checkpoint, signers))
}
