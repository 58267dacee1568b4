//! Against a real HTTP server on loopback, and against peers that speak something else.

use super::*;
use ::http::{Request, Response};
use bytes::Bytes;
use fettle_model::check::{HostValue, NoAnswer};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use std::convert::Infallible;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// `METHOD target host` of every request that reaches the server.
type Seen = mpsc::Receiver<String>;

fn respond(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, body) = match request.uri().path() {
        "/ok" => (200, "all is ok".to_owned()),
        "/empty" => (204, String::new()),
        "/moved" => (301, String::new()),
        "/late" => (200, "x".repeat(64 * 1024) + "ok"),
        "/edge" => (200, "x".repeat(64 * 1024 - 2) + "ok"),
        _ => (503, "ok".to_owned()),
    };
    let response = Response::builder().status(status).header("location", "/ok");
    response.body(Full::new(Bytes::from(body))).expect("a response")
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, seen: mpsc::Sender<String>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or("none");
        let line = format!("{} {} {host}", request.method(), request.uri());
        let (seen, response) = (seen.clone(), respond(&request));
        async move {
            seen.send(line).await.expect("the test reads");
            Ok::<_, Infallible>(response)
        }
    });
    // A client that reads no further than it must breaks the connection off.
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

async fn server(tls: Option<TlsAcceptor>) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (sender, seen) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match &tls {
                None => answer(stream, sender.clone()).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        answer(stream, sender.clone()).await;
                    }
                }
            }
        }
    });
    (address, seen)
}

/// Answers the first connection with these bytes and then closes it, or holds it open for ever.
async fn raw_server(bytes: &'static [u8], close: Close) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        // Unread input would turn the close into a reset.
        let mut request = [0; 1_024];
        let read = stream.read(&mut request).await.expect("a request");
        assert!(read > 0);
        stream.write_all(bytes).await.expect("sent");
        match close {
            Close::AtOnce => {}
            Close::Never => std::future::pending().await,
        }
    });
    address
}

#[derive(Clone, Copy)]
enum Close {
    AtOnce,
    Never,
}

fn http(url: String, expect_status: &[u16], expect_body: Option<&str>) -> Probe {
    Probe::Http {
        url: HostValue(url),
        expect_status: expect_status.to_vec(),
        expect_body: expect_body.map(str::to_owned),
        no_answer: NoAnswer::Critical,
    }
}

#[tokio::test]
async fn the_status_code_decides() {
    let (address, _seen) = server(None).await;
    let any: &[u16] = &[];
    for (path, codes, status, reason) in [
        ("/ok", any, Status::Passing, "200 OK"),
        ("/empty", any, Status::Passing, "204 No Content"),
        ("/down", any, Status::Critical, "503 Service Unavailable, expected 200 to 299"),
        ("/moved", any, Status::Critical, "301 Moved Permanently, expected 200 to 299"),
        ("/down", &[401, 503], Status::Passing, "503"),
        ("/ok", &[401, 503], Status::Critical, "200 OK, expected 401 or 503"),
    ] {
        let verdict = prober(http(format!("http://{address}{path}"), codes, None)).probe_within(LONG).await;
        expect(&verdict, status, reason);
    }
}

#[tokio::test]
async fn the_body_must_have_the_text_within_its_first_64_kib() {
    let (address, _seen) = server(None).await;
    for (path, status, reason) in [
        ("/ok", Status::Passing, "200 OK, the body has \"ok\""),
        ("/edge", Status::Passing, "has \"ok\""),
        ("/late", Status::Critical, "the first 64 KiB of the body lack \"ok\""),
        ("/empty", Status::Critical, "the body lacks \"ok\""),
        ("/down", Status::Critical, "503"),
    ] {
        let verdict = prober(http(format!("http://{address}{path}"), &[], Some("ok"))).probe_within(LONG).await;
        expect(&verdict, status, reason);
    }
}

#[tokio::test]
async fn a_probe_is_one_get_and_a_redirect_is_not_followed() {
    let (address, mut seen) = server(None).await;
    let mut prober = prober(http(format!("http://{address}/moved?a=b"), &[], None));
    prober.probe_within(LONG).await;
    prober.probe_within(LONG).await;
    for _ in 0..2 {
        assert_eq!(within(seen.recv()).await, Some(format!("GET /moved?a=b {address}")));
    }
    assert!(seen.try_recv().is_err(), "nothing else was asked for");
}

#[tokio::test]
async fn a_body_without_end_is_read_no_further_than_its_text() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabo\r\n3\r\nkyz\r\n";
    let address = raw_server(chunked, Close::Never).await;
    let verdict = prober(http(format!("http://{address}/"), &[], Some("ok"))).probe_within(LONG).await;
    expect(&verdict, Status::Passing, "the body has \"ok\"");
}

#[tokio::test]
async fn a_server_that_closes_at_once_is_still_read_through() {
    let whole = b"HTTP/1.0 200 OK\r\n\r\nall is ok";
    let address = raw_server(whole, Close::AtOnce).await;
    let verdict = prober(http(format!("http://{address}/"), &[], Some("is ok"))).probe_within(LONG).await;
    expect(&verdict, Status::Passing, "the body has \"is ok\"");
}

#[tokio::test]
async fn whoever_does_not_answer_in_http_is_critical() {
    for (bytes, reason) in [
        (&b"220 mail.example ESMTP\r\n"[..], "no HTTP answer"),
        (&b""[..], "no HTTP answer"),
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab"[..], "the body broke off"),
    ] {
        let address = raw_server(bytes, Close::AtOnce).await;
        let verdict = prober(http(format!("http://{address}/"), &[], Some("ok"))).probe_within(LONG).await;
        expect(&verdict, Status::Critical, reason);
    }
}

#[tokio::test]
async fn a_refused_connection_and_a_silent_server_are_critical() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let mut prober = prober(http(format!("http://{address}/"), &[], None));
    let verdict = prober.probe_within(Duration::from_millis(50)).await;
    expect(&verdict, Status::Critical, "timed out: no answer within 50ms");
    drop(silent);
    expect(&prober.probe_within(LONG).await, Status::Critical, &format!("{address}: "));
    expect(&prober.probe_within(LONG).await, Status::Critical, "refused");
}

#[tokio::test]
async fn a_check_of_what_is_answered_says_nothing_of_a_service_that_does_not_answer() {
    let only_answers = |address: &dyn std::fmt::Display| Probe::Http {
        url: HostValue(format!("http://{address}/down")),
        expect_status: Vec::new(),
        expect_body: None,
        no_answer: NoAnswer::Unknown,
    };
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let mut asking = prober(only_answers(&address));
    expect(&asking.probe_within(Duration::from_millis(50)).await, Status::Unknown, "timed out");
    drop(silent);
    asking.probe_within(LONG).await;
    expect(&asking.probe_within(LONG).await, Status::Unknown, "refused");
    let closed = raw_server(b"", Close::AtOnce).await;
    expect(&prober(only_answers(&closed)).probe_within(LONG).await, Status::Unknown, "no HTTP answer");
    let (broken, _seen) = server(None).await;
    expect(&prober(only_answers(&broken)).probe_within(LONG).await, Status::Critical, "503");
}

fn identity_for(name: &str) -> (TlsAcceptor, RootCertStore) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    let certificate = CertificateDer::from(cert.der().to_vec());
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("an identity");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a root");
    (TlsAcceptor::from(Arc::new(config)), roots)
}

#[tokio::test]
async fn https_passes_only_for_a_certificate_that_is_trusted_and_names_the_host() {
    let (acceptor, roots) = identity_for("127.0.0.1");
    let (_, other_roots) = identity_for("127.0.0.1");
    let (misnamed, misnamed_roots) = identity_for("elsewhere.example");
    let (good, _seen) = server(Some(acceptor)).await;
    let (bad, _seen_too) = server(Some(misnamed)).await;
    for (address, roots, status, reason) in [
        (&good, roots, Status::Passing, "200 OK"),
        (&good, other_roots, Status::Critical, "TLS"),
        (&bad, misnamed_roots, Status::Critical, "TLS"),
    ] {
        let surroundings = Surroundings { trust: tls::Trust::of_roots(roots), ..surroundings() };
        let probe = http(format!("https://{address}/ok"), &[], None);
        expect(&prober_in(&surroundings, probe).probe_within(LONG).await, status, reason);
    }
}
