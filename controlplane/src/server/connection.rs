//! One TLS connection as tonic sees it, and who is at its other end.

use fettle_certs::enrol::SessionBinding;
use fettle_certs::peer::PeerIdentity;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// Who is at the other end. Every call finds it among its request's extensions.
#[derive(Debug, Clone)]
pub struct Peer {
    /// From where.
    pub address: SocketAddr,
    /// Who, by the certificate that was verified in the handshake; `None` where none is asked for.
    pub identity: Option<PeerIdentity>,
    /// What only the two ends of this session know.
    pub binding: SessionBinding,
}

impl Peer {
    /// The peer of a call.
    ///
    /// # Errors
    /// Never in practice: every connection of ours has one.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Arc<Self>, tonic::Status> {
        request.extensions().get::<Arc<Self>>().cloned().ok_or_else(|| tonic::Status::internal("the call has no peer"))
    }
}

/// A connection whose handshake is complete.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Arc<Peer>,
    /// Given back when the connection ends.
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    pub(super) const fn new(stream: TlsStream<TcpStream>, peer: Arc<Peer>, slot: OwnedSemaphorePermit) -> Self {
        Self { stream, peer, _slot: slot }
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        Arc::clone(&self.peer)
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
