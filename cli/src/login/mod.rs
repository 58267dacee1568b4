//! `fettle login`: the OpenID provider says who somebody is, the control plane gives them a certificate.
//!
//! A new key is made for each login and stays here; the provider's token is bound to it. No browser is opened:
//! the address is printed. Verifies nothing of the token: the control plane does.

mod landing;

use crate::answer::Answer;
use crate::connection::Door;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::profile::{self, Profile};
use crate::terminal::{self, Format};
use crate::when::instant_with_distance;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use fettle_certs::csr::{ProvenKey, certificate_request};
use fettle_certs::identity::Identity;
use fettle_certs::key::PrivateKey;
use fettle_certs::root::Root;
use fettle_model::digest::CaPin;
use fettle_model::identity::Principal;
use fettle_model::name::PersonName;
use fettle_model::time::UnixMillis;
use fettle_oidc::ask::{Asked, Asking};
use fettle_oidc::binding;
use fettle_oidc::https::Https;
use fettle_proto::login::{LoginReply, LoginRequest, Offer};
use landing::{LOGIN_WITHIN, Landing};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where to log in. Both are remembered in the profile.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Where the control plane lets in who has no certificate yet: its enrolment port.
    #[arg(long, value_name = "HOST:PORT")]
    control_plane: Option<String>,
    /// The pin of the control plane's root, as `fettle-controlplane init` and `fettle token create` print it.
    #[arg(long, value_name = "PIN")]
    ca_pin: Option<CaPin>,
}

/// The control plane and the profile's folder.
struct Goal {
    folder: PathBuf,
    address: String,
    pin: CaPin,
    /// Who the profile is of, where there is one.
    holder: Option<PersonName>,
}

#[derive(Serialize)]
struct LoggedIn<'a> {
    person: &'a PersonName,
    profile: &'a Path,
    valid_until: UnixMillis,
}

/// Carries the command out.
///
/// # Errors
/// As the control plane and the provider say, and when the profile cannot be written.
pub(crate) async fn run(login: Login, context: &Context) -> Result<Answer, Failure> {
    let goal = goal(login, context)?;
    let key = PrivateKey::generate().map_err(ours)?;
    let csr = certificate_request(&key).map_err(ours)?;
    let proven = ProvenKey::from_csr(&csr).map_err(ours)?;
    let mut door = Door::open(&goal.address, goal.pin).await?;
    let id_token = token(door.offer().await?, &proven, context).await?;
    let request = LoginRequest { csr: STANDARD.encode(csr), id_token };
    // Anew: the first connection may not outlast the time that a person takes.
    let reply = Door::open(&goal.address, goal.pin).await?.log_in(&request).await?;
    let (person, identity) = identity(&reply, key, goal.pin)?;
    if let Some(holder) = goal.holder.filter(|holder| *holder != person) {
        let message = format!("the profile in {} is of {holder}, and you logged in as {person}", goal.folder.display());
        return Err(Failure::new(Exit::Refused, message, "name another folder: fettle --profile DIR login"));
    }
    Profile::log_in(&goal.folder, &reply.operators_address, &goal.address, &identity)?;
    let valid_until = identity.holder().validity.not_after;
    let text = format!(
        "you are {person}; the profile in {} is good until {}\n",
        goal.folder.display(),
        instant_with_distance(valid_until, context.now)
    );
    Answer::new(&LoggedIn { person: &person, profile: &goal.folder, valid_until }, text)
}

fn ours(error: impl std::error::Error + 'static) -> Failure {
    Failure::caused(Exit::Internal, &error, "try again")
}

fn goal(login: Login, context: &Context) -> Result<Goal, Failure> {
    let Some(folder) = context.profile.clone() else {
        let message = "there is no home folder in which a profile could be";
        return Err(Failure::new(Exit::Usage, message, "name one with --profile DIR or FETTLE_PROFILE"));
    };
    let known = if profile::exists(&folder) { Some(Profile::load(&folder)?) } else { None };
    let missing = |what: &str| {
        let message = format!("{what} is not known: there is no profile of a login in {}", folder.display());
        Failure::new(Exit::Usage, message, "give --control-plane HOST:PORT and --ca-pin PIN, as an administrator tells")
    };
    let address = login.control_plane.or_else(|| known.as_ref()?.login.clone());
    let address = address.ok_or_else(|| missing("the control plane's address"))?;
    let own = known.as_ref().map(|known| known.identity.root().pin());
    let pin = login.ca_pin.or(own).ok_or_else(|| missing("the pin of the control plane's root"))?;
    if own.is_some_and(|own| own != pin) {
        let message = format!("the profile in {} is of another control plane", folder.display());
        return Err(Failure::new(Exit::Conflict, message, "name another folder: fettle --profile DIR login"));
    }
    let holder = match known.as_ref().map(|known| &known.identity.holder().id.principal) {
        Some(Principal::Person(person)) => Some(person.clone()),
        Some(Principal::Agent(_) | Principal::ControlPlane(_)) | None => None,
    };
    Ok(Goal { folder, address, pin, holder })
}

/// Has the provider say who sits here, in a token that is bound to the key.
async fn token(offer: Offer, key: &ProvenKey, context: &Context) -> Result<String, Failure> {
    let https = Https::trusting(offer.provider_roots.as_ref().map(String::as_bytes)).map_err(|error| {
        Failure::caused(
            Exit::Invalid,
            &error,
            "name the provider's certificate authority as `ca` in [oidc] of the \
                                                control plane's controlplane.toml",
        )
    })?;
    let asking = Asking {
        issuer: offer.issuer.to_string(),
        client_id: offer.client_id,
        authorization_endpoint: offer.authorization_endpoint,
        token_endpoint: offer.token_endpoint,
        contexts: offer.contexts,
        max_authentication_age: offer.max_authentication_age_ms.map(Duration::from_millis),
    };
    let landing = Landing::open().await?;
    let asked = asking
        .ask(&landing.redirect(), binding::nonce(&key.public_key_info()))
        .map_err(|error| Failure::caused(Exit::Invalid, &error, "see how the provider describes itself"))?;
    tell(&asked, context.format);
    let code = landing.wait(&asked.awaited).await?;
    asking.exchange(asked, code, &https).await.map_err(|error| {
        let remedy = "log in again; see that this machine reaches the provider, and that it knows Fettle as a public \
                      client with PKCE";
        Failure::caused(Exit::Unavailable, &error, remedy)
    })
}

fn tell(asked: &Asked, format: Format) {
    let address = &asked.address;
    match format {
        Format::People => terminal::note(&format!(
            "open this address in a browser on this machine, within {}:\n\n  {address}\n",
            crate::when::span(LOGIN_WITHIN)
        )),
        Format::Programs => terminal::note(&serde_json::json!({ "open": address }).to_string()),
    }
}

/// What the control plane answered, as an identity under the pinned root, and whose it is.
fn identity(reply: &LoginReply, key: PrivateKey, pin: CaPin) -> Result<(PersonName, Identity), Failure> {
    let unusable = |error: &(dyn std::error::Error + 'static)| {
        Failure::caused(Exit::Internal, error, "report it; nothing was written")
    };
    let root = Root::pinned_from_pem(reply.root.as_bytes(), pin).map_err(|error| unusable(&error))?;
    let identity = Identity::from_pem(reply.chain.as_bytes(), key, root).map_err(|error| unusable(&error))?;
    match &identity.holder().id.principal {
        Principal::Person(person) => Ok((person.clone(), identity)),
        Principal::Agent(_) | Principal::ControlPlane(_) => {
            Err(Failure::internal(format!("the certificate is for {}, not for a person", identity.holder().id)))
        }
    }
}
