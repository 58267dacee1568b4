//! A systemd for tests: the part of its D-Bus interface that the agent uses, over a socket pair or a private bus.
//!
//! It keeps one unit's state and has switches for what can go wrong. Real messages, real encoding.

use super::systemd::SystemdLink;
use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use zbus::connection::Builder;
use zbus::message::{Message, Type};
use zbus::{Connection, Guid, MessageStream, ObjectPath, Variant};

pub(super) const UNIT_PATH: &str = "/org/freedesktop/systemd1/unit/web_2eservice";
const JOB_PATH: &str = "/org/freedesktop/systemd1/job/7";
const OTHER_JOB_PATH: &str = "/org/freedesktop/systemd1/job/8";

/// What a job does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    /// Its work, and says so after a stranger's job ended too.
    Ends,
    /// Its work, and says nothing.
    EndsUnheard,
    /// Fails; the unit is failed.
    Fails,
    /// Is replaced by another before it began.
    IsCancelled,
    /// Is refused when it is asked for.
    IsRefused,
    /// Stays queued.
    Stays,
}

pub(super) struct Unit {
    pub(super) id: &'static str,
    pub(super) fragment: &'static str,
    pub(super) load: &'static str,
    pub(super) active: &'static str,
    /// Grows with every change of state; stands for the monotonic clock.
    pub(super) clock: u64,
    pub(super) invocation: u8,
    pub(super) active_enter: u64,
    pub(super) inactive_enter: u64,
    pub(super) main_pid: u32,
    pub(super) restarts: u32,
    pub(super) queued: u32,
    pub(super) job: Job,
    /// Every method that changes something, in order.
    pub(super) asked: Vec<String>,
}

impl Unit {
    pub(super) const fn running() -> Self {
        Self {
            id: "web.service",
            fragment: "/usr/lib/systemd/system/web.service",
            load: "loaded",
            active: "active",
            clock: 100,
            invocation: 1,
            active_enter: 100,
            inactive_enter: 0,
            main_pid: 0,
            restarts: 3,
            queued: 0,
            job: Job::Ends,
            asked: Vec::new(),
        }
    }

    pub(super) fn start(&mut self) {
        self.clock += 1;
        self.invocation += 1;
        self.active_enter = self.clock;
        self.active = "active";
    }

    pub(super) fn stop(&mut self) {
        self.clock += 1;
        self.inactive_enter = self.clock;
        self.active = "inactive";
    }

    fn do_job(&mut self, method: &str) {
        match method {
            "StartUnit" => self.start(),
            "StopUnit" => self.stop(),
            "RestartUnit" => {
                self.stop();
                self.start();
            }
            _ => self.clock += 1,
        }
    }

    fn properties(&self) -> HashMap<&'static str, Variant<'static>> {
        let job = ObjectPath::try_from("/").expect("a path");
        HashMap::from([
            ("Id", Variant::from(self.id)),
            ("FragmentPath", Variant::from(self.fragment)),
            ("LoadState", Variant::from(self.load)),
            ("ActiveState", Variant::from(self.active)),
            ("InvocationID", Variant::from(vec![self.invocation; 16])),
            ("ActiveEnterTimestamp", Variant::from(self.active_enter * 1_000)),
            ("ActiveExitTimestamp", Variant::from(0_u64)),
            ("InactiveEnterTimestamp", Variant::from(self.inactive_enter * 1_000)),
            ("InactiveExitTimestamp", Variant::from(self.active_enter * 1_000)),
            ("ActiveEnterTimestampMonotonic", Variant::from(self.active_enter)),
            ("InactiveEnterTimestampMonotonic", Variant::from(self.inactive_enter)),
            ("StateChangeTimestampMonotonic", Variant::from(self.clock)),
            ("Job", Variant::from((self.queued, job))),
        ])
    }
}

/// A running fake.
pub(super) struct FakeSystemd {
    pub(super) link: SystemdLink,
    unit: Arc<Mutex<Unit>>,
    server: Connection,
    task: JoinHandle<()>,
}

impl Drop for FakeSystemd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeSystemd {
    /// Without a bus in between.
    pub(super) async fn with(unit: Unit) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let server = Builder::unix_stream(theirs).server(Guid::generate()).p2p().build();
        let client = Builder::unix_stream(ours).p2p().build();
        let (server, client) = tokio::join!(server, client);
        Self::between(unit, server.expect("server"), client.expect("client")).await
    }

    /// On a message bus, under systemd's name.
    pub(super) async fn on_bus(unit: Unit, address: &str) -> Self {
        let server = Builder::address(address).name("org.freedesktop.systemd1").build().await.expect("server");
        let client = Builder::address(address).build().await.expect("client");
        Self::between(unit, server, client).await
    }

    async fn between(unit: Unit, server: Connection, client: Connection) -> Self {
        let unit = Arc::new(Mutex::new(unit));
        let task = tokio::spawn(serve(MessageStream::from(&server), server.clone(), Arc::clone(&unit)));
        let link = SystemdLink::over(client).await.expect("a link");
        Self { link, unit, server, task }
    }

    /// Looks at the unit, or changes it behind everybody's back.
    pub(super) fn unit<T>(&self, with: impl FnOnce(&mut Unit) -> T) -> T {
        with(&mut self.unit.lock().expect("no test panics with it"))
    }

    /// Tells that the unit's properties changed.
    pub(super) async fn tell(&self) {
        let body = ("org.freedesktop.systemd1.Unit", HashMap::<&str, Variant<'_>>::new(), Vec::<&str>::new());
        emit(&self.server, UNIT_PATH, "org.freedesktop.DBus.Properties", "PropertiesChanged", &body).await;
    }

    /// The connection breaks.
    pub(super) async fn vanish(&self) {
        self.server.clone().close().await.expect("close");
    }
}

async fn emit<B>(server: &Connection, path: &str, interface: &str, member: &str, body: &B)
where
    B: serde::Serialize + zbus::DynamicType,
{
    server.emit_signal(None::<&str>, path, interface, member, body).await.expect("a signal");
}

async fn serve(mut messages: MessageStream, server: Connection, unit: Arc<Mutex<Unit>>) {
    while let Some(Ok(message)) = messages.next().await {
        if message.message_type() == Type::MethodCall {
            answer(&message, &server, &unit).await;
        }
    }
}

async fn answer(message: &Message, server: &Connection, unit: &Mutex<Unit>) {
    let header = message.header();
    let member = header.member().expect("a member").to_string();
    let unit = || unit.lock().expect("no test panics with it");
    match member.as_str() {
        "Subscribe" => server.reply(&header, &()).await.expect("reply"),
        "LoadUnit" => {
            let path = ObjectPath::try_from(UNIT_PATH).expect("a path");
            server.reply(&header, &path).await.expect("reply");
        }
        "GetAll" => {
            let properties = unit().properties();
            server.reply(&header, &properties).await.expect("reply");
        }
        "Get" => {
            let (_, name): (String, String) = message.body().deserialize().expect("two strings");
            let number = match name.as_str() {
                "MainPID" => unit().main_pid,
                _ => unit().restarts,
            };
            server.reply(&header, &Variant::from(number)).await.expect("reply");
        }
        method => {
            let (name, mode): (String, String) = message.body().deserialize().expect("two strings");
            unit().asked.push(format!("{method} {name} {mode}"));
            let job = unit().job;
            run_job(job, method, &header, server, &unit).await;
        }
    }
}

async fn run_job<'u>(
    job: Job,
    method: &str,
    header: &zbus::message::Header<'_>,
    server: &Connection,
    unit: &impl Fn() -> std::sync::MutexGuard<'u, Unit>,
) {
    if job == Job::IsRefused {
        let refused = server.reply_error(header, "org.freedesktop.systemd1.JobTypeNotApplicable", &("not applicable",));
        return refused.await.expect("reply");
    }
    let path = ObjectPath::try_from(JOB_PATH).expect("a path");
    server.reply(header, &path).await.expect("reply");
    let result = match job {
        Job::Ends => {
            unit().do_job(method);
            "done"
        }
        Job::EndsUnheard => return unit().do_job(method),
        Job::Fails => {
            let mut unit = unit();
            unit.stop();
            unit.active = "failed";
            "failed"
        }
        Job::IsCancelled => "canceled",
        Job::Stays => {
            unit().queued = 7;
            return;
        }
        Job::IsRefused => return,
    };
    tell_job_removed(server, result).await;
}

/// Says that a stranger's job failed, and that the unit's ended with `result`.
pub(super) async fn tell_job_removed(sender: &Connection, result: &str) {
    let manager = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "JobRemoved");
    for (number, path, result) in [(8_u32, OTHER_JOB_PATH, "failed"), (7, JOB_PATH, result)] {
        let path = ObjectPath::try_from(path).expect("a path");
        emit(sender, manager.0, manager.1, manager.2, &(number, path, "web.service", result)).await;
    }
}
