//! A log in memory: real signatures, a real tree.

use fettle_audit::checkpoint::Checkpoint;
use fettle_audit::envelope::Envelope;
use fettle_audit::key::SigningKey;
use fettle_audit::leaf::leaf_for;
use fettle_audit::note::{NoteSigner, SignatureKind};
use fettle_audit::published::Published;
use fettle_audit::signed_record::SignedRecord;
use fettle_audit::tree::{Frontier, Hash, consistency_proof, inclusion_proof};
use fettle_model::counter::{LogPosition, TreeSize};
use fettle_model::digest::KeyId;
use fettle_model::record::{Author, Body, RECORD_PAYLOAD_TYPE, Record};
use fettle_model::time::UnixMillis;
use std::collections::BTreeMap;

/// Position, not time, orders this log.
const THEN: UnixMillis = UnixMillis(1);

/// The log with both of its keys.
pub(crate) struct Log {
    signer: NoteSigner,
    permit_key: SigningKey,
    frontier: Frontier,
    nodes: BTreeMap<(u8, u64), Hash>,
}

impl Log {
    /// An empty log under keys made of `seed`.
    pub(crate) fn new(seed: u8) -> Self {
        let name = "fettle.test/log".parse().expect("a name");
        Self {
            signer: NoteSigner::new(name, SigningKey::from_seed(&[seed; 32])),
            permit_key: SigningKey::from_seed(&[seed + 1; 32]),
            frontier: Frontier::new(),
            nodes: BTreeMap::new(),
        }
    }

    /// How many records are in it.
    pub(crate) fn size(&self) -> TreeSize {
        self.frontier.size()
    }

    pub(crate) fn log_key(&self) -> String {
        self.signer.verifier(SignatureKind::Ed25519).to_string()
    }

    pub(crate) fn permit_key(&self) -> String {
        self.permit_key.public().to_string()
    }

    /// The name of its permit key.
    pub(crate) fn permit_key_id(&self) -> KeyId {
        self.permit_key.public().key_id()
    }

    /// The control plane says something.
    pub(crate) fn say(&mut self, body: Body) -> Published {
        let record = Record { author: Author::ControlPlane, at: THEN, body };
        let signed = SignedRecord::seal(record, &self.permit_key).expect("it is sealed");
        self.append(&signed)
    }

    /// Says something with one field more than there is in it.
    pub(crate) fn say_more(&mut self, body: Body, place: &str, field: &str) -> Published {
        let mut published = self.say(body);
        let envelope = Envelope::parse(published.envelope).expect("an envelope");
        let payload = envelope.verify(&self.permit_key.public(), RECORD_PAYLOAD_TYPE).expect("its own");
        let mut json: serde_json::Value = serde_json::from_slice(payload).expect("JSON");
        json.pointer_mut(place).expect("the place")[field] = 1.into();
        let sealed = Envelope::seal(RECORD_PAYLOAD_TYPE, json.to_string().as_bytes(), &self.permit_key);
        published.envelope = sealed.expect("it is sealed").as_bytes().to_vec();
        published
    }

    /// Appends a record and proves it.
    pub(crate) fn append(&mut self, signed: &SignedRecord) -> Published {
        let leaf = leaf_for(signed, THEN);
        let position = LogPosition(self.frontier.size().0);
        let nodes = &mut self.nodes;
        self.frontier.append_with(leaf.hash(), |level, index, hash| {
            nodes.insert((level, index), hash);
        });
        let inclusion = inclusion_proof(position, self.frontier.size(), |level, index| {
            self.nodes.get(&(level, index)).copied().ok_or("no such node")
        });
        Published {
            envelope: signed.envelope().as_bytes().to_vec(),
            leaf: leaf.encode().to_vec(),
            position,
            checkpoint: self.checkpoint(),
            inclusion: inclusion.expect("it is in range"),
        }
    }

    /// The signed head.
    pub(crate) fn checkpoint(&self) -> String {
        let (size, root) = (self.frontier.size(), self.frontier.root());
        Checkpoint { origin: self.signer.name().clone(), size, root }.sign(&self.signer).expect("it is signed")
    }

    /// That the head continues a smaller one.
    pub(crate) fn consistency(&self, from: TreeSize) -> Vec<Hash> {
        consistency_proof(from, self.frontier.size(), |level, index| {
            self.nodes.get(&(level, index)).copied().ok_or("no such node")
        })
        .unwrap_or_default()
    }
}
