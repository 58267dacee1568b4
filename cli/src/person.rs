//! `fettle person`: people who may use this control plane, each with a profile of their own.
//!
//! The keys are made here and stay here: only a certificate request and a proof travel.

use crate::answer::Answer;
use crate::connection::{Connection, unexpected};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::file;
use crate::profile::Profile;
use crate::seed_file::Seed;
use crate::terminal::Format;
use crate::when::instant_with_distance;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand, ValueEnum};
use fettle_audit::key::SigningKey;
use fettle_audit::person_key;
use fettle_certs::csr::certificate_request;
use fettle_certs::identity::Identity;
use fettle_certs::key::PrivateKey;
use fettle_certs::root::Root;
use fettle_model::identity::{HeldRole, Principal, Role};
use fettle_model::login::OidcSubject;
use fettle_model::name::{PersonName, TeamName};
use fettle_model::person_key::SigningKeyProof;
use fettle_model::time::UnixMillis;
use fettle_proto::operator::{Command, CommandReply};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What to do with people.
#[derive(Debug, Subcommand)]
pub(crate) enum PersonCommand {
    /// Give a person a role, and a profile (keys and certificate in a new folder that you hand over) or an OpenID
    /// identity, with which they log in themselves.
    ///
    /// For somebody who has a profile, the new one's signing key takes the place of the old one's.
    Add(Add),
    /// Renew your own certificate while it is good: a new key, the same roles, in the profile that you use.
    Renew,
    /// Make and register the key that you sign with, where your profile has none.
    ///
    /// It stays beside the certificate's key in the profile. Once registered it is replaced only when an administrator
    /// adds you anew.
    Key,
    /// Withdraw a person: no role and no certificate of theirs is good from then on, on open connections neither.
    Revoke {
        /// The person's name.
        person: PersonName,
        /// Why; one line that goes into the log.
        #[arg(long, visible_alias = "why", value_name = "TEXT")]
        reason: String,
    },
    /// Take one role away from a person, in one scope: from their next call on, and from what they approved and was not
    /// used yet. Their other roles, profile and key stay.
    RevokeRole {
        /// The person's name.
        person: PersonName,
        /// The role.
        #[arg(value_enum)]
        role: RoleName,
        /// The team for whose services they have it; without: the role for the whole installation.
        #[arg(long, value_name = "TEAM")]
        team: Option<TeamName>,
        /// Why; one line that goes into the log.
        #[arg(long, visible_alias = "why", value_name = "TEXT")]
        reason: String,
    },
    /// Give a person who has a profile one more role.
    Grant {
        /// The person's name.
        person: PersonName,
        #[command(flatten)]
        held: Held,
    },
}

/// A person to add.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The person's name, as it will stand in the log.
    person: PersonName,
    #[command(flatten)]
    held: Held,
    /// The new profile's folder; it must not exist yet.
    #[arg(long, value_name = "DIR", required_unless_present = "oidc_subject", conflicts_with = "oidc_subject")]
    out: Option<PathBuf>,
    /// What the OpenID provider of the control plane calls them (the claim `sub`): they log in themselves, with
    /// `fettle login`, and no key is made here.
    #[arg(long, value_name = "SUB")]
    oidc_subject: Option<OidcSubject>,
}

/// A role as it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    /// Reads the state.
    Viewer,
    /// Reads the state and publishes playbooks.
    Author,
    /// Enrols hosts, applies configuration, starts drills and runs, stops and resumes; reads everything.
    Operator,
    /// Says yes or no to what a remediation would do; reads everything.
    Approver,
    /// Stops automation in every scope; reads everything.
    IncidentCommander,
    /// Reads everything, exports the log, and changes nothing.
    Auditor,
    /// Gives and ends people's roles and trusts publishers; reads everything.
    Administrator,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Self::Viewer,
            RoleName::Author => Self::Author,
            RoleName::Operator => Self::Operator,
            RoleName::Approver => Self::Approver,
            RoleName::IncidentCommander => Self::IncidentCommander,
            RoleName::Auditor => Self::Auditor,
            RoleName::Administrator => Self::Administrator,
        }
    }
}

/// A role, and where it holds.
#[derive(Debug, Args)]
pub(crate) struct Held {
    /// The role.
    #[arg(long, value_enum)]
    role: RoleName,
    /// Only for the services of this team: operator, approver, incident-commander. They read nothing but with a
    /// role for the whole installation, such as viewer.
    #[arg(long, value_name = "TEAM")]
    team: Option<TeamName>,
}

impl From<Held> for HeldRole {
    fn from(held: Held) -> Self {
        Self { role: held.role.into(), team: held.team }
    }
}

#[derive(Serialize)]
struct Added<'a> {
    person: &'a PersonName,
    role: Role,
    team: Option<&'a TeamName>,
    profile: &'a Path,
    valid_until: UnixMillis,
}

/// Carries the command out.
///
/// # Errors
/// As the control plane and the connection say, and when the profile cannot be written.
pub(crate) async fn run(command: PersonCommand, context: &Context) -> Result<Answer, Failure> {
    match command {
        PersonCommand::Add(command) => add(command, context).await,
        PersonCommand::Renew => renew(context).await,
        PersonCommand::Key => key(context).await,
        PersonCommand::Revoke { person, reason } => {
            let text = format!("{person} is revoked: no role and no certificate of theirs is good any more");
            context.connect().await?.carry_out(&Command::RevokePerson { person, why: reason }, &text).await
        }
        PersonCommand::RevokeRole { person, role, team, reason } => {
            let held = HeldRole { role: role.into(), team };
            let text = format!("{person} is not {held} any more");
            let HeldRole { role, team } = held;
            let command = Command::RevokeRole { person, role, team, why: reason };
            context.connect().await?.carry_out(&command, &text).await
        }
        PersonCommand::Grant { person, held } => {
            let held = HeldRole::from(held);
            let text = format!("{person} is {held} from now on");
            let HeldRole { role, team } = held;
            context.connect().await?.carry_out(&Command::GrantRole { person, role, team }, &text).await
        }
    }
}

async fn add(add: Add, context: &Context) -> Result<Answer, Failure> {
    let Add { person, held, out, oidc_subject } = add;
    let held = HeldRole::from(held);
    let HeldRole { role, team } = held.clone();
    let out = match (out, oidc_subject) {
        (_, Some(subject)) => {
            let text = format!("{person} is {held}, and logs in as {subject}: fettle login");
            let command = Command::RegisterPerson { person, role, team, subject };
            return context.connect().await?.carry_out(&command, &text).await;
        }
        (Some(out), None) => out,
        (None, None) => {
            let message = "neither a folder for a profile nor a subject is given";
            return Err(Failure::new(Exit::Usage, message, "give --out DIR or --oidc-subject SUB"));
        }
    };
    file::must_be_new(&out)?;
    let profile = context.load_profile()?;
    let signing = Seed::fresh()?;
    let signing_key = proof(&profile, &person, &signing.key());
    let command = |csr| Command::AddPerson { person: person.clone(), role, team: team.clone(), csr, signing_key };
    let identity = certified(&profile, context.format, &person, command).await?;
    Profile::create_signing(&out, &profile.address, &identity, &signing)?;
    let valid_until = identity.holder().validity.not_after;
    let text = format!(
        "{person} is {held}; the profile in {} holds the keys and is good until {}\n\
         hand the folder over on a safe way, and remove it here; it is used as: fettle --profile {} …\n",
        out.display(),
        instant_with_distance(valid_until, context.now),
        out.display()
    );
    Answer::new(&Added { person: &person, role, team: team.as_ref(), profile: &out, valid_until }, text)
}

#[derive(Serialize)]
struct Renewed<'a> {
    person: &'a PersonName,
    profile: &'a Path,
    valid_until: UnixMillis,
}

async fn renew(context: &Context) -> Result<Answer, Failure> {
    let profile = context.load_profile()?;
    let person = holder(&profile)?;
    let identity = certified(&profile, context.format, person, |csr| Command::RenewCertificate { csr }).await?;
    profile.replace_identity(&identity)?;
    let valid_until = identity.holder().validity.not_after;
    let text = format!(
        "the certificate of {person} in {} is good until {}\n",
        profile.folder.display(),
        instant_with_distance(valid_until, context.now)
    );
    Answer::new(&Renewed { person, profile: &profile.folder, valid_until }, text)
}

/// Whose profile it is.
fn holder(profile: &Profile) -> Result<&PersonName, Failure> {
    match &profile.identity.holder().id.principal {
        Principal::Person(person) => Ok(person),
        Principal::Agent(_) | Principal::ControlPlane(_) => {
            let message =
                format!("the profile in {} is of {}, not of a person", profile.folder.display(), profile.holder());
            Err(Failure::new(Exit::Invalid, message, "name a person's profile with --profile DIR"))
        }
    }
}

fn proof(profile: &Profile, person: &PersonName, key: &SigningKey) -> SigningKeyProof {
    person_key::prove(key, profile.identity.root().trust_domain(), person)
}

async fn key(context: &Context) -> Result<Answer, Failure> {
    let profile = context.load_profile()?;
    let person = holder(&profile)?;
    let mut connection = Connection::open(&profile, context.format).await?;
    let (path, found) = (profile.signing_key_file(), profile.signing_key()?);
    let fresh = found.is_none();
    let key = match found {
        Some(key) => key,
        None => {
            let seed = Seed::fresh()?;
            seed.write(&path)?;
            seed.key()
        }
    };
    let command = Command::SetSigningKey { signing_key: proof(&profile, person, &key) };
    let text = format!("{person} signs with the key in {} from now on", path.display());
    let registered = connection.carry_out(&command, &text).await;
    if fresh && registered.as_ref().is_err_and(|failure| is_definite(failure.exit)) {
        // Nobody will ever believe it; left there, it would look like a key that stands.
        std::fs::remove_file(&path).map_err(|error| file::unreadable(&path, &error))?;
    }
    registered
}

/// Whether a failure says that nothing was done.
const fn is_definite(exit: Exit) -> bool {
    match exit {
        Exit::Denied | Exit::Refused | Exit::Conflict | Exit::Invalid | Exit::NotFound => true,
        Exit::Ok | Exit::Wrong | Exit::Gaps | Exit::Usage | Exit::Unavailable | Exit::Internal => false,
    }
}

/// Makes a key, and has a person's certificate for it issued.
async fn certified(
    profile: &Profile,
    format: Format,
    person: &PersonName,
    command: impl FnOnce(String) -> Command,
) -> Result<Identity, Failure> {
    let key = PrivateKey::generate().map_err(|error| Failure::caused(Exit::Internal, &error, "try again"))?;
    let csr = certificate_request(&key).map_err(|error| Failure::caused(Exit::Internal, &error, "try again"))?;
    let mut connection = Connection::open(profile, format).await?;
    let CommandReply::Person { chain, root } = connection.execute(&command(STANDARD.encode(csr))).await? else {
        return unexpected("a certificate");
    };
    identity(&chain, &root, key, profile.identity.root(), person)
}

/// What the control plane answered, as an identity: under the same root as ours, and for this person.
fn identity(chain: &str, root: &str, key: PrivateKey, ours: &Root, person: &PersonName) -> Result<Identity, Failure> {
    let unusable = |error: &(dyn std::error::Error + 'static)| {
        let failure = Failure::caused(Exit::Internal, error, "report it; nothing was written");
        Failure { message: format!("the control plane's answer is no identity: {}", failure.message), ..failure }
    };
    let root = Root::pinned_from_pem(root.as_bytes(), ours.pin()).map_err(|error| unusable(&error))?;
    let identity = Identity::from_pem(chain.as_bytes(), key, root).map_err(|error| unusable(&error))?;
    match &identity.holder().id.principal {
        Principal::Person(name) if name == person => Ok(identity),
        Principal::Person(_) | Principal::Agent(_) | Principal::ControlPlane(_) => {
            Err(Failure::internal(format!("the certificate is for {}, not for {person}", identity.holder().id)))
        }
    }
}
