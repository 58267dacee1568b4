//! Where the browser lands after a login: a listener on loopback (RFC 8252, section 7.3), up for one login.
//!
//! Takes nothing but the answer to that login: whatever else is asked here gets a short page and changes nothing.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::when::span;
use bytes::Bytes;
use fettle_oidc::ask::{Awaited, Landed};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// For a person to log in: to find the second factor, and to be called away once.
pub(super) const LOGIN_WITHIN: Duration = Duration::from_mins(5);
/// Connections at once: browsers open two or three ahead of time.
const MAX_VISITS: usize = 16;
/// For one request on a connection, from this machine; and for its page to be read.
const VISIT_WITHIN: Duration = Duration::from_secs(10);
/// For the last page to reach the browser before this program ends.
const FAREWELL_WITHIN: Duration = Duration::from_secs(1);
/// Where the provider sends the browser.
const PATH: &str = "/callback";

/// What the provider sends the browser back with.
#[derive(Debug)]
enum Answer {
    Code(String),
    Refused(String),
}

/// The listener.
#[derive(Debug)]
pub(super) struct Landing {
    listener: TcpListener,
    address: SocketAddr,
}

impl Landing {
    /// Listens on a port that the system chooses.
    ///
    /// # Errors
    /// When nothing can listen on loopback.
    pub(super) async fn open() -> Result<Self, Failure> {
        let unusable = |error: std::io::Error| {
            Failure::caused(Exit::Unavailable, &error, "allow this program to listen on 127.0.0.1, and try again")
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        Ok(Self { listener, address })
    }

    /// The redirect's address.
    pub(super) fn redirect(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Waits for the answer to the login; its code.
    ///
    /// # Errors
    /// When the provider refuses, or nobody comes in time.
    pub(super) async fn wait(self, awaited: &Awaited) -> Result<String, Failure> {
        match tokio::time::timeout(LOGIN_WITHIN, self.serve(awaited)).await {
            Ok(answer) => answer,
            Err(_elapsed) => {
                let message = format!("nobody logged in within {}", span(LOGIN_WITHIN));
                Err(Failure::new(Exit::Unavailable, message, "open the address in a browser on this machine in time"))
            }
        }
    }

    async fn serve(self, awaited: &Awaited) -> Result<String, Failure> {
        let (tell, mut told) = mpsc::channel::<Answer>(1);
        let mut visits = JoinSet::new();
        let landed = loop {
            // Cancel safe: an accept, a channel, a join.
            tokio::select! {
                Some(landed) = told.recv() => break landed,
                accepted = self.listener.accept(), if visits.len() < MAX_VISITS => {
                    // A connection that was gone before it was accepted is nobody's answer.
                    if let Ok((stream, _)) = accepted {
                        visits.spawn(visit(stream, awaited.clone(), tell.clone()));
                    }
                }
                Some(_ended) = visits.join_next() => {}
            }
        };
        drop(self.listener);
        let farewell = async { while visits.join_next().await.is_some() {} };
        // A browser that holds a connection open has its page long since.
        drop(tokio::time::timeout(FAREWELL_WITHIN, farewell).await);
        match landed {
            Answer::Code(code) => Ok(code),
            Answer::Refused(said) => {
                Err(Failure::new(Exit::Denied, format!("the provider let nobody in: {said}"), "log in again"))
            }
        }
    }
}

async fn visit(stream: TcpStream, awaited: Awaited, tell: mpsc::Sender<Answer>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (landed, page) = receive(&awaited, request.method(), request.uri().path(), request.uri().query());
        if let Some(answer) = landed {
            // Full: another tab was faster.
            drop(tell.try_send(answer));
        }
        std::future::ready(Ok::<_, Infallible>(page))
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(VISIT_WITHIN).keep_alive(false);
    // What goes wrong on one connection is seen by whoever opened it.
    drop(tokio::time::timeout(VISIT_WITHIN, server.serve_connection(TokioIo::new(stream), service)).await);
}

/// What a request says, if it answers the login, and the page for whoever sent it.
fn receive(
    awaited: &Awaited,
    method: &Method,
    path: &str,
    query: Option<&str>,
) -> (Option<Answer>, Response<Full<Bytes>>) {
    let here = *method == Method::GET && path == PATH;
    let landed = if here { awaited.read(query.unwrap_or_default()) } else { Landed::Foreign };
    match landed {
        Landed::Code(code) => {
            (Some(Answer::Code(code)), page(StatusCode::OK, "The provider let you in. The terminal says the rest."))
        }
        Landed::Refused(said) => {
            (Some(Answer::Refused(said)), page(StatusCode::OK, "The provider let nobody in. The terminal says why."))
        }
        Landed::Foreign => (None, page(StatusCode::NOT_FOUND, "Nothing is here but the end of a login.")),
    }
}

fn page(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut page = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *page.status_mut() = status;
    page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    page
}
