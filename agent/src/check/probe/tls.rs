//! Whom an `https` probe trusts: the platform's certificate authorities, as any other client on the host.
//!
//! This is not the agent's own identity and trust, which live in the certificates crate.

use crate::check::reason::Reason;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The trusted authorities, read when the first `https` check is prepared.
#[derive(Clone)]
pub(in crate::check) struct Trust {
    connector: Arc<OnceLock<Result<TlsConnector, Reason>>>,
}

impl Trust {
    pub(super) fn of_platform() -> Self {
        Self { connector: Arc::new(OnceLock::new()) }
    }

    /// Trusts these instead of the platform's.
    #[cfg(test)]
    pub(super) fn of_roots(roots: RootCertStore) -> Self {
        Self { connector: Arc::new(OnceLock::from(connector(roots))) }
    }

    pub(super) fn connector(&self) -> Result<TlsConnector, Reason> {
        self.connector.get_or_init(|| connector(platform_roots()?)).clone()
    }
}

fn platform_roots() -> Result<RootCertStore, Reason> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(loaded.certs);
    match loaded.errors.first() {
        // Some unreadable files among good ones are the platform's own matter.
        Some(error) if added == 0 => Err(Reason::of_error("the platform's certificate authorities", error)),
        None if added == 0 => Err(Reason::new("the platform has no certificate authorities")),
        Some(_) | None => Ok(roots),
    }
}

fn connector(roots: RootCertStore) -> Result<TlsConnector, Reason> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Reason::of_error("TLS", &error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The handshake over a connection that stands.
pub(super) async fn secure(
    connector: &TlsConnector,
    name: ServerName<'static>,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Reason> {
    connector.connect(name, stream).await.map_err(|error| Reason::of_error("TLS", &error))
}
