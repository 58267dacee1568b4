//! One TLS connection to a port, handed to tonic.

use fettle_certs::enrol::SessionBinding;
use fettle_certs::identity::Identity;
use fettle_certs::tls::{DefaultTimeProvider, client_config, pinned_client_config};
use fettle_model::digest::CaPin;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

/// A channel over one connection with an identity.
pub(crate) async fn channel(address: SocketAddr, identity: &Identity) -> anyhow::Result<Channel> {
    let config = client_config(identity, Arc::new(DefaultTimeProvider))?;
    over(connect(address, config).await?).await
}

/// A channel over one connection that knows the root's pin only, and the connection's binding.
pub(crate) async fn pinned(address: SocketAddr, pin: CaPin) -> anyhow::Result<(Channel, SessionBinding)> {
    let config = pinned_client_config(pin, Arc::new(DefaultTimeProvider))?;
    let stream = connect(address, config).await?;
    let binding = SessionBinding::of(stream.get_ref().1)?;
    Ok((over(stream).await?, binding))
}

async fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> anyhow::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = rustls_pki_types::ServerName::IpAddress(address.ip().into());
    Ok(TlsConnector::from(config).connect(name, stream).await?)
}

async fn over(stream: TlsStream<TcpStream>) -> anyhow::Result<Channel> {
    let slot = Arc::new(Mutex::new(Some(stream)));
    let connector = tower::service_fn(move |_uri: http::Uri| {
        let taken = slot.lock().expect("nobody panics here").take();
        async move { taken.map(TokioIo::new).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected)) }
    });
    Ok(Endpoint::from_static("http://control-plane.invalid").connect_with_connector(connector).await?)
}
