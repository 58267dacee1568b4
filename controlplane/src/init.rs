//! Making a new control plane, and profiles for people at its own console.
//!
//! `init` makes everything that `run` needs and writes the configuration last: a directory with a
//! configuration is whole. It never overwrites. `profile` is how people get in when no certificate of
//! theirs is valid any more; whoever can run it holds the authority's key anyway.

use crate::authority::{Authority as Policies, InvalidPolicies};
use crate::config::{Advertise, Config, Listen};
use crate::console::{self, ConsoleError};
use crate::core::{Command, Initialise, NewCertificate};
use crate::leader::{self, Clocks, Gone, LeaderError, Opened, StartError};
use crate::mint::{self, NoRandomness};
use crate::state_dir::{StateDir, StateError};
use fettle_audit::note::SignatureKind;
use fettle_certs::authority::{Authority, AuthorityProblem, IssueProblem, Life, Subject, Template};
use fettle_certs::csr::{CsrRefused, ProvenKey, certificate_request};
use fettle_certs::identity::{Identity, InvalidIdentity};
use fettle_certs::key::{KeyProblem, PrivateKey};
use fettle_certs::peer::PeerIdentity;
use fettle_certs::store::{IdentityStore, StoreProblem, load_authority, save_authority, write_private};
use fettle_model::digest::CaPin;
use fettle_model::identity::{InvalidSpiffeId, TrustDomain};
use fettle_model::name::PersonName;
use fettle_model::record::LogOpened;
use fettle_model::time::UnixMillis;
use std::path::{Path, PathBuf};

/// The name of the control plane's process in its identity.
const PROCESS_NAME: &str = "control-plane";

/// What a new control plane is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where.
    pub state: StateDir,
    /// The root of its identities.
    pub trust_domain: TrustDomain,
    /// The first operator.
    pub operator: PersonName,
    /// Where it listens.
    pub listen: Listen,
    /// What others are told.
    pub advertise: Advertise,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// The root's pin, for the hosts' owners.
    pub ca_pin: CaPin,
    /// The log's verifier key, for auditors.
    pub log_key: String,
    /// The permit key's public half, for auditors.
    pub permit_key: String,
    /// The operator's certificate.
    pub operator: PeerIdentity,
}

/// Why a control plane, or a profile, was not made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is something already.
    #[error("{} is not empty, and nothing is overwritten; name another directory, or remove it", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// The directory.
    #[error("the state directory cannot be used")]
    State(#[source] StateError),
    /// A file of an identity or a profile.
    #[error("an identity cannot be written or read")]
    Store(#[source] StoreProblem),
    /// No random bytes.
    #[error("no secret could be drawn")]
    Random(#[source] NoRandomness),
    /// The authority.
    #[error("the authority could not be made")]
    Authority(#[source] AuthorityProblem),
    /// A key.
    #[error("a key could not be made")]
    Key(#[source] KeyProblem),
    /// Our own certificate request.
    #[error("a certificate request could not be made")]
    Csr(#[source] CsrRefused),
    /// A certificate.
    #[error("a certificate could not be issued")]
    Issue(#[source] IssueProblem),
    /// What was issued makes no identity.
    #[error("what was issued makes no identity")]
    Identity(#[source] InvalidIdentity),
    /// The policies.
    #[error("the policies cannot be used")]
    Policies(#[source] InvalidPolicies),
    /// The log.
    #[error("the log could not be opened")]
    Log(#[source] StartError),
    /// The leader ended.
    #[error("the first records could not be written")]
    Gone(#[source] Gone),
    /// The leader failed.
    #[error("the first records could not be written")]
    Leader(#[source] LeaderError),
    /// The configuration could not be written as TOML.
    #[error("the configuration could not be written")]
    Config(#[source] toml::ser::Error),
    /// A name of ours is none.
    #[error("the process's name is none")]
    Name(#[source] InvalidSpiffeId),
    /// The certificate could not be noted for the log.
    #[error("the certificate could not be noted for the log")]
    Console(#[source] ConsoleError),
    /// The person has no role, so a profile would be worth nothing.
    #[error("{person} has no role here; people with roles: {known}")]
    NoRole {
        /// Who.
        person: PersonName,
        /// Who has.
        known: String,
    },
}

/// Makes a control plane.
///
/// # Errors
/// [`InitError`]; what was made until then stays, without a configuration.
pub async fn init(plan: &Plan, clocks: &Clocks) -> Result<Made, InitError> {
    let Plan { state, trust_domain, operator, listen, advertise } = plan;
    refuse_to_overwrite(state.root())?;
    state.make().map_err(InitError::State)?;
    let now = clocks.now().wall;
    let authority = Authority::create(trust_domain, now, mint::serial().map_err(InitError::Random)?)
        .map_err(InitError::Authority)?;
    save_authority(&state.authority(), &authority).map_err(InitError::Store)?;
    let (log_seed, permit_seed) =
        (mint::secret().map_err(InitError::Random)?, mint::secret().map_err(InitError::Random)?);
    state.save_keys(&log_seed, &permit_seed).map_err(InitError::State)?;
    own_identity(&authority, &state.identity(), now)?;
    let address = advertise.operators.as_ref().map_or_else(|| listen.operators.to_string(), ToString::to_string);
    let holder = profile(&authority, operator, &address, &state.operator(), now)?;
    let (log_key, permit_key) = open_log(state, trust_domain, operator, clocks).await?;
    let (trust_domain, listen, advertise) = (trust_domain.clone(), listen.clone(), advertise.clone());
    let config = Config { trust_domain, listen, advertise, oidc: None };
    let text = config.to_toml().map_err(InitError::Config)?;
    write_private(&state.config(), text.as_bytes()).map_err(InitError::Store)?;
    Ok(Made { ca_pin: authority.ca_pin(), log_key, permit_key, operator: holder })
}

fn refuse_to_overwrite(root: &Path) -> Result<(), InitError> {
    match std::fs::read_dir(root) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(InitError::Exists { path: root.to_owned() }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(InitError::State(StateError::Io { doing: "read", path: root.to_owned(), source })),
    }
}

/// Makes and installs the control plane's own identity: the first, or the next.
///
/// # Errors
/// When it cannot be issued or kept.
pub fn own_identity(authority: &Authority, store: &IdentityStore, now: UnixMillis) -> Result<Identity, InitError> {
    let name = PROCESS_NAME.parse().map_err(InvalidSpiffeId::Name).map_err(InitError::Name)?;
    let identity = issue(authority, Subject::ControlPlane { name, server_names: Vec::new() }, now)?;
    store.install(&identity).map_err(InitError::Store)?;
    Ok(identity)
}

fn issue(authority: &Authority, subject: Subject, now: UnixMillis) -> Result<Identity, InitError> {
    let key = PrivateKey::generate().map_err(InitError::Key)?;
    let csr = certificate_request(&key).map_err(InitError::Key)?;
    let proven = ProvenKey::from_csr(&csr).map_err(InitError::Csr)?;
    let serial = mint::serial().map_err(InitError::Random)?;
    let template = Template { subject, life: Life::DAY };
    let issued = authority.issue(&proven, &template, now, serial).map_err(InitError::Issue)?;
    Identity::new(vec![issued.der], key, authority.root().clone()).map_err(InitError::Identity)
}

/// Writes a person's profile: an identity for a day, and where to speak.
fn profile(
    authority: &Authority,
    person: &PersonName,
    address: &str,
    folder: &Path,
    now: UnixMillis,
) -> Result<PeerIdentity, InitError> {
    let identity = issue(authority, Subject::Person(person.clone()), now)?;
    IdentityStore::at(folder).install(&identity).map_err(InitError::Store)?;
    write_profile(folder, address)?;
    Ok(identity.holder().clone())
}

/// Writes where a profile's holder speaks to the control plane.
///
/// # Errors
/// When the file cannot be written.
pub fn write_profile(folder: &Path, address: &str) -> Result<(), InitError> {
    let text = format!("# Where the control plane's operators' API is.\naddress = {address:?}\n");
    write_private(&folder.join(PROFILE), text.as_bytes()).map_err(InitError::Store)
}

/// The profile's file.
const PROFILE: &str = "profile.toml";

async fn open_log(
    state: &StateDir,
    trust_domain: &TrustDomain,
    operator: &PersonName,
    clocks: &Clocks,
) -> Result<(String, String), InitError> {
    let signer = state.log_signer(trust_domain).map_err(InitError::State)?;
    let permit_key = state.permit_key().map_err(InitError::State)?;
    let opened = LogOpened {
        origin: signer.name().to_string(),
        trust_domain: trust_domain.clone(),
        permit_key: permit_key.public().to_string(),
        log_key: signer.verifier(SignatureKind::Ed25519).to_string(),
    };
    let keys = (opened.log_key.clone(), opened.permit_key.clone());
    let policies = Policies::new().map_err(InitError::Policies)?;
    let Opened { leader, thread } =
        leader::open(&state.log(), signer, permit_key, policies, clocks.clone()).map_err(InitError::Log)?;
    let initialise = Command::Initialise(Initialise { opened, operator: operator.clone() });
    let done = leader.command(initialise).await;
    drop(leader);
    match thread.join() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(InitError::Leader(error)),
        Err(_panic) => return Err(InitError::Gone(Gone)),
    }
    done.map_err(InitError::Gone)?;
    Ok(keys)
}

/// Writes a fresh profile for a person who has a role, beside a control plane that may be running, and notes
/// the certificate for the log.
///
/// # Errors
/// When the person has no role, or something cannot be read or written.
pub fn fresh_profile(
    state: &StateDir,
    person: &PersonName,
    out: &Path,
    clocks: &Clocks,
) -> Result<PeerIdentity, InitError> {
    let known = leader::read_state(&state.log()).map_err(InitError::Log)?;
    if known.roles(person).is_empty() {
        let known: Vec<&str> = known.people().map(PersonName::as_str).collect();
        return Err(InitError::NoRole { person: person.clone(), known: known.join(", ") });
    }
    let authority = load_authority(&state.authority()).map_err(InitError::Store)?;
    let address = crate::server::operators_address(state);
    let holder = profile(&authority, person, &address, out, clocks.now().wall)?;
    let (serial, not_after) = (holder.serial.to_string(), holder.validity.not_after);
    let certificate = NewCertificate { serial, not_after };
    console::note(state, &console::Noted { person: person.clone(), certificate }).map_err(InitError::Console)?;
    Ok(holder)
}
