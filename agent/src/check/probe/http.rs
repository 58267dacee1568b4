//! One GET on one new connection. No redirect is followed, no cookie kept, nothing reused.

use super::dial::dial;
use super::tls::{Trust, secure};
use crate::check::observation::Verdict;
use crate::check::reason::Reason;
use bytes::Bytes;
use fettle_model::check::{NoAnswer, Status};
use http::header::{ACCEPT, CONNECTION, HOST, HeaderValue, USER_AGENT};
use http::uri::Scheme;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

/// How much of a body is searched, as the definition of the check says.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Response headers larger than this are no health page. Also hyper's read buffer.
const MAX_HEAD_BYTES: usize = 16 * 1024;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("fettle-agent/", env!("CARGO_PKG_VERSION")));

pub(in crate::check) struct Http {
    /// `host:port` to connect to.
    address: String,
    host: HeaderValue,
    target: Uri,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    wanted: Wanted,
}

/// What an answer must be, and what it means that there is none.
pub(super) struct Wanted {
    /// Codes that pass; empty means 200 to 299.
    pub(super) status: Vec<u16>,
    /// Text that the body must have.
    pub(super) body: Option<String>,
    /// What silence means.
    pub(super) no_answer: NoAnswer,
}

impl Http {
    pub(super) fn prepare(url: &str, wanted: Wanted, trust: &Trust) -> Result<Self, Reason> {
        let url: Uri = url.parse().map_err(|error| Reason::of_error("the check's URL", &error))?;
        let senseless = |what: &str| Reason::new(&format!("the check's URL {what}"));
        let authority = url.authority().ok_or_else(|| senseless("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(senseless("holds a user name: credentials do not belong in a check"));
        }
        let name = authority.host();
        let (default_port, tls) = match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => (80, None),
            Some(scheme) if *scheme == Scheme::HTTPS => {
                let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
                let server = ServerName::try_from(bare).map_err(|error| Reason::of_error("the check's URL", &error))?;
                (443, Some((trust.connector()?, server)))
            }
            Some(_) | None => return Err(senseless("is neither http:// nor https://")),
        };
        let target = url.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            address: format!("{name}:{}", authority.port_u16().unwrap_or(default_port)),
            host: HeaderValue::from_str(authority.as_str()).map_err(|_| senseless("has an odd host"))?,
            target: target.parse().map_err(|error| Reason::of_error("the check's URL", &error))?,
            tls,
            wanted,
        })
    }

    pub(super) async fn probe(&self) -> Verdict {
        let stream = match dial(&self.address).await {
            Ok(stream) => stream,
            // That this host could not even ask stays what it is.
            Err(verdict) if verdict.status == Status::Critical => return self.silence(verdict.reason.as_str()),
            Err(verdict) => return verdict,
        };
        let answer = match &self.tls {
            None => self.exchange(stream).await,
            Some((connector, name)) => match secure(connector, name.clone(), stream).await {
                Ok(stream) => self.exchange(stream).await,
                Err(reason) => Err(reason),
            },
        };
        answer.unwrap_or_else(|reason| self.silence(&format!("{}: {reason}", self.address)))
    }

    /// The verdict when there is no answer.
    pub(super) fn silence(&self, reason: &str) -> Verdict {
        match self.wanted.no_answer {
            NoAnswer::Critical => Verdict::critical(reason),
            NoAnswer::Unknown => Verdict::unknown(reason),
        }
    }

    async fn exchange(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<Verdict, Reason> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Reason::of_error("no HTTP", &error))?;
        let mut asking = std::pin::pin!(self.ask(sender));
        tokio::select! {
            biased;
            verdict = &mut asking => verdict,
            // The connection ends before the answer is read through when the server closes it: what it
            // sent is in the answer's queue, and an error of the connection reaches the answer as well.
            _ = connection => asking.await,
        }
    }

    async fn ask(&self, mut sender: http1::SendRequest<Empty<Bytes>>) -> Result<Verdict, Reason> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.target.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let response =
            sender.send_request(request).await.map_err(|error| Reason::of_error("no HTTP answer", &error))?;
        let status = response.status();
        if !self.expects(status) {
            return Ok(Verdict::critical(&format!("{status}, expected {}", self.expected())));
        }
        match &self.wanted.body {
            None => Ok(Verdict::passing(&status.to_string())),
            Some(text) => search(response.into_body(), text, status).await,
        }
    }

    fn expects(&self, status: StatusCode) -> bool {
        if self.wanted.status.is_empty() { status.is_success() } else { self.wanted.status.contains(&status.as_u16()) }
    }

    fn expected(&self) -> String {
        if self.wanted.status.is_empty() {
            return "200 to 299".to_owned();
        }
        self.wanted.status.iter().map(u16::to_string).collect::<Vec<_>>().join(" or ")
    }
}

/// Reads no further than it must: until the text is found, or the limit.
async fn search(mut body: Incoming, text: &str, status: StatusCode) -> Result<Verdict, Reason> {
    let mut read = Vec::new();
    let mut searched_from = 0;
    loop {
        if contains(read.get(searched_from..).unwrap_or_default(), text.as_bytes()) {
            return Ok(Verdict::passing(&format!("{status}, the body has {text:?}")));
        }
        // The text may lie across two pieces.
        searched_from = read.len().saturating_sub(text.len());
        if read.len() >= MAX_BODY_BYTES {
            return Ok(Verdict::critical(&format!("{status}, but the first 64 KiB of the body lack {text:?}")));
        }
        let Some(frame) = body.frame().await else {
            return Ok(Verdict::critical(&format!("{status}, but the body lacks {text:?}")));
        };
        let frame = frame.map_err(|error| Reason::of_error("the body broke off", &error))?;
        if let Some(piece) = frame.data_ref() {
            let room = MAX_BODY_BYTES - read.len();
            read.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
    }
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}
