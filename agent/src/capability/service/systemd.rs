//! systemd units over D-Bus.
//!
//! One connection per run, made when the run's labels are opened. Only four methods change
//! anything: StartUnit, StopUnit, RestartUnit and ReloadUnit, each with the canonical name that was
//! resolved at the opening. A job's end is awaited by its signal; signals count only when
//! they come from systemd itself, since anybody on the system bus may send one of the same name.

use super::unit_state::UnitState;
use super::{LOOK_WITHIN, Observed, tail};
use crate::capability::process::ProcessRef;
use crate::config::UnitName;
use fettle_model::playbook::Action;
use fettle_sandbox::call::{ActError, Activity, ReadError, ServiceStatus};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_stream::StreamExt as _;
use zbus::message::Type as MessageType;
use zbus::names::OwnedUniqueName;
use zbus::{Connection, DynamicType, MatchRule, Message, MessageStream, OwnedObjectPath, OwnedVariant};

/// Where the system bus listens. Fixed: an environment variable must not lead root elsewhere.
const BUS: &str = "unix:path=/run/dbus/system_bus_socket";
const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// Signals kept while we do something else. Every unit's jobs arrive here, a few hundred at a boot.
const SIGNALS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(511);

/// A call that has no good answer.
#[derive(Debug)]
enum BusError {
    /// systemd answered with an error; it did nothing.
    Refused(String),
    /// No answer came; it may have done something.
    NoAnswer(String),
}

impl From<BusError> for ReadError {
    fn from(error: BusError) -> Self {
        match error {
            BusError::Refused(why) | BusError::NoAnswer(why) => Self::Unavailable(why),
        }
    }
}

/// A connection to systemd.
#[derive(Debug, Clone)]
pub(in crate::capability) struct SystemdLink {
    connection: Connection,
    /// systemd's own name on the bus; `None` where there is no bus in between.
    systemd: Option<OwnedUniqueName>,
}

impl SystemdLink {
    /// Connects to systemd on the system bus.
    pub(in crate::capability) async fn connect() -> Result<Self, String> {
        let building = zbus::connection::Builder::address(BUS).build();
        let connection = timeout(LOOK_WITHIN, building)
            .await
            .map_err(|_| "the system bus does not answer".to_owned())?
            .map_err(|error| format!("no connection to the system bus: {error}"))?;
        Self::over(connection).await
    }

    /// Uses a connection: to the system bus, or to systemd itself.
    pub(in crate::capability) async fn over(connection: Connection) -> Result<Self, String> {
        let mut link = Self { connection, systemd: None };
        let in_words = |error| match error {
            BusError::Refused(why) | BusError::NoAnswer(why) => why,
        };
        if link.connection.is_bus() {
            let asked = link.connection.call_method(
                Some("org.freedesktop.DBus"),
                "/org/freedesktop/DBus",
                Some("org.freedesktop.DBus"),
                "GetNameOwner",
                &SYSTEMD,
            );
            let owner = answered(timeout(LOOK_WITHIN, asked).await).map_err(in_words)?;
            link.systemd = Some(decoded(&owner).map_err(in_words)?);
        }
        match link.ask(MANAGER_PATH, MANAGER, "Subscribe", &()).await {
            // Refused means that this connection is subscribed already.
            Ok(_) | Err(BusError::Refused(_)) => Ok(link),
            Err(BusError::NoAnswer(why)) => Err(why),
        }
    }

    /// Resolves a unit: loads it, and insists that the name is its canonical one.
    pub(in crate::capability) async fn open(&self, unit: &UnitName) -> Result<UnitHandle, String> {
        let in_words = |error| match error {
            BusError::Refused(why) | BusError::NoAnswer(why) => why,
        };
        let loaded = self.ask(MANAGER_PATH, MANAGER, "LoadUnit", &unit.as_str()).await.map_err(in_words)?;
        let path = decoded(&loaded).map_err(in_words)?;
        let mut handle = UnitHandle { link: self.clone(), unit: unit.clone(), path, fragment: String::new() };
        let state = handle.read().await.map_err(|error| super::in_words(&error))?;
        if state.load != "loaded" {
            return Err(format!("systemd has not loaded {unit}: it is {}", state.load));
        }
        if state.id != unit.as_str() {
            return Err(format!("{unit} is an alias; name {} in the agent's configuration", state.id));
        }
        if state.main_pid == std::process::id() {
            return Err(format!("{unit} is this agent itself"));
        }
        handle.fragment = state.fragment;
        Ok(handle)
    }

    async fn ask<B>(&self, path: &str, interface: &str, method: &str, body: &B) -> Result<Message, BusError>
    where
        B: serde::Serialize + DynamicType,
    {
        let destination = self.systemd.as_ref().map_or(SYSTEMD, |name| name.as_str());
        let asked = self.connection.call_method(Some(destination), path, Some(interface), method, body);
        answered(timeout(LOOK_WITHIN, asked).await)
    }

    async fn signals(&self, interface: &'static str, member: &'static str) -> Result<MessageStream, BusError> {
        let unmade = |error: zbus::Error| BusError::Refused(error.to_string());
        let mut rule = MatchRule::builder().msg_type(MessageType::Signal).interface(interface).member(member);
        if let Some(systemd) = &self.systemd {
            rule = rule.sender(systemd.as_str().to_owned());
        }
        let rule = rule.build().map_err(unmade)?;
        let stream = MessageStream::for_match_rule(rule, &self.connection, Some(SIGNALS));
        match timeout(LOOK_WITHIN, stream).await {
            Ok(stream) => stream.map_err(unmade),
            Err(_elapsed) => Err(BusError::Refused("the bus does not take a subscription".to_owned())),
        }
    }
}

fn answered(answer: Result<zbus::Result<Message>, tokio::time::error::Elapsed>) -> Result<Message, BusError> {
    match answer {
        Ok(Ok(message)) => Ok(message),
        Ok(Err(zbus::Error::MethodError(name, detail, _))) => {
            Err(BusError::Refused(detail.unwrap_or_else(|| name.to_string())))
        }
        Ok(Err(zbus::Error::FDO(error))) => Err(BusError::Refused(error.to_string())),
        Ok(Err(error)) => Err(BusError::NoAnswer(error.to_string())),
        Err(_elapsed) => Err(BusError::NoAnswer("systemd does not answer".to_owned())),
    }
}

fn decoded<T: serde::de::DeserializeOwned + zbus::Type>(message: &Message) -> Result<T, BusError> {
    message.body().deserialize_ignore_signature().map_err(|error| BusError::NoAnswer(error.to_string()))
}

/// A unit resolved to its canonical name and object.
#[derive(Debug)]
pub(in crate::capability) struct UnitHandle {
    link: SystemdLink,
    unit: UnitName,
    path: OwnedObjectPath,
    fragment: String,
}

impl UnitHandle {
    async fn read(&self) -> Result<UnitState, ReadError> {
        let all = self.link.ask(self.path.as_str(), PROPERTIES, "GetAll", &UNIT).await?;
        let unit: HashMap<String, OwnedVariant> = decoded(&all)?;
        let main_pid = self.service_number("MainPID").await?;
        let restarts = self.service_number("NRestarts").await?;
        UnitState::read(unit, main_pid, restarts)
    }

    async fn service_number(&self, name: &str) -> Result<u32, ReadError> {
        let answer = self.link.ask(self.path.as_str(), PROPERTIES, "Get", &(SERVICE, name)).await?;
        let value: OwnedVariant = decoded(&answer)?;
        u32::try_from(value).map_err(|_| ReadError::Malformed(format!("systemd gives no usable {name}")))
    }

    /// Reads the unit and insists that it is the one that was opened.
    async fn state(&self) -> Result<UnitState, ReadError> {
        let state = self.read().await?;
        if state.id == self.unit.as_str() && state.fragment == self.fragment && state.load == "loaded" {
            Ok(state)
        } else {
            Err(ReadError::Unavailable("the unit was replaced since the run began".to_owned()))
        }
    }

    pub(super) async fn observe(&self) -> Result<Observed, ReadError> {
        let state = self.state().await?;
        let main = match state.main_pid {
            0 => None,
            pid => ProcessRef::of(pid).map_err(|error| ReadError::Unavailable(error.to_string()))?,
        };
        state.observed(now_micros(), main)
    }

    pub(super) async fn tail(&self, lines: u16) -> Result<Vec<String>, ReadError> {
        tail::of_unit(&self.unit, lines).await
    }

    pub(super) async fn wait_for(&self, activity: Activity, within: Duration) -> Result<ServiceStatus, ReadError> {
        let deadline = Instant::now() + within;
        let mut changes = self.link.signals(PROPERTIES, "PropertiesChanged").await?;
        loop {
            // After the subscription, so that no change falls between look and wait.
            let status = self.observe().await?.status;
            if status.activity == activity {
                return Ok(status);
            }
            loop {
                match timeout_at(deadline, changes.next()).await {
                    Ok(Some(Ok(signal))) if self.is_about(&signal) => break,
                    Ok(Some(Ok(_))) => {}
                    Ok(Some(Err(_)) | None) => {
                        return Err(ReadError::Unavailable("the connection to systemd is lost".to_owned()));
                    }
                    Err(_elapsed) => return Err(ReadError::Timeout),
                }
            }
        }
    }

    fn is_about(&self, signal: &Message) -> bool {
        signal.header().path().is_some_and(|path| path.as_str() == self.path.as_str())
    }

    pub(super) async fn act(&self, action: Action, within: Duration) -> Result<(), ActError> {
        let method = match action {
            Action::Start => "StartUnit",
            Action::Stop => "StopUnit",
            Action::Restart => "RestartUnit",
            // Never ReloadOrRestartUnit: who allows a reload has not allowed a restart.
            Action::Reload => "ReloadUnit",
            Action::Activate | Action::Set => {
                return Err(ActError::Denied(format!("{} is no action of a service", action.as_str())));
            }
        };
        let deadline = Instant::now() + within;
        let mut removed = self.link.signals(MANAGER, "JobRemoved").await.map_err(nothing_done)?;
        // "replace": a queued job of the opposite kind gives way, as with `systemctl`.
        let queued = self.link.ask(MANAGER_PATH, MANAGER, method, &(self.unit.as_str(), "replace")).await;
        let job: OwnedObjectPath = match queued.and_then(|answer| decoded(&answer)) {
            Ok(job) => job,
            Err(BusError::Refused(why)) => return Err(ActError::Failed(why)),
            Err(BusError::NoAnswer(why)) => return Err(ActError::Indeterminate(why)),
        };
        loop {
            match timeout_at(deadline, removed.next()).await {
                Ok(Some(Ok(signal))) => {
                    if let Some(result) = result_of(&signal, &job) {
                        return self.ended(&result).await;
                    }
                }
                Ok(Some(Err(_)) | None) => {
                    return Err(ActError::Indeterminate("the connection to systemd was lost".to_owned()));
                }
                Err(_elapsed) => return Err(ActError::Indeterminate("systemd's job has not ended".to_owned())),
            }
        }
    }

    /// What a job's result means; the words are those of systemd's D-Bus interface.
    async fn ended(&self, result: &str) -> Result<(), ActError> {
        match result {
            "done" => Ok(()),
            "failed" | "dependency" | "skipped" | "invalid" | "assert" | "unsupported" | "once" | "frozen" => {
                let now = match self.observe().await {
                    Ok(now) => format!("the unit is {}", super::activity_text(now.status.activity)),
                    Err(error) => format!("the unit cannot be seen: {}", super::in_words(&error)),
                };
                Err(ActError::Failed(format!("systemd's job ended as {result:?}; {now}")))
            }
            // Somebody else's job took its place, or systemd gave up waiting: it may still come.
            other => Err(ActError::Indeterminate(format!("systemd's job ended as {other:?}"))),
        }
    }

    pub(super) async fn settle(&self, within: Duration) -> Result<(), String> {
        let in_words = |error: BusError| super::in_words(&error.into());
        let deadline = Instant::now() + within;
        let mut removed = self.link.signals(MANAGER, "JobRemoved").await.map_err(in_words)?;
        loop {
            let state = self.state().await.map_err(|error| super::in_words(&error))?;
            if state.job == 0 {
                return Ok(());
            }
            match timeout_at(deadline, removed.next()).await {
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(_)) | None) => return Err("the connection to systemd is lost".to_owned()),
                Err(_elapsed) => return Err("a job of the unit is still at work".to_owned()),
            }
        }
    }
}

fn nothing_done(error: BusError) -> ActError {
    match error {
        BusError::Refused(why) | BusError::NoAnswer(why) => ActError::Failed(why),
    }
}

/// The result in a JobRemoved signal (id, job, unit, result), if it is about this job.
fn result_of(signal: &Message, job: &OwnedObjectPath) -> Option<String> {
    let body = signal.body();
    let (_, ended, _, result): (u32, OwnedObjectPath, String, String) = body.deserialize().ok()?;
    (&ended == job).then_some(result)
}

#[expect(clippy::disallowed_methods, reason = "the rim: systemd gives ages on the wall clock")]
fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
