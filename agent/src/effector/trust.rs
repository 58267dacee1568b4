//! What this agent believes of the control plane: pinned keys, the log's head, and what was published.
//!
//! Everything that comes from outside is verified here before it means anything. Pure but for the
//! values that it is given; the effector's loop keeps them.

use crate::config::ControlPlaneSettings;
use fettle_audit::checkpoint::{Checkpoint, CheckpointError, InvalidLogKey, LogVerifier};
use fettle_audit::envelope::{Envelope, EnvelopeError};
use fettle_audit::key::{InvalidPublicKey, PublicKey};
use fettle_audit::published::{Published, PublishedError};
use fettle_audit::signed_record::{OpenError, SignedRecord};
use fettle_audit::tree::{Hash, ProofMismatch, verify_consistency};
use fettle_model::breaker::{Scope, StopOrder};
use fettle_model::counter::{ConfigurationGeneration, StopEpoch, TreeSize};
use fettle_model::digest::KeyId;
use fettle_model::permit::PermitRejection;
use fettle_model::record::{Author, Kind, RECORD_PAYLOAD_TYPE, Record};
use serde::{Deserialize, Serialize};

/// The keys that enrolment pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    log: LogVerifier,
    permit: PublicKey,
}

/// The pinned keys are no keys.
#[derive(Debug, thiserror::Error)]
pub enum InvalidPins {
    /// The log's key.
    #[error("the log key is no log key")]
    Log(#[source] InvalidLogKey),
    /// The permit key.
    #[error("the permit key is no key")]
    Permit(#[source] InvalidPublicKey),
}

/// A record of the control plane that is proven to be in the log.
#[derive(Debug)]
pub struct Believed {
    /// The record.
    pub record: Record,
    /// The checkpoint that its proof leads to.
    pub checkpoint: Checkpoint,
}

/// A configuration that this agent cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Its generation.
    pub generation: ConfigurationGeneration,
    /// What this agent does not know, and where.
    pub why: String,
}

/// The kind of the record by which a configuration is set.
const SET: &str = Kind::ConfigurationSet.as_str();

/// Why something published is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Disbelief {
    /// It does not verify.
    #[error("the record does not verify")]
    Published(#[source] PublishedError),
    /// It is not the control plane's.
    #[error("the record is not the control plane's")]
    OtherAuthor,
}

impl Disbelief {
    /// As the rejection of a permit.
    #[must_use]
    pub const fn rejection(&self) -> PermitRejection {
        match self {
            Self::Published(PublishedError::Record(OpenError::Envelope(EnvelopeError::OtherKey { found, .. }))) => {
                PermitRejection::ForeignKey { key: *found }
            }
            Self::OtherAuthor
            | Self::Published(PublishedError::TooLong(_) | PublishedError::Json(_) | PublishedError::Record(_)) => {
                PermitRejection::BadSignature
            }
            Self::Published(
                PublishedError::Leaf(_)
                | PublishedError::LeafDiffers
                | PublishedError::Checkpoint(_)
                | PublishedError::Inclusion(_),
            ) => PermitRejection::NotInLog,
        }
    }
}

impl Pins {
    /// Parses the keys as enrolment gave them.
    ///
    /// # Errors
    /// When one is no key.
    pub fn parse(log_key: &str, permit_key: &str) -> Result<Self, InvalidPins> {
        Ok(Self {
            log: log_key.parse().map_err(InvalidPins::Log)?,
            permit: permit_key.parse().map_err(InvalidPins::Permit)?,
        })
    }

    /// The key of `agent.toml` that is another one than here, by its name there.
    #[must_use]
    pub fn unlike(&self, wanted: &ControlPlaneSettings) -> Option<&'static str> {
        let other_log = wanted.log_key.as_ref().is_some_and(|pin| pin.as_str() != self.log.to_string());
        let other_permit = wanted.permit_key.as_ref().is_some_and(|pin| pin.as_bytes() != self.permit.as_bytes());
        match (other_log, other_permit) {
            (true, true | false) => Some("log-key"),
            (false, true) => Some("permit-key"),
            (false, false) => None,
        }
    }

    /// A key of `other` that is not this one: the permit key, or else the log's.
    #[must_use]
    pub fn foreign_key(&self, other: &Self) -> Option<KeyId> {
        [(&self.permit, &other.permit), (self.log.key().key(), other.log.key().key())]
            .into_iter()
            .find_map(|(own, other)| (own != other).then(|| other.key_id()))
    }

    /// Verifies a record of the control plane.
    ///
    /// # Errors
    /// With the link that does not hold.
    pub fn believe(&self, published: &Published) -> Result<Believed, Disbelief> {
        let (signed, checkpoint) = published.verify(&self.log, &self.permit).map_err(Disbelief::Published)?;
        match signed.record().author {
            Author::ControlPlane => Ok(Believed { record: signed.into_parts().0, checkpoint }),
            Author::Agent { .. } | Author::Person { .. } => Err(Disbelief::OtherAuthor),
        }
    }

    /// What is signed by the control plane as a configuration and has something that this agent does not know; `None`
    /// for everything else. It is proven to be the control plane's, not to be in the log: the log's leaf follows from
    /// the whole record. Nothing is done because of it but to say so.
    #[must_use]
    pub fn unread(&self, published: &Published) -> Option<Unread> {
        let envelope = Envelope::parse(published.envelope.clone()).ok()?;
        let payload = envelope.verify(&self.permit, RECORD_PAYLOAD_TYPE).ok()?;
        let why = serde_json::from_slice::<Record>(payload).err()?;
        let record: serde_json::Value = serde_json::from_slice(payload).ok()?;
        let body = record.get("body").filter(|body| body.get("kind").is_some_and(|kind| kind == SET))?;
        let generation = body.pointer("/body/configuration/generation")?.as_u64()?;
        Some(Unread { generation: ConfigurationGeneration(generation), why: why.to_string() })
    }

    /// Verifies that one of this agent's own records is in the log.
    ///
    /// # Errors
    /// With the link that does not hold.
    pub fn own(&self, published: &Published, key: &PublicKey) -> Result<(SignedRecord, Checkpoint), PublishedError> {
        published.verify(&self.log, key)
    }

    /// Opens a checkpoint.
    ///
    /// # Errors
    /// When it is not this log's.
    pub fn checkpoint(&self, note: &str) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::open(note, &self.log)
    }
}

/// The newest checkpoint that this agent has proven to continue all before it.
#[derive(Debug, Clone)]
pub struct Head {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its note.
    pub note: String,
}

/// The log contradicts itself: two signed checkpoints, of which neither continues the other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log's checkpoint of {size} records does not continue the one that this agent holds")]
pub struct Forked {
    /// Size of the new one.
    pub size: TreeSize,
    /// What did not fit.
    #[source]
    pub mismatch: ProofMismatch,
}

/// Whether `next` continues `held`, by a proof from the size `from` on. A head that is proven from another head
/// than the held one is no fork, only late: it answers a heartbeat from before, and the next heartbeat names
/// what is held now. One that answers the heartbeat that named the held head cannot be smaller: the log that
/// it is of was rolled back.
///
/// # Errors
/// When the proof does not show it.
pub fn continues(held: Option<&Head>, from: TreeSize, next: &Checkpoint, proof: &[Hash]) -> Result<Progress, Forked> {
    // An empty tree is continued by every tree, and there is no proof of that to send.
    let Some(held) = held.filter(|held| held.checkpoint.size.0 > 0) else { return Ok(Progress::Forward) };
    if from != held.checkpoint.size {
        return Ok(Progress::None);
    }
    verify_consistency(held.checkpoint.size, &held.checkpoint.root, next.size, &next.root, proof)
        .map_err(|mismatch| Forked { size: next.size, mismatch })?;
    Ok(if next.size > held.checkpoint.size { Progress::Forward } else { Progress::None })
}

/// Whether a checkpoint that a record was proven under can be of the log that this agent follows. Told only
/// for one of the held size; how one of another size and the held head continue each other has no proof here.
///
/// # Errors
/// When both are of one size and differ.
pub fn agrees(held: Option<&Head>, shown: &Checkpoint) -> Result<(), Forked> {
    match held.map(|held| &held.checkpoint).filter(|held| held.size == shown.size) {
        Some(held) => verify_consistency(held.size, &held.root, shown.size, &shown.root, &[])
            .map_err(|mismatch| Forked { size: shown.size, mismatch }),
        None => Ok(()),
    }
}

/// Whether a head is newer than the held one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It is, and is held from now on.
    Forward,
    /// It is not.
    None,
}

/// Every stop order that was seen. One that was lifted is kept as well: it still voids the permits before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stops {
    orders: Vec<StopOrder>,
}

/// Stop orders that are kept, one per scope: a fleet has four kinds of scope and some hundred names.
const MAX_ORDERS: usize = 1_000;

impl Stops {
    /// Takes an order in; the newest of each scope is kept. Where there are too many, the oldest order is
    /// widened to all scopes: it then voids more permits from before it, never fewer.
    pub fn stop(&mut self, order: StopOrder) {
        self.keep(order);
        while self.orders.len() > MAX_ORDERS {
            let narrow = self.orders.iter().enumerate().filter(|(_, order)| order.scope != Scope::Global);
            let Some((oldest, _)) = narrow.min_by_key(|(_, order)| order.epoch) else { return };
            let order = self.orders.swap_remove(oldest);
            self.keep(StopOrder { scope: Scope::Global, ..order });
        }
    }

    fn keep(&mut self, order: StopOrder) {
        match self.orders.iter_mut().find(|known| known.scope == order.scope) {
            Some(known) if known.epoch < order.epoch => *known = order,
            Some(_) => {}
            None => self.orders.push(order),
        }
    }

    /// All orders, the lifted ones included.
    #[must_use]
    pub fn all(&self) -> &[StopOrder] {
        &self.orders
    }

    /// The newest order's number.
    #[must_use]
    pub fn newest(&self) -> StopEpoch {
        self.orders.iter().map(|order| order.epoch).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_audit::tree::{Frontier, consistency_proof, leaf_hash};

    /// The head of a log of so many records that say `word`, after one that both logs have.
    fn head(word: &str, size: u64) -> Head {
        let mut frontier = Frontier::new();
        leaves(word, size).for_each(|leaf| frontier.append(leaf));
        let origin = "fettle.test/log".parse().expect("a name");
        let checkpoint = Checkpoint { origin, size: frontier.size(), root: frontier.root() };
        Head { checkpoint, note: String::new() }
    }

    fn leaves(word: &str, size: u64) -> impl Iterator<Item = Hash> {
        (0..size).map(move |place| leaf_hash(format!("{word} {place}").as_bytes()))
    }

    fn proof(word: &str, from: u64, to: u64) -> Vec<Hash> {
        let mut nodes = std::collections::BTreeMap::new();
        let mut frontier = Frontier::new();
        for leaf in leaves(word, to) {
            frontier.append_with(leaf, |level, index, hash| {
                nodes.insert((level, index), hash);
            });
        }
        consistency_proof(TreeSize(from), TreeSize(to), |level, index| nodes.get(&(level, index)).copied().ok_or(()))
            .expect("in range")
    }

    #[track_caller]
    fn check(held: Option<&Head>, from: u64, next: &Head, proof: &[Hash], expected: Result<Progress, u64>) {
        let result = continues(held, TreeSize(from), &next.checkpoint, proof);
        assert_eq!(result.map_err(|forked| forked.size.0), expected);
    }

    #[test]
    fn a_head_is_taken_when_it_continues_the_held_one_and_is_late_or_a_fork_otherwise() {
        let (one, five, nine) = (head("a", 1), head("a", 5), head("a", 9));
        check(None, 0, &five, &[], Ok(Progress::Forward));
        check(Some(&head("a", 0)), 0, &five, &[], Ok(Progress::Forward));
        check(Some(&five), 5, &nine, &proof("a", 5, 9), Ok(Progress::Forward));
        check(Some(&five), 5, &five, &[], Ok(Progress::None));
        check(Some(&five), 4, &one, &[], Ok(Progress::None));
        // Rolled back: the heartbeat had named five.
        check(Some(&five), 5, &one, &[], Err(1));
        // Another log, whatever it shows.
        check(Some(&five), 5, &head("b", 9), &proof("b", 5, 9), Err(9));
        check(Some(&five), 5, &head("b", 5), &[], Err(5));
        check(Some(&five), 5, &nine, &[], Err(9));
    }

    fn order(scope: Scope, epoch: u64) -> StopOrder {
        StopOrder { scope, epoch: StopEpoch(epoch), by: "alice".parse().expect("a name"), why: String::new() }
    }

    #[test]
    fn no_stop_order_is_forgotten_however_many_there_are() {
        let mut stops = Stops::default();
        let scope = |number: u64| Scope::Service(format!("service-{number}").parse().expect("a name"));
        let many = u64::try_from(MAX_ORDERS).expect("small") + 5;
        for number in 1..=many {
            stops.stop(order(scope(number), number));
        }
        assert!(stops.all().len() <= MAX_ORDERS);
        assert_eq!(stops.newest(), StopEpoch(many));
        for number in 1..=many {
            let holds = |kept: &StopOrder| {
                kept.epoch >= StopEpoch(number) && [scope(number), Scope::Global].contains(&kept.scope)
            };
            assert!(stops.all().iter().any(holds), "the stop of service-{number}");
        }
    }

    #[test]
    fn a_record_under_another_head_of_the_held_size_is_a_fork() {
        let shown = |word, size| agrees(Some(&head("a", 5)), &head(word, size).checkpoint);
        assert_eq!(shown("a", 5), Ok(()));
        assert_eq!(shown("b", 5).map_err(|forked| forked.size.0), Err(5));
        // Nothing shows it yet.
        assert_eq!((shown("b", 4), shown("b", 6)), (Ok(()), Ok(())));
        assert_eq!(agrees(None, &head("b", 5).checkpoint), Ok(()));
    }

    #[test]
    fn an_answer_to_an_earlier_heartbeat_is_no_fork() {
        // Both heartbeats named one record; the first answer brought five.
        check(Some(&head("a", 5)), 1, &head("a", 9), &proof("a", 1, 9), Ok(Progress::None));
    }
}
