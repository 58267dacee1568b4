//! A log under construction: signs records as their authors would, and exports bundles and policies.
//! Holds all the keys, so a test can write a log that is wrong in its meaning and sound in its signatures.

use fettle_audit::bundle::{checkpoint_line, header_line, record_line};
use fettle_audit::checkpoint::Checkpoint;
use fettle_audit::cosignature::{UnixSeconds, cosign};
use fettle_audit::key::SigningKey;
use fettle_audit::leaf::{Leaf, leaf_for};
use fettle_audit::note::{KeyName, Note, NoteSigner, SignatureKind};
use fettle_audit::policy::Policy;
use fettle_audit::signed_record::SignedRecord;
use fettle_audit::tree::Frontier;
use fettle_model::counter::AgentSequence;
use fettle_model::digest::EnvelopeDigest;
use fettle_model::id::HostId;
use fettle_model::record::{Author, Body, Record};
use fettle_model::time::UnixMillis;
use std::collections::BTreeMap;
use uuid::Uuid;

pub(crate) const ORIGIN: &str = "log.example/fettle";
/// When the first record is written; each takes a second.
pub(crate) const START: UnixMillis = UnixMillis(1_700_000_000_000);

pub(crate) fn permit_key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

pub(crate) fn log_signer() -> NoteSigner {
    NoteSigner::new(ORIGIN.parse().expect("a name"), SigningKey::from_seed(&[2; 32]))
}

pub(crate) fn witness() -> NoteSigner {
    NoteSigner::new("witness.example/w1".parse().expect("a name"), SigningKey::from_seed(&[3; 32]))
}

pub(crate) fn publisher_key() -> SigningKey {
    SigningKey::from_seed(&[4; 32])
}

/// The record key of a host.
pub(crate) fn record_key(host: HostId) -> SigningKey {
    let mut seed = [5; 32];
    seed[..16].copy_from_slice(host.as_uuid().as_bytes());
    SigningKey::from_seed(&seed)
}

pub(crate) fn host(number: u128) -> HostId {
    HostId::from_uuid(Uuid::from_u128(number))
}

/// The auditor's policy: the log, the permit key, one witness that must have cosigned.
pub(crate) fn policy() -> Policy {
    format!(
        "log {}\npermit-key {}\nwitness w1 {}\nquorum w1\n",
        log_signer().verifier(SignatureKind::Ed25519),
        permit_key().public(),
        witness().verifier(SignatureKind::Cosignature)
    )
    .parse()
    .expect("a policy")
}

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) records: Vec<(Leaf, SignedRecord)>,
    heads: BTreeMap<HostId, (AgentSequence, Option<EnvelopeDigest>)>,
}

impl Log {
    pub(crate) fn now(&self) -> UnixMillis {
        UnixMillis(START.0 + 1_000 * self.records.len() as u64)
    }

    pub(crate) fn control_plane(&mut self, body: Body) {
        self.sealed(Author::ControlPlane, body, &permit_key());
    }

    pub(crate) fn agent(&mut self, host: HostId, body: Body) {
        let (sequence, previous) = self.heads.get(&host).copied().unwrap_or_default();
        let author = Author::Agent { host, sequence: sequence.next(), previous };
        let envelope = self.sealed(author, body, &record_key(host));
        self.heads.insert(host, (sequence.next(), Some(envelope)));
    }

    pub(crate) fn sealed(&mut self, author: Author, body: Body, key: &SigningKey) -> EnvelopeDigest {
        let signed = SignedRecord::seal(Record { author, at: self.now(), body }, key).expect("sealed");
        let digest = signed.envelope().digest();
        self.records.push((leaf_for(&signed, self.now()), signed));
        digest
    }

    fn frontier(&self) -> Frontier {
        let mut frontier = Frontier::new();
        for (leaf, _) in &self.records {
            frontier.append(leaf.hash());
        }
        frontier
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let frontier = self.frontier();
        Checkpoint { origin: origin(), size: frontier.size(), root: frontier.root() }
    }

    /// The signed and cosigned checkpoint.
    pub(crate) fn head(&self) -> String {
        let note = self.checkpoint().sign(&log_signer()).expect("signed");
        let note = Note::parse(&note).expect("a note");
        cosign(note, &witness(), UnixSeconds(START.0 / 1_000)).expect("cosigned").to_string()
    }

    pub(crate) fn bundle(&self) -> Vec<u8> {
        self.bundle_under(&self.head())
    }

    pub(crate) fn bundle_under(&self, head: &str) -> Vec<u8> {
        self.lines(head).concat()
    }

    pub(crate) fn lines(&self, head: &str) -> Vec<Vec<u8>> {
        let mut lines = vec![header_line(&origin()).into_bytes()];
        lines.extend(self.records.iter().map(|(leaf, signed)| record_line(leaf, signed.envelope())));
        lines.push(checkpoint_line(head).into_bytes());
        lines
    }
}

pub(crate) fn origin() -> KeyName {
    ORIGIN.parse().expect("a name")
}
