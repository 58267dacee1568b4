//! One TLS connection with an identity, handed to tonic: what an agent and the command line do as well.

use anyhow::Context as _;
use fettle_certs::identity::Identity;
use fettle_certs::tls::{DefaultTimeProvider, client_config};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

/// A channel over one connection.
pub(crate) async fn channel(address: SocketAddr, identity: &Identity) -> anyhow::Result<Channel> {
    let config = client_config(identity, Arc::new(DefaultTimeProvider))?;
    let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    let name = rustls_pki_types::ServerName::IpAddress(address.ip().into());
    let stream = TlsConnector::from(config).connect(name, stream).await.context("the TLS handshake")?;
    let slot = Mutex::new(Some(stream));
    let connector = tower::service_fn(move |_uri: http::Uri| {
        let taken = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move { taken.map(TokioIo::new).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected)) }
    });
    Ok(Endpoint::from_static("http://control-plane.invalid").connect_with_connector(connector).await?)
}
