//! The HTTP side: which page answers what, and the loop that serves it.
//!
//! [`answer`] is pure. [`serve`] runs on one thread and reads the two small files in the request's
//! own turn: a service of this size needs no more, and its state is exactly what is on disk.

use crate::flag::FlagState;
use crate::lifecycle::Settings;
use crate::release::{Release, ReleaseHealth};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections served at once. A check opens one each second and a demo a handful; with 16 KiB of
/// buffer each this is 1 MiB.
const MAX_CONNECTIONS: usize = 64;
/// A connection's buffer: headers longer than this are refused.
const MAX_BUFFER_BYTES: usize = 16 * 1024;
/// How long a client may take to send its headers, and an idle connection may stay: without it 64
/// silent clients would stop the service.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after a failed accept (the process is out of file descriptors): long enough for a
/// connection to end, short for a check.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long the feature waits for whom it asks: a connection on one machine takes less than a millisecond.
const FEATURE_PATIENCE: Duration = Duration::from_secs(1);

/// What a request gets.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: StatusCode,
    text: String,
}

impl Answer {
    fn ok(text: String) -> Self {
        Self { status: StatusCode::OK, text }
    }

    fn broken(text: String) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, text }
    }
}

/// How the feature behind the flag is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Feature {
    Off,
    Works,
    Fails(String),
}

/// Decides what a page answers; `release` carries the reason as text when there is none.
fn answer(path: &str, release: &Result<Release, String>, feature: &Feature) -> Answer {
    let release = match release {
        Ok(release) => release,
        Err(reason) => return Answer::broken(format!("no release: {reason}\n")),
    };
    match (path, release.health, feature) {
        ("/", _, _) => Answer::ok(format!("The shop, version {} (release {})\n", release.version, release.id)),
        ("/healthz", ReleaseHealth::Ok, _) => Answer::ok(format!("ok {}\n", release.version)),
        ("/healthz", ReleaseHealth::Fail, _) => Answer::broken(format!("release {} is bad\n", release.version)),
        ("/healthz/feature", _, Feature::Off | Feature::Works) => Answer::ok("ok\n".to_owned()),
        ("/checkout", _, Feature::Off | Feature::Works) => Answer::ok("Thank you for your order.\n".to_owned()),
        ("/healthz/feature" | "/checkout", _, Feature::Fails(why)) => Answer::broken(format!("{why}\n")),
        (_, ReleaseHealth::Ok | ReleaseHealth::Fail, Feature::Off | Feature::Works | Feature::Fails(_)) => {
            Answer { status: StatusCode::NOT_FOUND, text: "no such page\n".to_owned() }
        }
    }
}

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, settings: Rc<Settings>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                eprintln!("accept failed: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let settings = Rc::clone(&settings);
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| {
                let settings = Rc::clone(&settings);
                async move { Ok::<_, Infallible>(respond(&request, &settings).await) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(MAX_BUFFER_BYTES)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                eprintln!("a connection ended early: {error}");
            }
            drop(place);
        });
    }
}

async fn respond(request: &Request<Incoming>, settings: &Settings) -> Response<Full<Bytes>> {
    let answer = if matches!(*request.method(), Method::GET | Method::HEAD) {
        let path = request.uri().path();
        let feature = match path {
            "/healthz/feature" | "/checkout" => feature(settings).await,
            // No other page shows it, so nobody is asked.
            _ => Feature::Off,
        };
        answer(path, &release(settings), &feature)
    } else {
        Answer { status: StatusCode::METHOD_NOT_ALLOWED, text: "GET and HEAD only\n".to_owned() }
    };
    if answer.status.is_server_error() {
        eprintln!("{} {} {}", answer.status.as_u16(), request.uri().path(), answer.text.trim_end());
    }
    let mut response = Response::new(Full::new(Bytes::from(answer.text)));
    *response.status_mut() = answer.status;
    response
}

fn release(settings: &Settings) -> Result<Release, String> {
    crate::release::current(&settings.root).map_err(|error| format!("{:#}", anyhow::Error::new(error)))
}

fn flag(settings: &Settings) -> FlagState {
    crate::flag::state(&settings.flags, &settings.flag_key).unwrap_or_else(|error| {
        eprintln!("the feature stays off: {:#}", anyhow::Error::new(error));
        FlagState::Off
    })
}

async fn feature(settings: &Settings) -> Feature {
    match (flag(settings), settings.feature_asks) {
        (FlagState::Off, _) => Feature::Off,
        (FlagState::On, None) => Feature::Fails("the new checkout fails".to_owned()),
        (FlagState::On, Some(address)) => {
            match tokio::time::timeout(FEATURE_PATIENCE, TcpStream::connect(address)).await {
                Ok(Ok(_)) => Feature::Works,
                Ok(Err(error)) => Feature::Fails(format!("the new checkout gets no answer from {address}: {error}")),
                Err(_) => Feature::Fails(format!("the new checkout waits for {address}")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails() -> Feature {
        Feature::Fails("the new checkout fails".to_owned())
    }

    fn check(path: &str, health: ReleaseHealth, feature: &Feature, expected: u16) {
        let release = Ok(Release { id: "r1".to_owned(), version: "1.4.0".to_owned(), health });
        assert_eq!(answer(path, &release, feature).status.as_u16(), expected, "{path} {health:?} {feature:?}");
    }

    #[test]
    fn health_follows_the_release_and_the_feature_follows_the_flag() {
        check("/healthz", ReleaseHealth::Ok, &fails(), 200);
        check("/healthz", ReleaseHealth::Fail, &Feature::Off, 500);
        check("/healthz/feature", ReleaseHealth::Fail, &Feature::Off, 200);
        check("/healthz/feature", ReleaseHealth::Ok, &fails(), 500);
        check("/checkout", ReleaseHealth::Ok, &Feature::Off, 200);
        check("/checkout", ReleaseHealth::Ok, &fails(), 500);
        check("/", ReleaseHealth::Fail, &fails(), 200);
        check("/healthz/feature", ReleaseHealth::Ok, &Feature::Works, 200);
        check("/checkout", ReleaseHealth::Ok, &Feature::Works, 200);
        check("/healthz/", ReleaseHealth::Ok, &Feature::Off, 404);
    }

    #[test]
    fn without_a_release_every_page_fails_with_the_reason() {
        let expected = Answer::broken("no release: gone\n".to_owned());
        for path in ["/", "/healthz", "/healthz/feature", "/checkout"] {
            assert_eq!(answer(path, &Err("gone".to_owned()), &Feature::Off), expected, "{path}");
        }
    }
}
