//! One connection to the control plane: TCP, TLS 1.3, HTTP/2.
//!
//! A new rustls configuration for each connection, so that a rotated identity is used at once. The
//! server is known by its SPIFFE id, not by the name under which it was reached.

use fettle_certs::enrol::SessionBinding;
use fettle_certs::identity::Identity;
use fettle_certs::peer::{PeerRefused, peer_identity};
use fettle_certs::tls::{
    DefaultTimeProvider, HandshakeProblem, TlsSetupProblem, client_config, handshake_problem, pinned_client_config,
};
use fettle_model::digest::CaPin;
use fettle_model::identity::TrustDomain;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

/// TCP and TLS together: a satellite link answers in two seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/2 pings while nothing else is said; the peer must answer within the second number.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{address} cannot be reached")]
    Tcp {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{address} did not answer within {CONNECT_TIMEOUT:?}")]
    Timeout { address: String },
    #[error("the TLS session with {address} was refused")]
    Tls {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{address} is not the control plane of agent.toml")]
    Peer {
        address: String,
        #[source]
        source: PeerRefused,
    },
    #[error(
        "{address} is not the control plane of agent.toml: the server did not show a root certificate with the pinned \
         key; compare ca-pin and enrol-address with what `fettle token create` prints"
    )]
    Pin { address: String },
    #[error(
        "the control plane at {address} is of the trust domain {found}, and agent.toml says {wanted}; correct \
         trust-domain, or find out whose control plane that is"
    )]
    TrustDomain { address: String, found: TrustDomain, wanted: TrustDomain },
    #[error("the TLS configuration cannot be made")]
    Setup(#[source] TlsSetupProblem),
    #[error("the TLS session has no exporter")]
    Exporter(#[source] rustls::Error),
    #[error("the HTTP/2 connection with {address} was refused")]
    Http {
        address: String,
        #[source]
        source: tonic::transport::Error,
    },
}

/// Connects with an identity.
pub(super) async fn with_identity(address: &str, identity: &Identity) -> Result<Channel, ConnectError> {
    let config = client_config(identity, Arc::new(DefaultTimeProvider)).map_err(ConnectError::Setup)?;
    channel(address, tls(address, config).await?).await
}

/// Connects for enrolment, knowing only the root's pin and the trust domain; gives the session's binding too.
pub(super) async fn with_pin(
    address: &str,
    pin: CaPin,
    wanted: &TrustDomain,
) -> Result<(Channel, SessionBinding), ConnectError> {
    let config = pinned_client_config(pin, Arc::new(DefaultTimeProvider)).map_err(ConnectError::Setup)?;
    let stream = tls(address, config).await?;
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let peer = peer_identity(shown).map_err(|source| ConnectError::Peer { address: address.to_owned(), source })?;
    // That of the root, as the handshake found. Looked at before the token is used up.
    if peer.id.trust_domain != *wanted {
        let (address, found, wanted) = (address.to_owned(), peer.id.trust_domain, wanted.clone());
        return Err(ConnectError::TrustDomain { address, found, wanted });
    }
    let binding = SessionBinding::of(stream.get_ref().1).map_err(ConnectError::Exporter)?;
    Ok((channel(address, stream).await?, binding))
}

async fn tls(address: &str, config: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, ConnectError> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // Only a formality of TLS: nobody looks at the name.
    let name = ServerName::try_from(host.to_owned())
        .unwrap_or(ServerName::IpAddress(std::net::IpAddr::from([0, 0, 0, 0]).into()));
    let connecting = async {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|source| ConnectError::Tcp { address: address.to_owned(), source })?;
        // A permit must not wait for a full segment.
        stream.set_nodelay(true).map_err(|source| ConnectError::Tcp { address: address.to_owned(), source })?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|source| refused(address, source))
    };
    tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .unwrap_or_else(|_elapsed| Err(ConnectError::Timeout { address: address.to_owned() }))
}

/// Why a handshake failed; what this program itself refused is told in its own words.
fn refused(address: &str, source: std::io::Error) -> ConnectError {
    let address = address.to_owned();
    match handshake_problem(&source) {
        Some(HandshakeProblem::PeerRefused(PeerRefused::Pin)) => ConnectError::Pin { address },
        Some(HandshakeProblem::PeerRefused(source)) => ConnectError::Peer { address, source },
        Some(
            HandshakeProblem::PeerExpired { .. }
            | HandshakeProblem::PeerNotYetValid { .. }
            | HandshakeProblem::PeerUnknownAuthority
            | HandshakeProblem::OwnExpired
            | HandshakeProblem::OwnRefused,
        )
        | None => ConnectError::Tls { address, source },
    }
}

/// Hands one finished TLS stream to tonic; when it breaks, the channel is broken too and the caller
/// connects anew.
async fn channel(address: &str, stream: TlsStream<TcpStream>) -> Result<Channel, ConnectError> {
    let refused = |source| ConnectError::Http { address: address.to_owned(), source };
    // Taken once, by the only connection that this channel makes.
    let slot = Arc::new(Mutex::new(Some(stream)));
    let connector = tower::service_fn(move |_uri: http::Uri| {
        let taken = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        async move { taken.map(TokioIo::new).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected)) }
    });
    Endpoint::from_static("http://control-plane.invalid")
        .http2_keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
        .map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{CertificateError, OtherError};

    #[test]
    fn a_server_without_the_pinned_root_is_told_with_the_keys_to_compare() {
        let other = OtherError(Arc::new(PeerRefused::Pin));
        let source = std::io::Error::other(rustls::Error::InvalidCertificate(CertificateError::Other(other)));
        let told = refused("cp:7443", source).to_string();
        assert!(told.starts_with("cp:7443 is not the control plane") && told.contains("ca-pin"), "{told}");
        let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        assert_eq!(refused("cp:7443", source).to_string(), "the TLS session with cp:7443 was refused");
    }
}
