//! One connection to the control plane: TCP, TLS 1.3, HTTP/2.
//!
//! A new rustls configuration for each connection, so that a rotated identity is used at once. The
//! server is known by its SPIFFE id, not by the name under which it was reached.

use fettle_certs::enrol::SessionBinding;
use fettle_certs::identity::Identity;
use fettle_certs::tls::{DefaultTimeProvider, TlsSetupProblem, client_config, pinned_client_config};
use fettle_model::digest::CaPin;
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

/// Connects for enrolment, knowing only the root's pin; gives the session's binding too.
pub(super) async fn with_pin(address: &str, pin: CaPin) -> Result<(Channel, SessionBinding), ConnectError> {
    let config = pinned_client_config(pin, Arc::new(DefaultTimeProvider)).map_err(ConnectError::Setup)?;
    let stream = tls(address, config).await?;
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
        TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|source| ConnectError::Tls { address: address.to_owned(), source })
    };
    tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .unwrap_or_else(|_elapsed| Err(ConnectError::Timeout { address: address.to_owned() }))
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
