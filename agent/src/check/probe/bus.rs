//! The one connection to systemd on the system bus, shared by all unit checks.
//!
//! A keeper task owns the connection: it connects, subscribes, publishes what stands on a `watch` channel, and
//! begins anew when the bus or systemd goes away. It starts with the first unit check and ends with the
//! schedule. No call that changes anything is made here.

use crate::check::reason::Reason;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tokio_util::task::AbortOnDropHandle;
use zbus::message::Type;
use zbus::{Connection, MatchRule, MessageStream};

pub(super) const SYSTEMD: &str = "org.freedesktop.systemd1";
pub(super) const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
pub(super) const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// Between two attempts to connect: a host without a bus pays one failed connect(2) in this time.
const RECONNECT: Duration = Duration::from_secs(2);

/// For the handshake and the subscription; systemd answers within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Signals of the manager that wait. The keeper only takes them from the queue, so it never fills.
const MAX_SIGNALS: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not 0");

/// Which bus systemd is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusAddress {
    /// The system bus, where D-Bus itself looks for it.
    System,
    /// A D-Bus address, such as `unix:path=/run/dbus/system_bus_socket`.
    At(String),
}

/// What stands.
#[derive(Clone)]
pub(super) enum Link {
    /// The first attempt is on its way.
    Connecting,
    /// Units can be asked for.
    Up(Session),
    /// They cannot, and why.
    Down(Reason),
}

/// One connection.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) connection: Connection,
    /// Counts connections: a subscription belongs to one of them.
    pub(super) serial: u64,
}

/// Hands out the link; the keeper starts when somebody first wants it.
#[derive(Clone)]
pub(in crate::check) struct Bus {
    address: BusAddress,
    keeper: Arc<OnceLock<(watch::Receiver<Link>, AbortOnDropHandle<()>)>>,
}

impl Bus {
    pub(super) fn new(address: BusAddress) -> Self {
        Self { address, keeper: Arc::new(OnceLock::new()) }
    }

    /// The link, now and whenever it changes or systemd has reloaded. Call it inside a tokio runtime.
    pub(super) fn link(&self) -> watch::Receiver<Link> {
        let (link, _) = self.keeper.get_or_init(|| {
            let (published, link) = watch::channel(Link::Connecting);
            (link, AbortOnDropHandle::new(tokio::spawn(keep(self.address.clone(), published))))
        });
        link.clone()
    }
}

#[derive(Debug, thiserror::Error)]
enum NoLink {
    #[error("the system bus cannot be reached")]
    Bus(#[source] zbus::Error),
    #[error("systemd does not answer on the bus")]
    Systemd(#[source] zbus::Error),
    #[error("the bus does not answer within {CONNECT_TIMEOUT:?}")]
    TimedOut,
}

async fn keep(address: BusAddress, published: watch::Sender<Link>) {
    let mut serial = 0;
    loop {
        serial += 1;
        let attempt = tokio::time::timeout(CONNECT_TIMEOUT, Box::pin(connect(&address))).await;
        let down = match attempt.unwrap_or(Err(NoLink::TimedOut)) {
            Ok((connection, signals)) => {
                published.send_replace(Link::Up(Session { connection: connection.clone(), serial }));
                attend(&connection, signals, &published).await;
                Reason::new("systemd: the system bus went away")
            }
            Err(error) => Reason::of_error("systemd", &error),
        };
        published.send_if_modified(|link| match link {
            // Nothing new to say, nobody to wake.
            Link::Down(before) if *before == down => false,
            Link::Connecting | Link::Up(_) | Link::Down(_) => {
                *link = Link::Down(down);
                true
            }
        });
        tokio::time::sleep(RECONNECT).await;
    }
}

/// The manager's own signals.
struct Signals {
    reloading: MessageStream,
    owner: MessageStream,
}

async fn connect(address: &BusAddress) -> Result<(Connection, Signals), NoLink> {
    let builder = match address {
        BusAddress::System => zbus::connection::Builder::system(),
        BusAddress::At(address) => zbus::connection::Builder::address(address.as_str()),
    };
    let connection = builder.build().await.map_err(NoLink::Bus)?;
    let reloading = signals(&connection, MANAGER_PATH, MANAGER, "Reloading").await.map_err(NoLink::Bus)?;
    let owner = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender("org.freedesktop.DBus")
        .interface("org.freedesktop.DBus")
        .member("NameOwnerChanged")
        .arg(0, SYSTEMD)
        .build()
        .map_err(NoLink::Bus)?;
    let owner = MessageStream::for_match_rule(owner, &connection, Some(MAX_SIGNALS)).await.map_err(NoLink::Bus)?;
    // Without a subscriber systemd sends no signals at all.
    connection
        .call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER), "Subscribe", &())
        .await
        .map_err(NoLink::Systemd)?;
    Ok((connection, Signals { reloading, owner }))
}

/// Signals of one object of systemd.
pub(super) async fn signals(
    connection: &Connection,
    path: &str,
    interface: &str,
    member: &str,
) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(SYSTEMD)
        .path(path)
        .interface(interface)
        .member(member)
        .build()?;
    MessageStream::for_match_rule(rule, connection, Some(MAX_SIGNALS)).await
}

/// Returns when the connection is of no more use.
async fn attend(connection: &Connection, mut signals: Signals, published: &watch::Sender<Link>) {
    loop {
        tokio::select! {
            () = connection.closed() => return,
            // Another process is systemd now: it knows nothing of our subscription.
            _ = signals.owner.next() => return,
            reloading = signals.reloading.next() => match reloading {
                // Wakes every unit check: definitions may have changed.
                Some(Ok(_)) => published.send_modify(|_| ()),
                Some(Err(_)) | None => return,
            },
        }
    }
}
