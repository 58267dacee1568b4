//! Between effector and daemon.
//!
//! The daemon has the network, the TLS identity and the checks; it signs nothing and decides
//! nothing. The effector has the record key, the outbox and the last word.

use crate::check::Reason;
use fettle_model::check::{Check, CheckRef, Status};
use fettle_model::counter::{AgentSequence, ConfigurationGeneration, StopEpoch, TreeSize};
use fettle_model::digest::PlaybookDigest;
use fettle_model::id::{BootId, DrillId, HostId, RequestId};
use fettle_model::identity::TrustDomain;
use fettle_model::name::{CheckName, EnvironmentName, HostName};
use fettle_model::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Names one question to the other side until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ask(pub u64);

/// From the effector.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "message", deny_unknown_fields)]
pub enum ToDaemon {
    /// The first message.
    Start(Box<DaemonStart>),
    /// The checks to run from now on; replaces all.
    Checks {
        /// Resolved for this host.
        checks: Vec<ResolvedCheck>,
    },
    /// Probe this check now, afresh. Answered by [`ToEffector::Probed`].
    Probe {
        /// The question.
        ask: Ask,
        /// Which.
        check: CheckRef,
    },
    /// What to say in the next Hello. Answers [`ToEffector::Connecting`].
    Introduce(Introduction),
    /// A record for the control plane, in order of sequence.
    Send {
        /// Its place in the chain.
        sequence: AgentSequence,
        /// The envelope, base64.
        envelope: String,
    },
    /// The join token as its file holds it; `None`: there is none that may be read. Answers
    /// [`ToEffector::TokenWanted`].
    JoinToken {
        /// Its text.
        token: Option<JoinTokenText>,
    },
    /// Fetch the package of a playbook. Answered by [`ToEffector::Fetched`].
    Fetch {
        /// Which.
        digest: PlaybookDigest,
    },
    /// Proof of the record key over these bytes, base64. Answers [`ToEffector::ProveRecordKey`].
    RecordKeyProof {
        /// The question.
        ask: Ask,
        /// The signature, base64.
        signature: String,
    },
    /// The log's head as the effector has verified it, for the next heartbeat.
    Verified {
        /// Size of the newest verified checkpoint.
        tree_size: TreeSize,
        /// The last sequence of the chain.
        sequence: AgentSequence,
        /// The configuration that is in force.
        configuration: ConfigurationGeneration,
    },
    /// End in order.
    Stop,
}

/// What the daemon needs to begin.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaemonStart {
    /// Folder that belongs to the daemon; holds its TLS identity.
    pub state: PathBuf,
    /// `host:port` of the agents' service.
    pub address: String,
    /// `host:port` of the enrolment service.
    pub enrol_address: String,
    /// `sha256:…` of the root's key, for enrolment.
    pub ca_pin: String,
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// The host's name for people.
    pub host: HostName,
    /// Its environment.
    pub environment: EnvironmentName,
    /// The 32 public bytes of the record key, base64.
    pub record_key: String,
    /// argv of the commands that the owner registered for `command` checks.
    pub commands: BTreeMap<CheckName, Vec<String>>,
    /// This boot.
    pub boot: BootId,
}

/// A join token's text. `Debug` hides it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JoinTokenText(pub String);

impl std::fmt::Debug for JoinTokenText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JoinTokenText(hidden)")
    }
}

/// A check with its host values filled in and its last durable status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolvedCheck {
    /// Which.
    pub of: CheckRef,
    /// With every `{host.x}` replaced.
    pub check: Check,
    /// Where damping starts: the status of its last transition; `None`: it never had one.
    pub last: Option<Status>,
}

/// What the effector holds when a session begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Introduction {
    /// Size of the newest verified checkpoint.
    pub tree_size: TreeSize,
    /// The configuration.
    pub configuration: ConfigurationGeneration,
    /// The newest stop order seen.
    pub stop_epoch: StopEpoch,
    /// Requests without an answer that are still worth one.
    pub unanswered: Vec<RequestId>,
}

/// From the daemon.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "message", deny_unknown_fields)]
pub enum ToEffector {
    /// A check changed its status, after damping.
    Changed {
        /// Which.
        check: CheckRef,
        /// Before; `None`: it never had one.
        from: Option<Status>,
        /// After.
        to: Status,
        /// When it was seen.
        at: UnixMillis,
        /// In the probe's words.
        #[serde(with = "one_line")]
        reason: Reason,
    },
    /// The answer to [`ToDaemon::Probe`].
    Probed {
        /// The question.
        ask: Ask,
        /// What the probe says now.
        status: Status,
        /// In its words.
        #[serde(with = "one_line")]
        reason: Reason,
    },
    /// The host was enrolled: keys to be pinned.
    Enrolled {
        /// The host's id.
        host: HostId,
        /// The log's verifier key.
        log_key: String,
        /// The 32 public bytes of the permit key, base64.
        permit_key: String,
    },
    /// Wants the join token: there is no certificate that could be used, and an enrolment is about to be tried.
    TokenWanted,
    /// Wants a proof of the record key for enrolment.
    ProveRecordKey {
        /// The question.
        ask: Ask,
        /// What is to be signed, base64.
        bytes: String,
    },
    /// A session is about to begin.
    Connecting,
    /// The session stands; the control plane has this agent's records up to here.
    LinkUp {
        /// The last durable sequence.
        sequence: AgentSequence,
    },
    /// The session ended.
    LinkDown,
    /// The control plane is there, and does not take this agent.
    LinkRefused,
    /// A record of this agent is published.
    Acknowledged {
        /// Its place in the chain.
        sequence: AgentSequence,
        /// `Published` of the audit crate, JSON text.
        published: String,
    },
    /// A record that this agent must know.
    Published {
        /// `Published` of the audit crate, JSON text.
        document: String,
    },
    /// The log's head with its consistency proof.
    Head {
        /// The size that the heartbeat named: the proof begins there.
        from: TreeSize,
        /// The signed checkpoint, note text.
        checkpoint: String,
        /// Hashes, base64.
        consistency: Vec<String>,
    },
    /// Asks the agent to ask.
    Nudged(Nudge),
    /// The answer to [`ToDaemon::Fetch`].
    Fetched {
        /// Which.
        digest: PlaybookDigest,
        /// The package, base64; `None`: it could not be had, ask again later.
        package: Option<String>,
    },
}

/// A wish without authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "nudge", deny_unknown_fields)]
pub enum Nudge {
    /// Ask for this check's remediation.
    Remediate {
        /// Which check.
        check: CheckRef,
    },
    /// Ask to inject this drill's fault.
    Inject {
        /// Which drill.
        drill: DrillId,
    },
    /// Ask to run this drill's playbook once more.
    Repeat {
        /// Which drill.
        drill: DrillId,
    },
    /// Make a plan for this request.
    Plan {
        /// Which request.
        request: RequestId,
    },
}

/// A reason on the pipe. The daemon may have been taken over: what it says is cleaned and bounded as it is read.
mod one_line {
    use super::Reason;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
        reason.as_str().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Reason, D::Error> {
        Ok(Reason::new(&String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::check::MAX_REASON_BYTES;

    /// The reason that the effector hears when the daemon sends this message with that one.
    fn heard(mut message: serde_json::Value, reason: &str) -> String {
        message["reason"] = reason.into();
        let message: ToEffector = serde_json::from_value(message).expect("a message");
        let (ToEffector::Changed { reason, .. } | ToEffector::Probed { reason, .. }) = message else {
            unreachable!("{message:?}")
        };
        reason.into_string()
    }

    #[test]
    fn a_reason_is_cleaned_and_bounded_as_it_is_read_whatever_the_daemon_sends() {
        let check = CheckRef { service: "web".parse().expect("a name"), check: "http".parse().expect("a name") };
        let (to, at, reason) = (Status::Critical, UnixMillis(1), Reason::new("refused"));
        let changed = ToEffector::Changed { check, from: None, to, at, reason: reason.clone() };
        let probed = ToEffector::Probed { ask: Ask(1), status: to, reason };
        for message in [changed, probed] {
            let message = serde_json::to_value(&message).expect("JSON");
            assert_eq!(heard(message.clone(), "refused"), "refused");
            assert_eq!(heard(message.clone(), "\u{1b}[31mtwo\nlines\u{202e}"), "[31mtwo lines");
            assert_eq!(heard(message, &"x".repeat(MAX_REASON_BYTES + 1)), "x".repeat(MAX_REASON_BYTES));
        }
    }
}
