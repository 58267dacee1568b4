//! The server: three ports, their TLS, and the life of the process.
//!
//! [`start`] opens the log, binds the ports and serves; [`Running::wait`] ends in order when it is told to
//! stop, and at once when the leader has failed: without a leader nothing may be answered.

mod connection;
mod housekeeping;
mod listener;
mod listening;

pub use connection::Peer;
pub use listening::{Listening, ListeningError, operators_address};

use crate::authority::{Authority as Policies, InvalidPolicies};
use crate::config::{Config, ConfigError};
use crate::gateway::switchboard::Switchboard;
use crate::gateway::{AgentsService, EnrolmentService, Shared};
use crate::gateway::{hearing, holding};
use crate::init::InitError;
use crate::leader::{self, Clocks, LeaderError, Opened, StartError};
use crate::operators::{LoginProvider, LoginService, OidcProblem, OperatorsService};
use crate::packages::Packages;
use crate::state_dir::{Lock, StateDir, StateError};
use crate::vault::{Vault, VaultError};
use fettle_certs::store::{StoreProblem, load_authority};
use fettle_certs::tls::TlsSetupProblem;
use housekeeping::Certificates;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

/// Connections of agents: one each, and twice that while all of them reconnect. A cell has some 10 000.
const MAX_AGENT_CONNECTIONS: usize = 20_000;
/// Connections at the enrolment port: they last a second, and a fleet enrols over minutes.
const MAX_ENROL_CONNECTIONS: usize = 256;
/// Connections of people and their tools.
const MAX_OPERATOR_CONNECTIONS: usize = 512;
/// Streams of one connection: a session, a rotation, a handful of packages; a person's few calls.
const MAX_STREAMS: u32 = 32;
/// Bytes of headers of one call; ours have some hundred.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// HTTP/2 pings while nothing else is said; the peer must answer within the second number.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// How long calls may go on after the order to stop: exports are cut, sessions end at once.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Why the control plane does not serve, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration.
    #[error("the configuration cannot be used")]
    Config(#[source] ConfigError),
    /// The state directory.
    #[error("the state directory cannot be used")]
    State(#[source] StateError),
    /// The authority or the own identity.
    #[error("the authority or the own identity cannot be read")]
    Store(#[source] StoreProblem),
    /// The own identity could not be renewed.
    #[error("the own identity could not be renewed")]
    Identity(#[source] InitError),
    /// TLS.
    #[error("TLS cannot be set up")]
    Tls(#[source] TlsSetupProblem),
    /// Cedar.
    #[error("the policies cannot be used")]
    Policies(#[source] InvalidPolicies),
    /// The log.
    #[error("the log cannot be opened")]
    Log(#[source] StartError),
    /// The vault.
    #[error("the vault cannot be opened")]
    Vault(#[source] VaultError),
    /// The OpenID provider.
    #[error("the OpenID provider cannot be used")]
    Oidc(#[source] OidcProblem),
    /// A port.
    #[error("{address} cannot be listened on")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Where it listens could not be told.
    #[error("where it listens could not be told")]
    Listening(#[source] ListeningError),
    /// The leader's watch could not be started.
    #[error("the leader's watch could not be started")]
    Watch(#[source] std::io::Error),
    /// The leader failed.
    #[error("the leader failed")]
    Leader(#[source] LeaderError),
    /// The leader's thread panicked, which is a fault of ours.
    #[error("the leader's thread panicked")]
    LeaderPanicked,
    /// The leader did not end in time.
    #[error("the leader did not end within {STOP_WITHIN:?}")]
    LeaderStuck,
    /// A port's server failed.
    #[error("a port's server failed")]
    Port(#[source] tonic::transport::Error),
}

/// A control plane that serves.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub listening: Listening,
    stop: CancellationToken,
    state: StateDir,
    ports: JoinSet<Result<(), tonic::transport::Error>>,
    leader: oneshot::Receiver<std::thread::Result<Result<(), LeaderError>>>,
    _lock: Lock,
}

/// Opens the log and serves. `stop` ends it.
///
/// # Errors
/// When anything does not fit: damaged or restored state is never taken for an empty one.
pub async fn start(state: StateDir, clocks: Clocks, stop: CancellationToken) -> Result<Running, ServeError> {
    let config = Config::read(&state.config()).map_err(ServeError::Config)?;
    let lock = state.lock().map_err(ServeError::State)?;
    listening::forget(&state).map_err(ServeError::Listening)?;
    let authority = Arc::new(load_authority(&state.authority()).map_err(ServeError::Store)?);
    let certificates = Certificates::open(&state, Arc::clone(&authority), clocks.now().wall)?;
    let policies = || Policies::new().map_err(ServeError::Policies);
    let signer = state.log_signer(&config.trust_domain).map_err(ServeError::State)?;
    let permit_key = state.permit_key().map_err(ServeError::State)?;
    let Opened { leader, thread } =
        leader::open(&state.log(), signer, permit_key, policies()?, clocks.clone()).map_err(ServeError::Log)?;
    let (tell, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("leader-watch".to_owned())
        // Whoever waited may have given up; then the process ends anyway.
        .spawn(move || drop(tell.send(thread.join())))
        .map_err(ServeError::Watch)?;
    let vault = Vault::open(&state.vault()).map_err(ServeError::Vault)?;
    let provider = config.oidc.as_ref().map(LoginProvider::new).transpose().map_err(ServeError::Oidc)?;
    let bound = Bound::bind(&config).await?;
    let listening = bound.listening()?;
    let addresses = Arc::new(listening.advertised(&config));
    let shared = Shared {
        leader,
        vault,
        authority,
        policies: Arc::new(policies()?),
        packages: Packages::at(state.playbooks()),
        switchboard: Switchboard::default(),
        provider: provider.map(Arc::new),
        clocks,
        addresses: Arc::clone(&addresses),
        stop: stop.clone(),
    };
    let ports = bound.serve(&shared, &certificates);
    // Both end with `stop`: their feed closes, their token is cancelled.
    drop(tokio::spawn(follow(shared.clone())));
    drop(tokio::spawn(hearing::listen(shared.clone())));
    drop(tokio::spawn(holding::tell(shared.clone())));
    let watched = shared.clone();
    drop(tokio::spawn(certificates.keep(shared)));
    listening.tell(&state, &config, &addresses).map_err(ServeError::Listening)?;
    drop(tokio::spawn(housekeeping::be_watched(watched)));
    Ok(Running { listening, stop, state, ports, leader: ended, _lock: lock })
}

async fn follow(shared: Shared) {
    let stop = shared.stop.clone();
    // Cancel safe: what the switchboard did not tell is told when agents connect again.
    tokio::select! {
        () = stop.cancelled() => {}
        () = Switchboard::follow(shared) => {}
    }
}

impl Running {
    /// Serves until the order to stop, and then ends in order.
    ///
    /// # Errors
    /// When the leader or a port failed.
    pub async fn wait(mut self) -> Result<(), ServeError> {
        // Cancel safe: a token, a channel, a join.
        let early = tokio::select! {
            () = self.stop.cancelled() => None,
            ended = &mut self.leader => Some(leader_result(ended)),
            Some(Ok(Err(error))) = self.ports.join_next() => Some(Err(ServeError::Port(error))),
        };
        self.stop.cancel();
        let all = async { while self.ports.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WITHIN, all).await.is_err() {
            tracing::warn!("calls that were still open are cut");
            self.ports.shutdown().await;
        }
        if let Err(error) = listening::forget(&self.state) {
            tracing::warn!(%error, "where it listened could not be forgotten");
        }
        match early {
            Some(result) => result,
            // With the last service its last address is gone, and it ends.
            None => match tokio::time::timeout(STOP_WITHIN, &mut self.leader).await {
                Ok(ended) => leader_result(ended),
                Err(_elapsed) => Err(ServeError::LeaderStuck),
            },
        }
    }
}

fn leader_result(
    ended: Result<std::thread::Result<Result<(), LeaderError>>, oneshot::error::RecvError>,
) -> Result<(), ServeError> {
    match ended {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(ServeError::Leader(error)),
        Ok(Err(_)) | Err(_) => Err(ServeError::LeaderPanicked),
    }
}

/// The three ports, bound.
struct Bound {
    agents: TcpListener,
    enrol: TcpListener,
    operators: TcpListener,
}

impl Bound {
    async fn bind(config: &Config) -> Result<Self, ServeError> {
        let bind = async |address: SocketAddr| {
            TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })
        };
        Ok(Self {
            agents: bind(config.listen.agents).await?,
            enrol: bind(config.listen.enrol).await?,
            operators: bind(config.listen.operators).await?,
        })
    }

    fn listening(&self) -> Result<Listening, ServeError> {
        let address = |listener: &TcpListener| {
            listener.local_addr().map_err(|source| ServeError::Listening(ListeningError::Address(source)))
        };
        Ok(Listening {
            agents: address(&self.agents)?,
            enrol: address(&self.enrol)?,
            operators: address(&self.operators)?,
        })
    }

    fn serve(self, shared: &Shared, certificates: &Certificates) -> JoinSet<Result<(), tonic::transport::Error>> {
        let mut ports = JoinSet::new();
        let stop = &shared.stop;
        let agents = listener::serve(self.agents, certificates.mutual(), MAX_AGENT_CONNECTIONS, stop.clone());
        let service = AgentsService::server(shared.clone());
        ports.spawn(port().add_service(service).serve_with_incoming_shutdown(agents, stop.clone().cancelled_owned()));
        let enrol = listener::serve(self.enrol, certificates.enrolment(), MAX_ENROL_CONNECTIONS, stop.clone());
        let service = EnrolmentService::server(shared.clone());
        let served = port().add_service(service).add_service(LoginService::server(shared.clone()));
        ports.spawn(served.serve_with_incoming_shutdown(enrol, stop.clone().cancelled_owned()));
        let operators = listener::serve(self.operators, certificates.mutual(), MAX_OPERATOR_CONNECTIONS, stop.clone());
        let service = OperatorsService::server(shared.clone());
        let served = port().add_service(service);
        ports.spawn(served.serve_with_incoming_shutdown(operators, stop.clone().cancelled_owned()));
        ports
    }
}

fn port() -> Server {
    Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_keepalive_interval(Some(KEEP_ALIVE.0))
        .http2_keepalive_timeout(Some(KEEP_ALIVE.1))
}
