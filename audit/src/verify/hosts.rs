//! Hosts: enrolment, record keys, chains, descriptions, transitions.

use super::finding::{AgentTail, At, Rule};
use super::standing::Standing;
use crate::key::PublicKey;
use fettle_model::check::{CheckRef, Status, Transition};
use fettle_model::counter::{AgentSequence, Fence, LogPosition, TransitionEpoch};
use fettle_model::digest::{EnvelopeDigest, KeyId};
use fettle_model::host::{HostDescription, HostState};
use fettle_model::id::{HostId, TokenId};
use fettle_model::identity::Principal;
use fettle_model::name::{EnvironmentName, HostName, ServiceName};
use fettle_model::record::{CertificateIssued, HostEnrolled, HostStateSet, TokenCreated};
use fettle_model::service::Service;
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};

/// A service in an environment: the group that guards count in.
pub(super) type Group = (ServiceName, EnvironmentName);

/// All hosts that were enrolled.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts {
    tokens: BTreeMap<TokenId, Token>,
    by_id: BTreeMap<HostId, Host>,
    keys: BTreeSet<KeyId>,
    /// Hosts that say that they carry the service, by the environment in which they were enrolled.
    carriers: BTreeMap<Group, BTreeSet<HostId>>,
    /// Sizes of groups that were counted since the last change.
    sizes: BTreeMap<Group, u32>,
}

#[derive(Debug, Clone)]
struct Token {
    environment: EnvironmentName,
    host: Option<HostName>,
    expires_at: UnixMillis,
    used: Use,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Unused,
    Used,
}

/// One host, as the records show it.
#[derive(Debug, Clone)]
pub(super) struct Host {
    name: HostName,
    pub(super) environment: EnvironmentName,
    record_key: PublicKey,
    pub(super) state: HostState,
    pub(super) description: Option<HostDescription>,
    chain: Option<Link>,
    transitions: BTreeMap<CheckRef, (TransitionEpoch, Status)>,
    /// Of its last permit.
    pub(super) fence: Option<Fence>,
    /// Permits whose effects may be in progress.
    pub(super) in_flight: u32,
}

/// The last record of an agent.
#[derive(Debug, Clone, Copy)]
struct Link {
    sequence: AgentSequence,
    envelope: EnvelopeDigest,
    at: UnixMillis,
    position: LogPosition,
}

impl Host {
    pub(super) const fn name(&self) -> &HostName {
        &self.name
    }

    /// Whether it says that it carries a service.
    pub(super) fn carries(&self, service: &ServiceName) -> bool {
        let mut carried = self.description.iter().flat_map(|description| description.services.iter());
        carried.any(|carried| &carried.name == service)
    }

    pub(super) fn is_selected_by(&self, service: &Service) -> bool {
        service.hosts.selects(&self.name, &self.environment)
    }
}

impl Hosts {
    pub(super) fn record_key(&self, host: HostId) -> Option<&PublicKey> {
        self.by_id.get(&host).map(|host| &host.record_key)
    }

    pub(super) fn get(&self, host: HostId) -> Option<&Host> {
        self.by_id.get(&host)
    }

    pub(super) fn active(&self) -> impl Iterator<Item = &Host> {
        self.by_id.values().filter(|host| host.state == HostState::Active)
    }

    pub(super) fn get_mut(&mut self, host: HostId) -> Option<&mut Host> {
        self.by_id.get_mut(&host)
    }

    /// How many hosts carry the service in the environment: described so, selected by what stands for them, not revoked.
    pub(super) fn group_size(
        &mut self,
        service: &ServiceName,
        environment: &EnvironmentName,
        standing: &Standing,
    ) -> u32 {
        let size = self.size_of(service, environment, standing);
        self.sizes.insert((service.clone(), environment.clone()), size);
        size
    }

    /// The same, without keeping it.
    pub(super) fn size_of(&self, service: &ServiceName, environment: &EnvironmentName, standing: &Standing) -> u32 {
        let group = (service.clone(), environment.clone());
        if let Some(size) = self.sizes.get(&group) {
            return *size;
        }
        let carriers = self.carriers.get(&group).into_iter().flatten();
        let carriers = carriers.filter_map(|id| self.by_id.get(id).map(|host| (id, host)));
        let members = carriers.filter(|(id, host)| {
            let defined = standing.configuration_of(**id, host).and_then(|it| it.service(service));
            host.state != HostState::Revoked && defined.is_some_and(|defined| host.is_selected_by(defined))
        });
        u32::try_from(members.count()).unwrap_or(u32::MAX)
    }

    /// Another configuration may select other hosts.
    pub(super) fn count_groups_anew(&mut self) {
        self.sizes.clear();
    }

    pub(super) fn token(&mut self, created: &TokenCreated, at: &mut At<'_>) {
        let token = Token {
            environment: created.environment.clone(),
            host: created.host.clone(),
            expires_at: created.expires_at,
            used: Use::Unused,
        };
        if self.tokens.insert(created.token, token).is_some() {
            at.flag(Rule::Enrolment, format!("the token {} was created twice", created.token));
        }
    }

    pub(super) fn enrol(&mut self, enrolled: &HostEnrolled, now: UnixMillis, at: &mut At<'_>) {
        let host = enrolled.host;
        self.use_token(enrolled.token, &enrolled.name, &enrolled.environment, now, at);
        let record_key = match enrolled.record_key.parse::<PublicKey>() {
            Ok(key) => key,
            Err(error) => return at.flag(Rule::Enrolment, format!("the record key of {host}: {error}")),
        };
        if !self.keys.insert(record_key.key_id()) {
            at.flag(Rule::Enrolment, format!("the record key of {host} is another host's"));
        }
        if self.by_id.contains_key(&host) {
            // The first key stands: a second enrolment must not take over the host's chain.
            return at.flag(Rule::Enrolment, format!("{host} was enrolled before"));
        }
        self.by_id.insert(
            host,
            Host {
                name: enrolled.name.clone(),
                environment: enrolled.environment.clone(),
                record_key,
                state: HostState::Active,
                description: None,
                chain: None,
                transitions: BTreeMap::new(),
                fence: None,
                in_flight: 0,
            },
        );
    }

    /// A certificate that used a token up: a host that is enrolled came back.
    pub(super) fn certify(&mut self, issued: &CertificateIssued, now: UnixMillis, at: &mut At<'_>) {
        let Some(token) = issued.token else { return };
        let known = match &issued.subject.principal {
            Principal::Agent(host) => self.by_id.get(host),
            Principal::ControlPlane(_) | Principal::Person(_) => None,
        };
        let Some(known) = known else {
            let subject = &issued.subject;
            return at.flag(Rule::Enrolment, format!("{subject} used a token and was not enrolled before"));
        };
        if known.state == HostState::Revoked {
            at.flag(Rule::Enrolment, format!("{} got a certificate and was revoked before", issued.subject));
        }
        let (name, environment) = (known.name.clone(), known.environment.clone());
        self.use_token(token, &name, &environment, now, at);
    }

    fn use_token(
        &mut self,
        id: TokenId,
        name: &HostName,
        environment: &EnvironmentName,
        now: UnixMillis,
        at: &mut At<'_>,
    ) {
        let Some(token) = self.tokens.get_mut(&id) else {
            return at.flag(Rule::Enrolment, format!("the token {id} was not created before"));
        };
        if token.used == Use::Used {
            at.flag(Rule::Enrolment, format!("the token {id} was used before"));
        }
        token.used = Use::Used;
        if &token.environment != environment || token.host.as_ref().is_some_and(|expected| expected != name) {
            at.flag(Rule::Enrolment, format!("the token {id} is for another environment or host"));
        }
        if now >= token.expires_at {
            at.flag(Rule::Enrolment, format!("the token {id} had expired"));
        }
    }

    pub(super) fn set_state(&mut self, set: &HostStateSet, at: &mut At<'_>) {
        match self.by_id.get_mut(&set.host) {
            Some(host) => {
                host.state = set.state;
                self.sizes.clear();
            }
            None => at.flag(Rule::HostState, format!("{} was not enrolled before", set.host)),
        }
    }

    /// Holds an agent's record against the one before.
    pub(super) fn link(
        &mut self,
        host: HostId,
        sequence: AgentSequence,
        previous: Option<EnvelopeDigest>,
        envelope: EnvelopeDigest,
        written_at: UnixMillis,
        at: &mut At<'_>,
    ) {
        let Some(known) = self.by_id.get_mut(&host) else { return };
        let (expected, expected_previous) = match &known.chain {
            None => (AgentSequence(1), None),
            Some(link) => (link.sequence.next(), Some(link.envelope)),
        };
        if sequence != expected {
            at.flag(Rule::Chain, format!("sequence {sequence} of the agent of {host}, where {expected} comes next"));
        } else if previous != expected_previous {
            at.flag(Rule::Chain, format!("sequence {sequence} of the agent of {host} does not name the one before"));
        }
        // Go on from the higher one: a repetition must not make all that follows look wrong.
        if known.chain.is_none_or(|link| sequence > link.sequence) {
            known.chain = Some(Link { sequence, envelope, at: written_at, position: at.position });
        }
    }

    pub(super) fn describe(&mut self, host: HostId, description: &HostDescription) {
        let Some(known) = self.by_id.get_mut(&host) else { return };
        let groups = |description: &HostDescription| -> BTreeSet<Group> {
            let services = description.services.iter();
            services.map(|service| (service.name.clone(), known.environment.clone())).collect()
        };
        let before = known.description.as_ref().map(groups).unwrap_or_default();
        let after = groups(description);
        for group in before.difference(&after) {
            if let Some(carriers) = self.carriers.get_mut(group) {
                carriers.remove(&host);
            }
            self.sizes.remove(group);
        }
        for group in after.difference(&before) {
            self.carriers.entry(group.clone()).or_default().insert(host);
            self.sizes.remove(group);
        }
        known.description = Some(description.clone());
    }

    /// Notes a transition. One that does not count up changes nothing: no permit may answer it.
    pub(super) fn transition(&mut self, host: HostId, transition: &Transition) {
        let Some(known) = self.by_id.get_mut(&host) else { return };
        let newest = known.transitions.get(&transition.of).is_none_or(|(epoch, _)| transition.epoch > *epoch);
        if newest {
            known.transitions.insert(transition.of.clone(), (transition.epoch, transition.to));
        }
    }

    pub(super) fn tails(&self) -> Vec<AgentTail> {
        let tail = |(id, host): (&HostId, &Host)| AgentTail {
            host: *id,
            name: host.name.clone(),
            sequence: host.chain.map_or(AgentSequence(0), |link| link.sequence),
            at: host.chain.map(|link| link.at),
            position: host.chain.map(|link| link.position),
        };
        self.by_id.iter().map(tail).collect()
    }
}

impl Host {
    /// The newest transition of a check.
    pub(super) fn newest(&self, check: &CheckRef) -> Option<(TransitionEpoch, Status)> {
        self.transitions.get(check).copied()
    }
}
