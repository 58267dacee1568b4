//! Login: an ID token of the OpenID provider becomes a short certificate, which everything else already uses.
//!
//! Served on the enrolment port, because whoever calls has no certificate. Verifies the token itself and takes
//! no word of the caller's for anything. Makes no account, gives no role: whom the log does not know stays out.

mod door;
mod fetches;
mod provider;

pub use provider::{LoginProvider, OidcProblem};

use super::execute::{decided_for, proven_key};
use super::parse;
use super::problem::{self, status, unavailable};
use crate::core::{Command, KnownIdentity, OWN_CERTIFICATE, PersonAction, PersonRequest, VerifiedLogin};
use crate::gateway::{Shared, as_new, gone, internal};
use crate::server::Peer;
use door::Door;
use fettle_certs::authority::{Life, Subject};
use fettle_certs::csr::ProvenKey;
use fettle_model::login::OidcIdentity;
use fettle_model::name::PersonName;
use fettle_model::record::ActionRefused;
use fettle_oidc::binding;
use fettle_oidc::token::{self, Proven, TokenRefused};
use fettle_proto::login::{LoginReply, LoginRequest, MAX_DOCUMENT_BYTES};
use fettle_proto::v1::logins_server::{Logins, LoginsServer};
use fettle_proto::v1::{LoginDocument, OfferRequest};
use provider::NoKeys;
use std::net::IpAddr;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Debug)]
pub struct LoginService {
    shared: Shared,
    door: Door,
}

impl LoginService {
    /// The service as tonic takes it.
    #[must_use]
    pub fn server(shared: Shared) -> LoginsServer<Self> {
        LoginsServer::new(Self { shared, door: Door::default() }).max_decoding_message_size(MAX_DOCUMENT_BYTES)
    }

    /// Does something for an address, within the bounds of logins.
    async fn paced<T>(&self, address: IpAddr, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        self.door.paced(self.shared.clocks.now().monotonic, address, work).await
    }
}

#[tonic::async_trait]
impl Logins for LoginService {
    async fn offer(&self, request: Request<OfferRequest>) -> Result<Response<LoginDocument>, Status> {
        let address = Peer::of(&request)?.address.ip();
        let offer = self.paced(address, async {
            let provider = configured(&self.shared)?;
            let fetched = provider.keys(self.shared.clocks.now().monotonic).await.map_err(no_keys)?;
            Ok(provider.offer(&fetched.provider))
        });
        document(&offer.await?)
    }

    async fn log_in(&self, request: Request<LoginDocument>) -> Result<Response<LoginDocument>, Status> {
        let address = Peer::of(&request)?.address.ip();
        let json = request.into_inner().json;
        let reply = self.paced(address, async {
            let LoginRequest { csr, id_token } = parse(&json)?;
            let key = proven_key(&csr)?;
            let proven = verified(&self.shared, &id_token, &key).await?;
            let person = known(&self.shared, &proven.identity).await?;
            let_in(&self.shared, person, &key, proven).await
        });
        document(&reply.await?)
    }
}

fn document<T: serde::Serialize>(reply: &T) -> Result<Response<LoginDocument>, Status> {
    let json = serde_json::to_vec(reply).map_err(internal)?;
    Ok(Response::new(LoginDocument { json }))
}

fn configured(shared: &Shared) -> Result<&LoginProvider, Status> {
    shared.provider.as_deref().ok_or_else(problem::no_provider)
}

/// What a token proves, with keys that are looked for anew when none of those at hand signed it.
async fn verified(shared: &Shared, id_token: &str, key: &ProvenKey) -> Result<Proven, Status> {
    let provider = configured(shared)?;
    let now = shared.clocks.now();
    let nonce = binding::nonce(&key.public_key_info());
    let fetched = provider.keys(now.monotonic).await.map_err(no_keys)?;
    let proven = token::verify(id_token, &fetched.provider.keys, provider.expected(), &nonce, now.wall);
    let proven = match proven {
        Err(TokenRefused::UnknownKey) => {
            let newer = provider.newer_keys(&fetched, now.monotonic).await.map_err(no_keys)?;
            token::verify(id_token, &newer.provider.keys, provider.expected(), &nonce, now.wall)
        }
        other @ (Ok(_) | Err(_)) => other,
    };
    proven.map_err(|refused| status(problem::token_refused(&refused)))
}

/// Who that is here.
async fn known(shared: &Shared, identity: &OidcIdentity) -> Result<PersonName, Status> {
    let wanted = identity.clone();
    let found = shared.leader.inspect(move |view| view.core.state().identity(&wanted).cloned()).await.map_err(gone)?;
    match found {
        Some(KnownIdentity::Good(person)) => Ok(person),
        Some(KnownIdentity::Withdrawn(person)) => {
            let refused = ActionRefused {
                by: person,
                action: PersonAction::LogIn.as_str().to_owned(),
                resource: OWN_CERTIFICATE.to_owned(),
                policies: vec!["the identity was withdrawn".to_owned()],
            };
            shared.leader.command(Command::Refuse(refused)).await.map_err(gone)?;
            Err(status(problem::unknown_identity(identity)))
        }
        None => Err(status(problem::unknown_identity(identity))),
    }
}

async fn let_in(shared: &Shared, person: PersonName, key: &ProvenKey, proven: Proven) -> Result<LoginReply, Status> {
    let Proven { identity, token, issued_at, authenticated_at, context } = proven;
    let login = Box::new(VerifiedLogin { identity, token, issued_at, authenticated_at, context });
    let subject = Subject::Person(person.clone());
    let issued = shared.certify_for(key, subject, Life::WORKING_DAY).map_err(internal)?;
    let request = PersonRequest::LogIn { login, certificate: as_new(&issued) };
    decided_for(shared, person.clone(), request).await?;
    tracing::info!(%person, serial = %issued.holder.serial, "a person logged in");
    Ok(LoginReply {
        chain: issued.chain_pem(),
        root: shared.authority.root().to_pem(),
        operators_address: shared.addresses.operators.clone(),
    })
}

fn no_keys(error: NoKeys) -> Status {
    let remedy = match &error {
        NoKeys::Provider(_) => {
            "see that the provider runs, that the control plane reaches it, and [oidc] in controlplane.toml; until then \
             a certificate from `fettle-controlplane operator` lets people in"
        }
        NoKeys::TooOften => "log in again in a minute",
    };
    let message = format!("{:#}", anyhow::Error::from(error));
    unavailable(message, remedy)
}
