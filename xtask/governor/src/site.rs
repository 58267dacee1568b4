//! A control plane's folder with a fleet in its log, made through the leader itself.

use crate::fleet;
use anyhow::{Context as _, ensure};
use fettle_audit::key::SigningKey;
use fettle_audit::signed_record::SignedRecord;
use fettle_certs::authority::{Authority, Life, Subject, Template};
use fettle_certs::csr::{ProvenKey, certificate_request};
use fettle_certs::identity::Identity;
use fettle_certs::key::PrivateKey;
use fettle_certs::serial::Serial;
use fettle_certs::store::load_authority;
use fettle_controlplane::authority::Authority as Policies;
use fettle_controlplane::config::{Advertise, Listen};
use fettle_controlplane::core::{Command, Enrol, NewCertificate, Outcome, PersonRequest};
use fettle_controlplane::init::{Plan, init};
use fettle_controlplane::leader::{self, Clocks, Leader, Opened};
use fettle_controlplane::state_dir::StateDir;
use fettle_model::counter::{AgentSequence, CertificateGeneration, ConfigurationGeneration};
use fettle_model::digest::EnvelopeDigest;
use fettle_model::id::{HostId, TokenId};
use fettle_model::record::{Author, Body, Record};
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

/// The person who may do everything.
const PERSON: &str = "alice";
const TRUST_DOMAIN: &str = "fettle.bench";
/// Tokens live as long as enrolling the fleet may take.
const TOKEN_LIFE: Duration = Duration::from_mins(10);

/// A control plane that leads and does not serve.
pub(crate) struct Site {
    pub(crate) state: StateDir,
    pub(crate) leader: Leader,
    pub(crate) clocks: Clocks,
    authority: Authority,
    thread: std::thread::JoinHandle<Result<(), leader::LeaderError>>,
}

/// An agent's end: its keys and its chain of records.
pub(crate) struct Agent {
    pub(crate) host: HostId,
    pub(crate) identity: Identity,
    key: SigningKey,
    sequence: AgentSequence,
    previous: Option<EnvelopeDigest>,
}

impl Site {
    /// Makes it in a folder, with a trusted publisher.
    pub(crate) async fn make(folder: &Path) -> anyhow::Result<Self> {
        let any = "127.0.0.1:0".parse().context("an address")?;
        let (state, clocks) = (StateDir::at(folder.to_owned()), Clocks::start());
        let plan = Plan {
            state: state.clone(),
            trust_domain: TRUST_DOMAIN.parse().context("a trust domain")?,
            operator: fleet::name(PERSON)?,
            listen: Listen { agents: any, enrol: any, operators: any },
            advertise: Advertise::default(),
        };
        init(&plan, &clocks).await?;
        let (signer, permit_key) = (state.log_signer(&plan.trust_domain)?, state.permit_key()?);
        let Opened { leader, thread } =
            leader::open(&state.log(), signer, permit_key, Policies::new()?, clocks.clone())?;
        let authority = load_authority(&state.authority())?;
        let site = Self { state, leader, clocks, authority, thread };
        let publisher = fleet::name("bench")?;
        site.person(PersonRequest::TrustPublisher { publisher, key: fleet::PUBLISHER_KEY.to_owned() }).await?;
        Ok(site)
    }

    pub(crate) async fn person(&self, request: PersonRequest) -> anyhow::Result<()> {
        let outcome = self.leader.person(fleet::name(PERSON)?, request).await?.outcome;
        ensure!(outcome == Outcome::Done, "a person was not obeyed: {outcome:?}");
        Ok(())
    }

    /// Admits the playbook and binds it to the services.
    pub(crate) async fn configure(&self, services: u32) -> anyhow::Result<()> {
        let admission = Box::new(fleet::admission()?);
        // Nothing is drilled here, so nobody needs to say anything of its scenarios.
        let key = fleet::PUBLISHER_KEY.to_owned();
        self.person(PersonRequest::AdmitPlaybook { admission, report: None, key }).await?;
        let declared = Box::new(fleet::declared(services)?);
        let replaces = ConfigurationGeneration(0);
        self.person(PersonRequest::SetConfiguration { declared, replaces }).await
    }

    /// Enrols one host.
    pub(crate) async fn enrol(&self, number: u32) -> anyhow::Result<Agent> {
        let host = HostId::from_uuid(Uuid::from_u128(u128::from(number) + 1));
        let token = TokenId::from_uuid(*host.as_uuid());
        let (name, environment) = (fleet::name(&fleet::host_name(number))?, fleet::name(fleet::ENVIRONMENT)?);
        let created = PersonRequest::CreateToken { token, environment, host: None, valid_for: TOKEN_LIFE };
        self.person(created).await?;
        let mut seed = [7; 32];
        seed[..16].copy_from_slice(host.as_uuid().as_bytes());
        let key = SigningKey::from_seed(&seed);
        let tls = PrivateKey::generate()?;
        let proven = ProvenKey::from_csr(&certificate_request(&tls)?)?;
        let template = Template { subject: Subject::Agent(host), life: Life::DAY };
        let serial = Serial::from_random(*host.as_uuid().as_bytes());
        let issued = self.authority.issue(&proven, &template, self.clocks.now().wall, serial)?;
        let certificate =
            NewCertificate { serial: issued.holder.serial.to_string(), not_after: issued.holder.validity.not_after };
        let enrol = Enrol {
            host,
            name,
            environment: fleet::name(fleet::ENVIRONMENT)?,
            record_key: key.public().to_string(),
            token,
            certificate,
            generation: CertificateGeneration(1),
        };
        let outcome = self.leader.command(Command::Enrol(enrol)).await?.outcome;
        ensure!(outcome == Outcome::Done, "a host was not enrolled: {outcome:?}");
        let identity = Identity::new(vec![issued.der], tls, self.authority.root().clone())?;
        Ok(Agent { host, identity, key, sequence: AgentSequence(0), previous: None })
    }

    /// Ends the leader, in order.
    pub(crate) fn close(self) -> anyhow::Result<StateDir> {
        drop(self.leader);
        self.thread.join().map_err(|_panic| anyhow::anyhow!("the leader panicked"))??;
        Ok(self.state)
    }
}

impl Agent {
    /// Its next record, signed and in its chain.
    pub(crate) fn record(&mut self, body: Body, clocks: &Clocks) -> anyhow::Result<SignedRecord> {
        let sequence = self.sequence.next();
        let author = Author::Agent { host: self.host, sequence, previous: self.previous };
        let record = Record { author, at: clocks.now().wall, body };
        let signed = SignedRecord::seal(record, &self.key)?;
        (self.sequence, self.previous) = (sequence, Some(signed.envelope().digest()));
        Ok(signed)
    }
}
