//! Hosts: identity, chain of records, description and the newest status of their checks.

use super::entry::Stamp;
use super::statuses::{CheckState, HealthySince, Statuses};
use super::trail::{Memory, Trail};
use fettle_model::check::{CheckRef, Status, Transition};
use fettle_model::counter::{AgentSequence, CertificateGeneration, Fence, LogPosition, TransitionEpoch};
use fettle_model::digest::EnvelopeDigest;
use fettle_model::host::{HostDescription, HostState};
use fettle_model::id::HostId;
use fettle_model::name::{EnvironmentName, HostName, ServiceName};
use fettle_model::record::HostEnrolled;
use std::time::Duration;

/// Checks whose status is kept per host: 20 services of 50 checks. More are ignored, so that one
/// agent cannot fill the memory.
pub(in crate::core) const MAX_CHECKS_PER_HOST: usize = 1_000;

/// The end of an agent's chain of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChainHead {
    /// How many records there are; the next has the number after it.
    pub sequence: AgentSequence,
    /// Digest of the last; `None` while there is none.
    pub envelope: Option<EnvelopeDigest>,
}

/// Where an agent's record stands to the chain that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is the next one.
    Next,
    /// It is there already.
    Known {
        /// Where in the log, while it is one of the newest [`super::trail::MAX_RECENT_RECORDS`].
        at: Option<LogPosition>,
    },
    /// Records between are missing.
    Gap {
        /// The number that is due.
        expected: AgentSequence,
    },
    /// The chain has another record at this number: two holders of one identity, or a restored backup.
    Forked,
}

/// The certificates of a host that may be live: the newest, and the one before it until the newest was
/// presented for the first time (its answer may have been lost).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Count of the newest.
    pub newest: CertificateGeneration,
    serial: String,
    before: Option<(CertificateGeneration, String)>,
}

impl Certificates {
    /// A certificate was issued. One of the newest's own count replaces it: nobody ever held the other.
    pub(in crate::core) fn issued(&mut self, generation: CertificateGeneration, serial: &str) {
        if generation > self.newest {
            let before = std::mem::replace(&mut self.serial, serial.to_owned());
            self.before = (self.newest > CertificateGeneration(0)).then_some((self.newest, before));
            self.newest = generation;
        } else if generation == self.newest {
            serial.clone_into(&mut self.serial);
        }
    }

    /// Serial number of the newest; empty while there is none.
    #[must_use]
    pub fn newest_serial(&self) -> &str {
        &self.serial
    }

    /// The count of the certificate with this serial number; `None` when it is no longer, or never was, one
    /// that may be live.
    #[must_use]
    pub fn generation(&self, serial: &str) -> Option<CertificateGeneration> {
        if self.newest > CertificateGeneration(0) && serial == self.serial {
            return Some(self.newest);
        }
        self.before.as_ref().filter(|(_, before)| before == serial).map(|(generation, _)| *generation)
    }
}

/// A host as the log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its identity.
    pub id: HostId,
    /// Its name for people, as enrolled.
    pub name: HostName,
    /// Its environment, as enrolled.
    pub environment: EnvironmentName,
    /// The 32 public bytes of its record key, base64.
    pub record_key: String,
    /// Where it stands.
    pub state: HostState,
    /// When it was enrolled.
    pub enrolled: Stamp,
    /// What its agent says of it, once it has.
    pub description: Option<HostDescription>,
    /// The end of its chain.
    pub head: ChainHead,
    /// When its last record was sequenced.
    pub last_record: Option<Stamp>,
    /// The highest fence that was given out for it.
    pub fence: Fence,
    /// Its certificates that may be live.
    pub certificates: Certificates,
    /// The newest status of its checks.
    pub checks: Statuses,
    /// When its agent reported two contradicting logs.
    pub fork_seen: Option<Stamp>,
    pub(in crate::core) trail: Trail,
}

/// What a transition changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum Seen {
    /// It is older than what is known, or beyond the bound.
    Ignored,
    /// The check is healthy, or stays unhealthy.
    Noted,
    /// The check left health after having been in it this long.
    LeftHealth(Duration),
}

/// Whether a status counts as healthy. `Unknown` does not: nothing is known to work.
pub(in crate::core) const fn is_healthy(status: Status) -> bool {
    match status {
        Status::Passing | Status::Warning => true,
        Status::Critical | Status::Unknown => false,
    }
}

impl Host {
    pub(in crate::core) fn enrolled(enrolled: &HostEnrolled, stamp: Stamp) -> Self {
        Self {
            id: enrolled.host,
            name: enrolled.name.clone(),
            environment: enrolled.environment.clone(),
            record_key: enrolled.record_key.clone(),
            state: HostState::Active,
            enrolled: stamp,
            description: None,
            head: ChainHead::default(),
            last_record: None,
            fence: Fence::default(),
            certificates: Certificates::default(),
            checks: Statuses::default(),
            fork_seen: None,
            trail: Trail::default(),
        }
    }

    /// Whether whoever proves this record key under this name is this host, come back.
    #[must_use]
    pub fn is_known_as(&self, record_key: &str, name: &HostName, environment: &EnvironmentName) -> bool {
        self.record_key == record_key && &self.name == name && &self.environment == environment
    }

    /// Where a record of this number and predecessor stands to the known chain.
    #[must_use]
    pub fn place(&self, sequence: AgentSequence, previous: Option<EnvelopeDigest>, envelope: EnvelopeDigest) -> Place {
        let expected = self.head.sequence.next();
        if sequence == expected {
            return if previous == self.head.envelope { Place::Next } else { Place::Forked };
        }
        if sequence > expected {
            return Place::Gap { expected };
        }
        match self.trail.recall(self.head.sequence, sequence, envelope) {
            Memory::Same(position) => Place::Known { at: Some(position) },
            Memory::None => Place::Known { at: None },
            Memory::Other => Place::Forked,
        }
    }

    pub(in crate::core) fn extend_chain(&mut self, sequence: AgentSequence, envelope: EnvelopeDigest, stamp: Stamp) {
        self.head = ChainHead { sequence, envelope: Some(envelope) };
        self.last_record = Some(stamp);
        self.trail.extend(envelope, stamp.position);
    }

    pub(in crate::core) fn see(&mut self, transition: &Transition, stamp: Stamp) -> Seen {
        let known = self.checks.get(&transition.of);
        if known.map_or(self.checks.len() >= MAX_CHECKS_PER_HOST, |known| transition.epoch <= known.transition.epoch) {
            return Seen::Ignored;
        }
        let before = known.and_then(|known| known.healthy_since);
        let healthy = is_healthy(transition.to);
        let healthy_since = match before {
            _ if !healthy => None,
            Some(since) => Some(since),
            None => Some(HealthySince { received_at: stamp.at, agent_at: transition.at }),
        };
        self.checks.keep(CheckState { transition: transition.clone(), seen: stamp, healthy_since });
        match before {
            // The shorter of two clocks: neither a late delivery nor an agent's clock makes health look longer.
            Some(since) if !healthy => {
                Seen::LeftHealth(stamp.at.since(since.received_at).min(transition.at.since(since.agent_at)))
            }
            Some(_) | None => Seen::Noted,
        }
    }

    /// Whether its agent says that it carries the service.
    #[must_use]
    pub fn carries(&self, service: &ServiceName) -> bool {
        self.description
            .as_ref()
            .is_some_and(|description| description.services.iter().any(|carried| &carried.name == service))
    }

    /// The newest epoch of a check; zero when it never reported.
    #[must_use]
    pub fn newest_epoch(&self, check: &CheckRef) -> TransitionEpoch {
        self.checks.get(check).map_or(TransitionEpoch(0), |known| known.transition.epoch)
    }

    /// Whether it may be given a permit at all: active, and in the environment in which it was enrolled.
    #[must_use]
    pub fn may_act(&self) -> bool {
        self.state == HostState::Active
            && self.description.as_ref().is_some_and(|description| description.environment == self.environment)
    }
}
