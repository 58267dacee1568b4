//! rustls configurations: TLS 1.3 only, no resumption, no early data, HTTP/2 only.
//!
//! | function | who | peer |
//! |---|---|---|
//! | [`server_config`] | control plane | an agent or a person with a certificate |
//! | [`enrolment_server_config`] | control plane, enrolment port | anybody |
//! | [`client_config`] | agent, CLI | a control plane under the root it holds |
//! | [`pinned_client_config`] | agent that enrols | a control plane under the pinned root |
//!
//! A session is never resumed: a resumed one would restore the client's certificate without looking
//! at it again, and outlive a revocation. Clients do not look at DNS names: the server is the holder
//! of a control plane's identity in the root's trust domain, under whatever name it was reached.
//!
//! A configuration is a snapshot behind an `Arc`. To use a rotated identity, make a new one and take
//! it for the next connection; connections that stand keep theirs. The clock is passed in
//! ([`DefaultTimeProvider`] in production) and asked at each handshake.

use crate::identity::Identity;
use crate::peer::PeerRefused;
use crate::verify::{ClientVerifier, ControlPlaneVerifier};
use fettle_model::digest::CaPin;
use fettle_model::identity::{Principal, SpiffeId};
use fettle_model::time::UnixMillis;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError, WantsServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, ConfigBuilder, ServerConfig};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

pub use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

/// The only application protocol: HTTP/2 (RFC 9113, section 3.2).
pub const ALPN: &[u8] = b"h2";

/// A configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupProblem {
    /// The identity is not of the kind that this configuration is for.
    #[error("{id} cannot be used as {wanted}")]
    Kind {
        /// Whose identity it is.
        id: SpiffeId,
        /// What it would have to be.
        wanted: &'static str,
    },
    /// The verifier of clients was refused.
    #[error("the verifier of clients cannot be made")]
    Verifier(#[source] VerifierBuilderError),
    /// rustls refused the configuration.
    #[error("the TLS configuration was refused")]
    Refused(#[source] rustls::Error),
}

/// For the port of agents and people: both sides show a certificate.
///
/// # Errors
/// [`TlsSetupProblem`], such as that the identity is not a control plane's.
pub fn server_config(identity: &Identity, clock: Arc<dyn TimeProvider>) -> Result<Arc<ServerConfig>, TlsSetupProblem> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = ClientVerifier::new(identity.root(), Arc::clone(&provider)).map_err(TlsSetupProblem::Verifier)?;
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), clock)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsSetupProblem::Refused)?
        .with_client_cert_verifier(Arc::new(verifier));
    finish_server(builder, identity, identity.chain().to_vec(), &provider)
}

/// For the enrolment port: the server shows its certificate and the root, the client shows none.
///
/// # Errors
/// [`TlsSetupProblem`], such as that the identity is not a control plane's.
pub fn enrolment_server_config(
    identity: &Identity,
    clock: Arc<dyn TimeProvider>,
) -> Result<Arc<ServerConfig>, TlsSetupProblem> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), clock)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsSetupProblem::Refused)?
        .with_no_client_auth();
    // The client knows the root's pin only, so it must be shown the root.
    let mut chain = identity.chain().to_vec();
    chain.push(identity.root().der().clone());
    finish_server(builder, identity, chain, &provider)
}

fn finish_server(
    builder: ConfigBuilder<ServerConfig, WantsServerCert>,
    identity: &Identity,
    chain: Vec<CertificateDer<'static>>,
    provider: &CryptoProvider,
) -> Result<Arc<ServerConfig>, TlsSetupProblem> {
    let id = &identity.holder().id;
    match id.principal {
        Principal::ControlPlane(_) => {}
        Principal::Agent(_) | Principal::Person(_) => {
            return Err(TlsSetupProblem::Kind { id: id.clone(), wanted: "a server" });
        }
    }
    let certified =
        CertifiedKey::from_der(chain, identity.key().to_der(), provider).map_err(TlsSetupProblem::Refused)?;
    let mut config = builder.with_cert_resolver(Arc::new(OnlyHttp2(Arc::new(certified))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// Shows the certificate to clients that offer HTTP/2. rustls alone refuses a client that offers
/// other protocols, but not one that offers none.
#[derive(Debug)]
struct OnlyHttp2(Arc<CertifiedKey>);

impl ResolvesServerCert for OnlyHttp2 {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        client_hello.alpn()?.any(|protocol| protocol == ALPN).then(|| Arc::clone(&self.0))
    }
}

/// For agents and people: shows the own certificate, and accepts control planes under the own root.
///
/// # Errors
/// [`TlsSetupProblem`], such as that the identity is a control plane's.
pub fn client_config(identity: &Identity, clock: Arc<dyn TimeProvider>) -> Result<Arc<ClientConfig>, TlsSetupProblem> {
    let id = &identity.holder().id;
    match id.principal {
        Principal::Agent(_) | Principal::Person(_) => {}
        Principal::ControlPlane(_) => return Err(TlsSetupProblem::Kind { id: id.clone(), wanted: "a client" }),
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = ControlPlaneVerifier::with_root(identity.root(), &provider).map_err(TlsSetupProblem::Refused)?;
    let config = ClientConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsSetupProblem::Refused)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(identity.chain().to_vec(), identity.key().to_der())
        .map_err(TlsSetupProblem::Refused)?;
    Ok(finish_client(config))
}

/// For an agent that enrols: shows no certificate, and accepts control planes under the root whose
/// key has this pin.
///
/// # Errors
/// [`TlsSetupProblem::Refused`].
pub fn pinned_client_config(pin: CaPin, clock: Arc<dyn TimeProvider>) -> Result<Arc<ClientConfig>, TlsSetupProblem> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = ControlPlaneVerifier::with_pin(pin, &provider);
    let config = ClientConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsSetupProblem::Refused)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(finish_client(config))
}

fn finish_client(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Arc::new(config)
}

/// Why a handshake failed, where the reason is one that a person can act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeProblem {
    /// The peer's certificate has expired, or the clock here is fast.
    PeerExpired {
        /// When it expired.
        not_after: UnixMillis,
        /// By how much it is late on the clock here.
        late: Duration,
    },
    /// The peer's certificate is not valid yet, or the clock here is slow.
    PeerNotYetValid {
        /// From when it is valid.
        not_before: UnixMillis,
        /// By how much it is early on the clock here.
        early: Duration,
    },
    /// The peer's certificate comes from an authority that is not trusted here.
    PeerUnknownAuthority,
    /// The peer's certificate is valid and its holder is not accepted.
    PeerRefused(PeerRefused),
    /// The peer says that the certificate shown to it has expired.
    OwnExpired,
    /// The peer did not accept the certificate shown to it, for a reason that it does not tell.
    OwnRefused,
}

/// Finds the reason in an error of a connection, along its chain of sources. `None` when the
/// handshake failed for another reason, or not at all.
#[must_use]
pub fn handshake_problem(error: &(dyn StdError + 'static)) -> Option<HandshakeProblem> {
    /// Deepest chain that is followed: tonic, hyper, io and rustls wrap each other in six layers.
    const MAX_DEPTH: usize = 16;
    let mut next = Some(error);
    for _ in 0..MAX_DEPTH {
        let error = next?;
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return classify(tls);
        }
        // An io error's source is that of the error inside, so the one inside is looked at first.
        let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other errors of rustls are faults of the network, or of a peer that is none of ours"
)]
fn classify(error: &rustls::Error) -> Option<HandshakeProblem> {
    use rustls::AlertDescription as Alert;
    match error {
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => {
            let not_after = millis(*not_after);
            Some(HandshakeProblem::PeerExpired { not_after, late: millis(*time).since(not_after) })
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before }) => {
            let not_before = millis(*not_before);
            Some(HandshakeProblem::PeerNotYetValid { not_before, early: not_before.since(millis(*time)) })
        }
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            Some(HandshakeProblem::PeerUnknownAuthority)
        }
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
            other.0.downcast_ref::<PeerRefused>().cloned().map(HandshakeProblem::PeerRefused)
        }
        rustls::Error::AlertReceived(Alert::CertificateExpired) => Some(HandshakeProblem::OwnExpired),
        rustls::Error::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::CertificateRequired,
        ) => Some(HandshakeProblem::OwnRefused),
        _ => None,
    }
}

fn millis(time: UnixTime) -> UnixMillis {
    UnixMillis(time.as_secs().saturating_mul(1_000))
}
