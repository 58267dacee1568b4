//! A port: accepts, shakes hands, and gives finished connections to tonic.
//!
//! Each handshake takes the newest TLS configuration, so that a renewed certificate is shown at once. Every
//! port has connections of its own to give away: a flood at the enrolment port takes none from agents.

use super::connection::{Connection, Peer};
use fettle_certs::enrol::SessionBinding;
use fettle_certs::peer::peer_identity;
use rustls::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// A handshake takes three round trips; the slowest link answers in two seconds.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// After the operating system refused to accept (no file descriptors), so long before the next attempt.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that wait for tonic to take them; it takes them at once.
const READY: usize = 64;

/// Gives the port's connections until `stop`. At most `limit` stand at once, those in their handshake
/// included; more are closed unheard.
pub(super) fn serve(
    listener: TcpListener,
    configuration: watch::Receiver<Arc<ServerConfig>>,
    limit: usize,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, connections) = mpsc::channel(READY);
    // Ends at `stop`, or when tonic takes no more.
    drop(tokio::spawn(accept(listener, configuration, Arc::new(Semaphore::new(limit)), ready, stop)));
    ReceiverStream::new(connections)
}

async fn accept(
    listener: TcpListener,
    configuration: watch::Receiver<Arc<ServerConfig>>,
    slots: Arc<Semaphore>,
    ready: mpsc::Sender<io::Result<Connection>>,
    stop: CancellationToken,
) {
    let mut handshakes = JoinSet::new();
    loop {
        // Cancel safe: accepting and joining lose nothing.
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            Some(_ended) = handshakes.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            tracing::warn!(%address, "a connection was closed: there are too many");
            continue;
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&configuration.borrow()));
        let ready = ready.clone();
        handshakes.spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(acceptor, stream, address, slot)).await {
                // Tonic takes no more: the server stops.
                Ok(Ok(connection)) => drop(ready.send(Ok(connection)).await),
                Ok(Err(error)) => tracing::info!(%address, %error, "a TLS handshake failed"),
                Err(_elapsed) => tracing::info!(%address, "a TLS handshake took too long"),
            }
        });
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    slot: OwnedSemaphorePermit,
) -> io::Result<Connection> {
    // A permit must not wait for a full segment.
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let session = stream.get_ref().1;
    let identity = match session.peer_certificates() {
        Some(chain) => Some(peer_identity(chain).map_err(io::Error::other)?),
        None => None,
    };
    let binding = SessionBinding::of(session).map_err(io::Error::other)?;
    Ok(Connection::new(stream, Arc::new(Peer { address, identity, binding }), slot))
}
