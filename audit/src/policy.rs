//! Policy files: whom an auditor believes (C2SP tlog-policy, with one line of our own).
//!
//! ```text
//! # Whose checkpoints count. The key's name is the log's origin.
//! log <vkey> [<url>]
//! # The control plane's key for records: 32 bytes, base64. Not part of C2SP's format.
//! permit-key <base64>
//! # Who has to have seen a checkpoint.
//! witness <name> <vkey> [<url>]
//! group <name> all|any|<number> <name>...
//! quorum <name>|none
//! ```
//!
//! Exactly one `permit-key` and one `quorum` line, at least one `log` line. A name is defined before
//! it is used, and is a member of at most one group. The auditor keeps the file apart from the log:
//! what it says is the root of all trust in a verification.

use crate::checkpoint::{InvalidLogKey, LogVerifier};
use crate::encoding::from_decimal;
use crate::key::{InvalidPublicKey, PublicKey};
use crate::note::{InvalidVerifierKey, KeyName, SignatureKind, VerifierKey};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// Longest policy file in bytes: 128 lines of 512.
pub const MAX_POLICY_BYTES: usize = 64 * 1024;
/// Most lines of one kind; the specification asks for at least 32.
pub const MAX_LINES_OF_A_KIND: usize = 64;

/// Whom an auditor believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<LogVerifier>,
    permit_key: PublicKey,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Quorum,
}

/// A witness with its name in the policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Its name in the policy file.
    pub name: String,
    /// Its key.
    pub key: VerifierKey,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
}

/// A witness or a group, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quorum {
    None,
    Of(Member),
}

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// Longer than [`MAX_POLICY_BYTES`].
    #[error("a policy of {0} bytes is longer than {MAX_POLICY_BYTES}")]
    TooLong(usize),
    /// A line is wrong.
    #[error("line {line}: {what}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// A log key is wrong.
    #[error("line {line}: the log's key is refused")]
    Log {
        /// Its number, from 1.
        line: usize,
        /// Why.
        #[source]
        source: InvalidLogKey,
    },
    /// A witness's key is wrong.
    #[error("line {line}: the witness's key is refused")]
    Witness {
        /// Its number, from 1.
        line: usize,
        /// Why.
        #[source]
        source: InvalidVerifierKey,
    },
    /// The permit key is wrong.
    #[error("line {line}: the permit key is refused")]
    PermitKey {
        /// Its number, from 1.
        line: usize,
        /// Why.
        #[source]
        source: InvalidPublicKey,
    },
    /// A line that must be there is not.
    #[error("the policy has no {0} line")]
    Missing(&'static str),
}

impl Policy {
    /// The keys of the log with this origin; none when the policy does not know it.
    pub fn logs_named<'a>(&'a self, origin: &'a KeyName) -> impl Iterator<Item = &'a LogVerifier> {
        self.logs.iter().filter(move |log| log.origin() == origin)
    }

    /// All logs.
    #[must_use]
    pub fn logs(&self) -> &[LogVerifier] {
        &self.logs
    }

    /// The control plane's key for records.
    #[must_use]
    pub const fn permit_key(&self) -> &PublicKey {
        &self.permit_key
    }

    /// All witnesses.
    #[must_use]
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Whether cosignatures by these keys make the quorum.
    #[must_use]
    pub fn is_quorum(&self, signers: &[&VerifierKey]) -> bool {
        match self.quorum {
            Quorum::None => true,
            Quorum::Of(member) => self.witnessed(member, signers),
        }
    }

    /// Groups name only what was defined before them, so this ends.
    fn witnessed(&self, member: Member, signers: &[&VerifierKey]) -> bool {
        match member {
            Member::Witness(at) => self.witnesses.get(at).is_some_and(|witness| signers.contains(&&witness.key)),
            Member::Group(at) => self.groups.get(at).is_some_and(|group| {
                group.members.iter().filter(|member| self.witnessed(**member, signers)).count() >= group.threshold
            }),
        }
    }
}

impl FromStr for Policy {
    type Err = InvalidPolicy;

    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        if text.len() > MAX_POLICY_BYTES {
            return Err(InvalidPolicy::TooLong(text.len()));
        }
        let mut reader = Reader::default();
        for (number, line) in text.split('\n').enumerate() {
            reader.line(number + 1, line)?;
        }
        if reader.logs.is_empty() {
            return Err(InvalidPolicy::Missing("log"));
        }
        Ok(Self {
            logs: reader.logs,
            permit_key: reader.permit_key.ok_or(InvalidPolicy::Missing("permit-key"))?,
            witnesses: reader.witnesses,
            groups: reader.groups,
            quorum: reader.quorum.ok_or(InvalidPolicy::Missing("quorum"))?,
        })
    }
}

#[derive(Default)]
struct Reader {
    logs: Vec<LogVerifier>,
    permit_key: Option<PublicKey>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Option<Quorum>,
    names: BTreeMap<String, Member>,
    members: BTreeSet<String>,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), InvalidPolicy> {
        let wrong = |what: String| Err(InvalidPolicy::Line { line: number, what });
        if let Some(control) = line.chars().find(|c| (*c < ' ' && *c != '\t') || *c == '\u{7f}') {
            return wrong(format!("the control character {control:?}"));
        }
        let items: Vec<&str> = line.split([' ', '\t']).filter(|item| !item.is_empty()).collect();
        match items.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", key] | ["log", key, _] => self.log(number, key),
            ["permit-key", key] => {
                let key = key.parse().map_err(|source| InvalidPolicy::PermitKey { line: number, source })?;
                if self.permit_key.replace(key).is_some() {
                    return wrong("a second permit-key".to_owned());
                }
                Ok(())
            }
            ["witness", name, key] | ["witness", name, key, _] => self.witness(number, name, key),
            ["group", name, threshold, members @ ..] => self.group(number, name, threshold, members),
            ["quorum", name] => {
                let quorum = match (*name, self.names.get(*name)) {
                    ("none", _) => Quorum::None,
                    (_, Some(member)) => Quorum::Of(*member),
                    (_, None) => return wrong(format!("{name:?} is not defined before it is used")),
                };
                if self.quorum.replace(quorum).is_some() {
                    return wrong("a second quorum".to_owned());
                }
                Ok(())
            }
            [first, ..] => wrong(format!("{first:?} begins no line of a policy, or has too many or too few items")),
        }
    }

    fn log(&mut self, number: usize, key: &str) -> Result<(), InvalidPolicy> {
        let wrong = |what: String| Err(InvalidPolicy::Line { line: number, what });
        let log: LogVerifier = key.parse().map_err(|source| InvalidPolicy::Log { line: number, source })?;
        if self.logs.iter().any(|other| other.key().key() == log.key().key()) {
            return wrong("this log's key stands here twice".to_owned());
        }
        if self.logs.len() == MAX_LINES_OF_A_KIND {
            return wrong(format!("more than {MAX_LINES_OF_A_KIND} logs"));
        }
        self.logs.push(log);
        Ok(())
    }

    fn witness(&mut self, number: usize, name: &str, key: &str) -> Result<(), InvalidPolicy> {
        let wrong = |what: String| Err(InvalidPolicy::Line { line: number, what });
        let key: VerifierKey = key.parse().map_err(|source| InvalidPolicy::Witness { line: number, source })?;
        if key.kind() != SignatureKind::Cosignature {
            return wrong(format!("{} is not a key for cosignatures", key.name()));
        }
        if self.witnesses.iter().any(|other| other.key.key() == key.key()) {
            return wrong("this witness's key stands here twice".to_owned());
        }
        if self.witnesses.len() == MAX_LINES_OF_A_KIND {
            return wrong(format!("more than {MAX_LINES_OF_A_KIND} witnesses"));
        }
        self.define(number, name, Member::Witness(self.witnesses.len()))?;
        self.witnesses.push(Witness { name: name.to_owned(), key });
        Ok(())
    }

    fn group(&mut self, number: usize, name: &str, threshold: &str, names: &[&str]) -> Result<(), InvalidPolicy> {
        let wrong = |what: String| Err(InvalidPolicy::Line { line: number, what });
        let mut members = Vec::new();
        for member in names {
            let Some(known) = self.names.get(*member) else {
                return wrong(format!("{member:?} is not defined before it is used"));
            };
            members.push(*known);
            if !self.members.insert((*member).to_owned()) {
                return wrong(format!("{member:?} is a member twice"));
            }
        }
        let threshold = match threshold {
            "all" => members.len(),
            "any" => 1,
            digits => from_decimal(digits).and_then(|k| usize::try_from(k).ok()).unwrap_or(0),
        };
        if !(1..=members.len()).contains(&threshold) {
            return wrong(format!("the threshold must be all, any, or 1 to {}", members.len()));
        }
        if self.groups.len() == MAX_LINES_OF_A_KIND {
            return wrong(format!("more than {MAX_LINES_OF_A_KIND} groups"));
        }
        self.define(number, name, Member::Group(self.groups.len()))?;
        self.groups.push(Group { threshold, members });
        Ok(())
    }

    fn define(&mut self, number: usize, name: &str, member: Member) -> Result<(), InvalidPolicy> {
        if name == "none" || self.names.insert(name.to_owned(), member).is_some() {
            return Err(InvalidPolicy::Line { line: number, what: format!("{name:?} is taken") });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SigningKey;

    fn key(name: &str, kind: SignatureKind, seed: u8) -> VerifierKey {
        VerifierKey::new(name.parse().expect("a name"), kind, SigningKey::from_seed(&[seed; 32]).public())
    }

    fn witness(seed: u8) -> VerifierKey {
        key("w", SignatureKind::Cosignature, seed)
    }

    /// The specification's example with keys filled in.
    fn example() -> String {
        let mut text = format!(
            "# Two organisations.\nlog\t{}  https://log.example/\n\npermit-key {}\n",
            key("log", SignatureKind::Ed25519, 100),
            SigningKey::from_seed(&[101; 32]).public()
        );
        for (name, seed) in [("X1", 1), ("X2", 2), ("X3", 3)] {
            text.push_str(&format!("witness {name} {}\n", witness(seed)));
        }
        text.push_str("group X-witnesses 2 X1 X2 X3\n");
        for (name, seed) in [("Y1", 4), ("Y2", 5), ("Y3", 6)] {
            text.push_str(&format!(" witness {name} {} https://y.example\n", witness(seed)));
        }
        text.push_str("group Y-witnesses any Y1 Y2 Y3\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n");
        text
    }

    #[track_caller]
    fn check_quorum(seeds: &[u8], expected: bool) {
        let policy: Policy = example().parse().expect("a policy");
        let keys: Vec<VerifierKey> = seeds.iter().map(|seed| witness(*seed)).collect();
        assert_eq!(policy.is_quorum(&keys.iter().collect::<Vec<_>>()), expected, "{seeds:?}");
    }

    #[test]
    fn the_example_of_the_specification_counts_its_groups() {
        check_quorum(&[1, 2, 4], true);
        check_quorum(&[1, 2, 3, 4, 5, 6], true);
        check_quorum(&[1, 2], false);
        check_quorum(&[1, 4, 5, 6], false);
        check_quorum(&[1, 1, 4], false);
        check_quorum(&[7, 8, 9], false);
        check_quorum(&[], false);
    }

    #[track_caller]
    fn check_refused(change: impl FnOnce(String) -> String) {
        let text = change(example());
        assert!(text.parse::<Policy>().is_err(), "{text}");
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        check_refused(|text| text.replace("quorum X-and-Y\n", ""));
        check_refused(|text| format!("{text}quorum none\n"));
        check_refused(|text| text.replace("permit-key", "#"));
        check_refused(|text| text.replace("log\t", "# "));
        check_refused(|text| text.replace("group X-witnesses 2", "group X-witnesses 4"));
        check_refused(|text| text.replace("group X-witnesses 2", "group X-witnesses 0"));
        check_refused(|text| text.replace("group X-witnesses 2", "group X-witnesses 02"));
        check_refused(|text| text.replace("2 X1 X2 X3", "2 X1 X2 X1"));
        check_refused(|text| text.replace("2 X1 X2 X3", "2 X1 X2 Z"));
        check_refused(|text| text.replace("any Y1 Y2 Y3", "any Y1 Y2 X3"));
        check_refused(|text| text.replace("any Y1 Y2 Y3", "any"));
        check_refused(|text| text.replace("witness X2", "witness X1"));
        check_refused(|text| text.replace("witness X2", "witness none"));
        check_refused(|text| text.replace(&witness(2).to_string(), &witness(1).to_string()));
        check_refused(|text| text.replace(&witness(2).to_string(), &key("w", SignatureKind::Ed25519, 2).to_string()));
        check_refused(|text| text.replace("quorum X-and-Y", "quorum x-and-y"));
        check_refused(|text| text.replace("quorum X-and-Y", "quorums X-and-Y"));
        check_refused(|text| text.replace("quorum X-and-Y", "quorum\u{b}X-and-Y"));
        check_refused(|text| format!("{text}{}", "#".repeat(MAX_POLICY_BYTES)));
    }

    #[test]
    fn a_policy_without_witnesses_says_so() {
        let text = format!(
            "log {}\npermit-key {}\nquorum none",
            key("log", SignatureKind::Ed25519, 100),
            SigningKey::from_seed(&[101; 32]).public()
        );
        let policy: Policy = text.parse().expect("a policy");
        assert!(policy.is_quorum(&[]));
        assert_eq!(policy.logs_named(&"log".parse().expect("a name")).count(), 1);
        assert_eq!(policy.logs_named(&"other".parse().expect("a name")).count(), 0);
    }
}
