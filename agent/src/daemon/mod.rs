//! The daemon: the agent's network and its checks.
//!
//! Started by the effector with its end of a socket pair as standard input; holds no root and no WASM.
//! One loop owns everything: what the effector orders, what checks notice, what the link brings. It
//! signs nothing and decides nothing: transitions go to the effector, and what the control plane
//! published goes there unverified.
//!
//! | task | gives to the loop |
//! |---|---|
//! | reader of the pipe | [`ToDaemon`] |
//! | the schedule's own tasks | [`crate::check::Noticed`] |
//! | [`link`] | [`link::LinkEvent`] |
//! | one per probe that the effector asked for | the answer |

pub mod link;
mod reconnect;

use crate::check::{BusAddress, Noticed, Schedule};
use crate::ipc::daemon::{ToDaemon, ToEffector};
use crate::ipc::frame::{FrameError, MAX_DAEMON_FRAME, receive, send};
use fettle_model::time::{UnixMillis, whole_millis};
use link::{LinkCommand, LinkEvent};
use std::os::fd::AsFd as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Orders of the effector that wait: it sends a handful at a time, an outbox page of 64 at most.
const ORDERS: usize = 128;
/// Probes that the effector may have asked for at once: one run asks for one at a time.
const MAX_PROBES: usize = 16;

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Standard input is no pipe to an effector.
    #[error("standard input is no pipe to an effector: the daemon is started by `fettle-agent run`")]
    NoPipe(#[source] std::io::Error),
    /// The effector speaks nonsense, or the pipe broke.
    #[error("the effector cannot be understood")]
    Pipe(#[source] FrameError),
    /// The first message was another one.
    #[error("the effector did not begin with a start message")]
    NotStarted,
    /// The kernel refused to tie this process to its parent.
    #[error("the daemon could not be tied to the effector")]
    Tie(#[source] rustix::io::Errno),
}

/// The wall clock, read at this rim for checks and for certificates.
#[expect(clippy::disallowed_methods, reason = "the rim: the daemon reads the clock here for everything below it")]
pub(crate) fn wall_clock() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    UnixMillis(whole_millis(since.unwrap_or_default()))
}

/// Serves the effector on standard input until it ends.
///
/// # Errors
/// When the effector cannot be understood.
pub async fn serve() -> Result<(), DaemonError> {
    // Only the name in lists of processes: the program was started through a link.
    rustix::thread::set_name(c"fettle-daemon").ok();
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).map_err(DaemonError::Tie)?;
    let (mut from_effector, to_effector) = pipe().map_err(DaemonError::NoPipe)?.into_split();
    let ToDaemon::Start(start) = receive(&mut from_effector, MAX_DAEMON_FRAME).await.map_err(DaemonError::Pipe)? else {
        return Err(DaemonError::NotStarted);
    };
    let schedule = Schedule::new(start.commands.clone(), BusAddress::System, wall_clock);
    let (orders, inbox) = mpsc::channel(ORDERS);
    let (link, events) = link::start(*start);
    let mut tasks = JoinSet::new();
    tasks.spawn(read(from_effector, orders));
    let mut daemon = Daemon { to_effector, schedule, link, probes: JoinSet::new() };
    daemon.run(inbox, events).await
}

fn pipe() -> std::io::Result<UnixStream> {
    let pipe = std::os::unix::net::UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    pipe.set_nonblocking(true)?;
    UnixStream::from_std(pipe)
}

/// Frames are read whole by a task of their own: a receive is not cancel safe.
async fn read(mut pipe: OwnedReadHalf, orders: mpsc::Sender<Result<ToDaemon, FrameError>>) {
    loop {
        let frame = receive(&mut pipe, MAX_DAEMON_FRAME).await;
        let last = frame.is_err();
        if orders.send(frame).await.is_err() || last {
            return;
        }
    }
}

/// What happened.
enum Event {
    Ordered(Result<ToDaemon, FrameError>),
    Noticed(Noticed),
    Link(LinkEvent),
    Probed(ToEffector),
}

/// Whether the loop goes on.
enum Flow {
    On,
    End,
}

struct Daemon {
    to_effector: OwnedWriteHalf,
    schedule: Schedule,
    link: mpsc::Sender<LinkCommand>,
    probes: JoinSet<ToEffector>,
}

impl Daemon {
    async fn run(
        &mut self,
        mut orders: mpsc::Receiver<Result<ToDaemon, FrameError>>,
        mut events: mpsc::Receiver<LinkEvent>,
    ) -> Result<(), DaemonError> {
        loop {
            // Every branch is cancel safe: channels and the schedule keep what was not taken.
            let event = tokio::select! {
                order = orders.recv() => Event::Ordered(order.unwrap_or(Err(FrameError::Closed))),
                noticed = self.schedule.next() => Event::Noticed(noticed),
                Some(event) = events.recv() => Event::Link(event),
                Some(Ok(answer)) = self.probes.join_next() => Event::Probed(answer),
            };
            match self.handle(event).await? {
                Flow::On => {}
                Flow::End => return Ok(()),
            }
        }
    }

    async fn handle(&mut self, event: Event) -> Result<Flow, DaemonError> {
        match event {
            Event::Ordered(Ok(order)) => return self.obey(order).await,
            // The effector is gone; so is the reason for this process.
            Event::Ordered(Err(FrameError::Closed)) => return Ok(Flow::End),
            Event::Ordered(Err(error)) => return Err(DaemonError::Pipe(error)),
            Event::Noticed(noticed) => {
                if let Some(change) = noticed.change {
                    let crate::check::Change { check, from, to, at, reason } = change;
                    self.tell(&ToEffector::Changed { check, from, to, at, reason }).await?;
                }
            }
            Event::Link(event) => self.tell(&event.into_message()).await?,
            Event::Probed(answer) => self.tell(&answer).await?,
        }
        Ok(Flow::On)
    }

    async fn obey(&mut self, order: ToDaemon) -> Result<Flow, DaemonError> {
        match order {
            ToDaemon::Start(_) => return Err(DaemonError::NotStarted),
            ToDaemon::Stop => return Ok(Flow::End),
            ToDaemon::Checks { checks } => self.schedule.reconfigure(checks),
            ToDaemon::Probe { ask, check } => {
                // Beyond the bound the oldest answers are waited for first.
                while self.probes.len() >= MAX_PROBES {
                    if let Some(Ok(answer)) = self.probes.join_next().await {
                        self.tell(&answer).await?;
                    }
                }
                let probe = self.schedule.probe_now(&check);
                self.probes.spawn(async move {
                    let verdict = probe.await;
                    ToEffector::Probed { ask, status: verdict.status, reason: verdict.reason }
                });
            }
            ToDaemon::JoinToken { token } => self.order(LinkCommand::JoinToken(token)).await,
            ToDaemon::Introduce(introduction) => self.order(LinkCommand::Introduce(introduction)).await,
            ToDaemon::Send { sequence, envelope } => self.order(LinkCommand::Send { sequence, envelope }).await,
            ToDaemon::Fetch { digest } => self.order(LinkCommand::Fetch { digest }).await,
            ToDaemon::RecordKeyProof { ask: _, signature } => self.order(LinkCommand::RecordKeyProof(signature)).await,
            ToDaemon::Verified { tree_size, sequence, configuration } => {
                self.order(LinkCommand::Verified { tree_size, sequence, configuration }).await;
            }
        }
        Ok(Flow::On)
    }

    async fn order(&self, command: LinkCommand) {
        // The link's task ends only with this process.
        drop(self.link.send(command).await);
    }

    async fn tell(&mut self, message: &ToEffector) -> Result<(), DaemonError> {
        match send(&mut self.to_effector, message, MAX_DAEMON_FRAME).await {
            Ok(()) => Ok(()),
            Err(error) => Err(DaemonError::Pipe(error)),
        }
    }
}
