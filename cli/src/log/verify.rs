//! `fettle log verify`: streams a bundle through [`fettle_audit::verify`] and says what was found.
//!
//! Needs no network, no database and no profile. Memory: one piece, one line of the bundle, and what
//! the verification keeps per host and run, so the size of the log is not bounded here.

use crate::answer::Answer;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::file;
use crate::plain::plain;
use crate::prose::paragraph;
use crate::table::{count, or_dash, table};
use crate::when::instant;
use fettle_audit::policy::{MAX_POLICY_BYTES, Policy};
use fettle_audit::verify::{Report, Severity, Verdict, Verification};
use fettle_model::counter::{AgentSequence, LogPosition};
use fettle_model::id::HostId;
use fettle_model::name::HostName;
use fettle_model::time::UnixMillis;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Findings that are shown to people; a log that is wrong early may have one per record.
const MAX_SHOWN: usize = 50;

pub(super) fn run(bundle: &Path, policy: &Path) -> Result<Answer, Failure> {
    let policy = read_policy(policy)?;
    let checked = if bundle == Path::new("-") {
        verify_bundle(io::stdin().lock(), &policy)
    } else {
        let opened = File::open(bundle).map_err(|error| file::unreadable(bundle, &error))?;
        verify_bundle(opened, &policy)
    };
    let checked = checked.map_err(|error| file::unreadable(bundle, &error))?;
    let exit = match checked.verdict {
        Verdict::Valid => Exit::Ok,
        Verdict::Invalid => Exit::Wrong,
        Verdict::ValidWithGaps => Exit::Gaps,
    };
    Ok(Answer::new(&checked.document(), checked.to_string())?.ending(exit))
}

fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let text = file::read_text(path, MAX_POLICY_BYTES)?;
    text.parse().map_err(|error| {
        let failure =
            Failure::caused(Exit::Invalid, &error, "take the policy that the control plane printed when it was made");
        Failure { message: format!("{}: {}", path.display(), failure.message), ..failure }
    })
}

/// Verifies a bundle from its first byte to its last.
///
/// # Errors
/// When the bundle cannot be read.
pub fn verify_bundle(mut bundle: impl Read, policy: &Policy) -> io::Result<Checked> {
    let mut verification = Verification::new(policy);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = match bundle.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        verification.feed(piece.get(..read).unwrap_or_default());
    }
    let report = verification.finish();
    Ok(Checked { verdict: report.verdict(), report })
}

/// A verification's outcome.
#[derive(Debug)]
pub struct Checked {
    /// The verdict: the exit code.
    pub verdict: Verdict,
    /// Everything that was found.
    pub report: Report,
}

#[derive(Serialize)]
struct Document<'a> {
    verdict: &'static str,
    checkpoint: Option<Head>,
    witnesses: &'a [String],
    records: u64,
    permits: u64,
    runs: u64,
    agents: Vec<Tail<'a>>,
    findings: Vec<Found<'a>>,
    more_findings: u64,
}

#[derive(Serialize)]
struct Head {
    origin: String,
    size: u64,
    root: String,
}

#[derive(Serialize)]
struct Tail<'a> {
    host: HostId,
    name: &'a HostName,
    sequence: AgentSequence,
    at: Option<UnixMillis>,
    position: Option<LogPosition>,
}

#[derive(Serialize)]
struct Found<'a> {
    position: Option<LogPosition>,
    rule: &'static str,
    severity: &'static str,
    words: &'a str,
}

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::ValidWithGaps => "valid-with-gaps",
        Verdict::Invalid => "invalid",
    }
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Gap => "gap",
        Severity::Invalid => "invalid",
    }
}

impl Checked {
    fn document(&self) -> Document<'_> {
        let Report { checkpoint, witnesses, records, permits, runs, agents, findings, more_findings, .. } =
            &self.report;
        Document {
            verdict: verdict(self.verdict),
            checkpoint: checkpoint.as_ref().map(|head| Head {
                origin: head.origin.to_string(),
                size: head.size.0,
                root: head.root.to_string(),
            }),
            witnesses,
            records: *records,
            permits: *permits,
            runs: *runs,
            agents: agents
                .iter()
                .map(|tail| Tail {
                    host: tail.host,
                    name: &tail.name,
                    sequence: tail.sequence,
                    at: tail.at,
                    position: tail.position,
                })
                .collect(),
            findings: findings
                .iter()
                .map(|found| Found {
                    position: found.position,
                    rule: found.rule.as_str(),
                    severity: severity(found.rule.severity()),
                    words: &found.words,
                })
                .collect(),
            more_findings: *more_findings,
        }
    }

    fn shown_findings(&self) -> String {
        let mut text = String::new();
        for found in self.report.findings.iter().take(MAX_SHOWN) {
            let place = found.position.map_or_else(|| "the bundle".to_owned(), |at| format!("record {at}"));
            let line =
                format!("{place}: {} ({}): {}", found.rule, severity(found.rule.severity()), plain(&found.words));
            text.push_str(&paragraph(2, &line));
        }
        let kept = u64::try_from(self.report.findings.len().saturating_sub(MAX_SHOWN)).unwrap_or(u64::MAX);
        let more = kept.saturating_add(self.report.more_findings);
        if more > 0 {
            text.push_str(&format!("  and {more} more; --json lists the first thousand\n"));
        }
        text
    }
}

impl std::fmt::Display for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let report = &self.report;
        let head = report.checkpoint.as_ref().map_or_else(
            || "no checkpoint that verifies".to_owned(),
            |head| format!("the checkpoint of {} over {}", head.origin, count(head.size.0, "record")),
        );
        let witnesses = if report.witnesses.is_empty() {
            "no witness cosigned it".to_owned()
        } else {
            format!("cosigned by {}", report.witnesses.join(", "))
        };
        let checked = format!(
            "checked: {}, {}, {}, {}; {head}; {witnesses}",
            count(report.records, "record"),
            count(u64::try_from(report.agents.len()).unwrap_or(u64::MAX), "host"),
            count(report.permits, "permit"),
            count(report.runs, "ended run"),
        );
        f.write_str(&paragraph(0, &checked))?;
        if !report.agents.is_empty() {
            let cells = report.agents.iter().map(|tail| {
                [
                    tail.name.to_string(),
                    tail.sequence.to_string(),
                    or_dash(tail.at.map(instant)),
                    or_dash(tail.position),
                ]
            });
            write!(f, "\n{}", table(["HOST", "COMPLETE UP TO", "AT", "POSITION"], cells.collect(), ""))?;
        }
        let findings = self.shown_findings();
        if !findings.is_empty() {
            write!(f, "\nfindings:\n{findings}")?;
        }
        let verdict = match self.verdict {
            Verdict::Valid => "valid: complete up to its checkpoint, and without contradiction",
            Verdict::ValidWithGaps => "valid with gaps: nothing contradicts, and something is missing",
            Verdict::Invalid => "INVALID: this log is not to be believed",
        };
        writeln!(f, "\n{verdict}")
    }
}
