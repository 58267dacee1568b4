//! One HTTPS request on one new connection: no redirect is followed, no cookie kept, nothing reused.
//!
//! For what the authority of a provider rests on (its addresses, its keys, its tokens), so there is no way to
//! ask without TLS. Trusts the roots that it is given, or the platform's.

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use http::uri::{Authority, Scheme};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Longest time for one request: three lost packets, a handshake, and a provider that is busy.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Largest answer: a set of 32 keys, each with a certificate chain of 6 KiB.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// Largest head of an answer. Also hyper's read buffer.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Most roots in one file: a platform's bundle has 150.
const MAX_ROOTS: usize = 512;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("fettle/", env!("CARGO_PKG_VERSION")));

/// The roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootsProblem {
    /// The text is no PEM, or holds no certificate.
    #[error("the file holds no certificate in PEM, or more than {MAX_ROOTS}")]
    Pem,
    /// A certificate is no root.
    #[error("a certificate in the file cannot be trusted as a root")]
    Root(#[source] rustls::Error),
    /// The platform has none.
    #[error("the platform has no certificate authorities: {what}")]
    Platform {
        /// Why.
        what: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// A request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum HttpsProblem {
    /// The address is not an `https://` one with a host.
    #[error("{0} is no https:// address")]
    Address(Uri),
    /// The host is no name that a certificate could have.
    #[error("{name} is no name of a host")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        #[source]
        source: InvalidDnsNameError,
    },
    /// Nobody listens there, or the TLS handshake failed.
    #[error("{address} cannot be reached")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The exchange broke.
    #[error("{address} does not speak HTTP")]
    Http {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// The answer is too large, or broke off.
    #[error("the answer of {address} broke off, or is larger than {MAX_BODY_BYTES} bytes")]
    Body {
        /// Where.
        address: String,
    },
    /// It took too long.
    #[error("{address} did not answer within {ANSWER_WITHIN:?}")]
    Late {
        /// Where.
        address: String,
    },
}

/// The client.
#[derive(Clone)]
pub struct Https {
    connector: TlsConnector,
}

impl std::fmt::Debug for Https {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Https").finish_non_exhaustive()
    }
}

impl<'c> AsyncHttpClient<'c> for Https {
    type Error = HttpsProblem;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpsProblem>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

impl Https {
    /// Trusts the roots of a PEM text and nobody else; without one, the platform's.
    ///
    /// # Errors
    /// [`RootsProblem`].
    pub fn trusting(roots: Option<&[u8]>) -> Result<Self, RootsProblem> {
        let roots = match roots {
            Some(text) => parsed(text)?,
            None => of_platform()?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(RootsProblem::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// [`HttpsProblem`].
    pub async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpsProblem> {
        let uri = request.uri().clone();
        let authority = match (uri.scheme(), uri.authority()) {
            (Some(scheme), Some(authority)) if *scheme == Scheme::HTTPS => authority.clone(),
            (Some(_) | None, Some(_) | None) => return Err(HttpsProblem::Address(uri)),
        };
        let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(443));
        match tokio::time::timeout(ANSWER_WITHIN, self.exchange(request, &authority, &address)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(HttpsProblem::Late { address }),
        }
    }

    async fn exchange(
        &self,
        request: HttpRequest,
        authority: &Authority,
        address: &str,
    ) -> Result<HttpResponse, HttpsProblem> {
        let bare = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare.clone()).map_err(|source| HttpsProblem::Name { name: bare, source })?;
        let unreached = |source| HttpsProblem::Connect { address: address.to_owned(), source };
        let broken = |source| HttpsProblem::Http { address: address.to_owned(), source };
        let stream = TcpStream::connect(address).await.map_err(unreached)?;
        let stream = self.connector.connect(name, stream).await.map_err(unreached)?;
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(MAX_HEAD_BYTES).handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let cut = || HttpsProblem::Body { address: address.to_owned() };
        let request = in_origin_form(request, authority).ok_or_else(|| HttpsProblem::Address(Uri::default()))?;
        let mut asking = std::pin::pin!(async {
            let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
            let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|_| cut())?;
            Ok(HttpResponse::from_parts(head, body.to_bytes().to_vec()))
        });
        tokio::select! {
            biased;
            answer = &mut asking => answer,
            // A server that closes ends the connection before its answer is read through.
            _ = connection => asking.await,
        }
    }
}

fn in_origin_form(request: HttpRequest, authority: &Authority) -> Option<Request<Full<Bytes>>> {
    let (mut head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    head.uri = target.parse().ok()?;
    head.headers.insert(HOST, HeaderValue::from_str(authority.as_str()).ok()?);
    head.headers.insert(USER_AGENT, AGENT);
    head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Some(Request::from_parts(head, Full::new(Bytes::from(body))))
}

fn parsed(text: &[u8]) -> Result<RootCertStore, RootsProblem> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text).take(MAX_ROOTS + 1) {
        roots.add(certificate.map_err(|_| RootsProblem::Pem)?).map_err(RootsProblem::Root)?;
    }
    if (1..=MAX_ROOTS).contains(&roots.len()) { Ok(roots) } else { Err(RootsProblem::Pem) }
}

fn of_platform() -> Result<RootCertStore, RootsProblem> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(loaded.certs);
    match loaded.errors.first() {
        // Some unreadable files among good ones are the platform's own matter.
        Some(error) if added == 0 => Err(RootsProblem::Platform { what: error.to_string() }),
        None if added == 0 => Err(RootsProblem::Platform { what: "none were found".to_owned() }),
        Some(_) | None => Ok(roots),
    }
}
