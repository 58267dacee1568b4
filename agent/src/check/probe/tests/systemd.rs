//! Unit checks over a private D-Bus daemon with a stand-in for systemd on it. The real systemd is met by the
//! end-to-end tests. Where no `dbus-daemon` is installed, only its absence is tested.

use super::*;
use fettle_model::check::HostValue;
use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_stream::StreamExt;
use zbus::{Connection, Message, MessageStream, OwnedObjectPath, Variant};

const PATH: &str = "/org/freedesktop/systemd1/unit/web_2eservice";

fn configuration(socket: &Path) -> String {
    format!(
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"
          \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">
         <busconfig>
           <type>session</type><auth>EXTERNAL</auth><listen>unix:path={}</listen>
           <policy context=\"default\">
             <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/>
             <allow own=\"*\"/><allow user=\"*\"/>
           </policy>
         </busconfig>",
        socket.display()
    )
}

/// A bus of our own in the folder; `None` where there is no `dbus-daemon`.
async fn start_bus(folder: &Path) -> Option<Child> {
    let config = folder.join("bus.conf");
    std::fs::write(&config, configuration(&folder.join("bus"))).expect("written");
    let started = Command::new("dbus-daemon")
        .arg(format!("--config-file={}", config.display()))
        .args(["--nofork", "--nopidfile", "--print-address=1"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut daemon = match started {
        Ok(daemon) => daemon,
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
            return None;
        }
    };
    let stdout = daemon.stdout.take().expect("piped");
    let address = within(BufReader::new(stdout).lines().next_line()).await.expect("read");
    assert!(address.is_some(), "the bus listens");
    Some(daemon)
}

/// Load, active and sub state of the one unit that there is.
type State = (&'static str, &'static str, &'static str);

/// Answers as systemd does on its bus name.
struct StandIn {
    connection: Connection,
    state: watch::Sender<State>,
}

impl StandIn {
    async fn start(address: &str, state: State) -> Self {
        let connection = zbus::connection::Builder::address(address).build().await.expect("connected");
        let (state, current) = watch::channel(state);
        let calls = MessageStream::from(&connection);
        tokio::spawn(answer_calls(connection.clone(), calls, current));
        connection.request_name(bus::SYSTEMD).await.expect("the name is free");
        Self { connection, state }
    }

    async fn becomes(&self, state: State) {
        self.state.send_replace(state);
        let changed = HashMap::from([("ActiveState", Variant::from(state.1))]);
        let body = ("org.freedesktop.systemd1.Unit", changed, Vec::<&str>::new());
        self.signal(PATH, "org.freedesktop.DBus.Properties", "PropertiesChanged", &body).await;
    }

    async fn signal<B: serde::Serialize + zbus::DynamicType>(
        &self,
        path: &str,
        interface: &str,
        member: &str,
        body: &B,
    ) {
        self.connection.emit_signal(None::<&str>, path, interface, member, body).await.expect("sent");
    }
}

async fn answer_calls(connection: Connection, mut calls: MessageStream, state: watch::Receiver<State>) {
    while let Some(Ok(call)) = calls.next().await {
        if call.message_type() == zbus::message::Type::MethodCall {
            let now = *state.borrow();
            answer(&connection, &call, now).await.expect("answered");
        }
    }
}

async fn answer(connection: &Connection, call: &Message, (load, active, sub): State) -> zbus::Result<()> {
    let header = call.header();
    match header.member().map(|member| member.as_str()) {
        Some("Subscribe") => connection.reply(&header, &()).await,
        Some("ListUnitsByNames") => {
            let (names,): (Vec<String>,) = call.body().deserialize()?;
            let path = |text: &str| OwnedObjectPath::try_from(text).expect("a path");
            // As systemd: names that are none are passed over.
            let rows: Vec<_> = names
                .iter()
                .filter(|name| name.contains('.'))
                .map(|name| (name.as_str(), "", load, active, sub, "", path(PATH), 0_u32, "", path("/")))
                .collect();
            connection.reply(&header, &(rows,)).await
        }
        other => unreachable!("systemd is not asked for {other:?}"),
    }
}

fn unit(surroundings: &Surroundings, name: &str) -> Prober {
    prober_in(surroundings, Probe::SystemdUnit { unit: HostValue(name.to_owned()) })
}

fn on_bus(address: &str) -> Surroundings {
    Surroundings::new(BTreeMap::new(), bus::BusAddress::At(address.to_owned()), wall_clock)
}

#[tokio::test]
async fn without_a_bus_a_unit_is_unknown_and_never_critical() {
    let verdict = unit(&surroundings(), "web.service").probe_within(LONG).await;
    expect(&verdict, Status::Unknown, "systemd: the system bus cannot be reached");
}

#[tokio::test]
async fn a_change_of_a_unit_wakes_its_probe() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(_daemon) = start_bus(folder.path()).await else { return };
    let address = format!("unix:path={}", folder.path().join("bus").display());
    let systemd = StandIn::start(&address, ("loaded", "active", "running")).await;
    let surroundings = on_bus(&address);
    let mut web = unit(&surroundings, "web.service");
    expect(&web.probe_within(LONG).await, Status::Passing, "web.service is active (running)");
    expect(&unit(&surroundings, "web").probe_within(LONG).await, Status::Critical, "is no name of a unit");

    systemd.becomes(("loaded", "failed", "failed")).await;
    within(web.event()).await;
    expect(&web.probe_within(LONG).await, Status::Critical, "web.service is failed (failed)");

    systemd.becomes(("loaded", "activating", "auto-restart")).await;
    within(web.event()).await;
    expect(&web.probe_within(LONG).await, Status::Warning, "activating");

    systemd.state.send_replace(("not-found", "inactive", "dead"));
    systemd.signal(bus::MANAGER_PATH, bus::MANAGER, "Reloading", &(false,)).await;
    within(web.event()).await;
    expect(&web.probe_within(LONG).await, Status::Critical, "not loaded: not-found");
}

#[tokio::test]
async fn a_burst_of_changes_does_not_hold_up_the_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(_daemon) = start_bus(folder.path()).await else { return };
    let address = format!("unix:path={}", folder.path().join("bus").display());
    let systemd = StandIn::start(&address, ("loaded", "active", "running")).await;
    let surroundings = on_bus(&address);
    let mut web = unit(&surroundings, "web.service");
    expect(&web.probe_within(LONG).await, Status::Passing, "active");
    // Many more than any queue holds, while nobody waits for events.
    for _ in 0..500 {
        systemd.becomes(("loaded", "failed", "failed")).await;
    }
    expect(&web.probe_within(LONG).await, Status::Critical, "failed");
}

#[tokio::test]
async fn a_bus_that_goes_away_makes_units_unknown_until_it_is_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut daemon) = start_bus(folder.path()).await else { return };
    let address = format!("unix:path={}", folder.path().join("bus").display());
    let systemd = StandIn::start(&address, ("loaded", "active", "running")).await;
    let surroundings = on_bus(&address);
    let mut web = unit(&surroundings, "web.service");
    expect(&web.probe_within(LONG).await, Status::Passing, "active");

    daemon.kill().await.expect("killed");
    drop(systemd);
    within(web.event()).await;
    expect(&web.probe_within(LONG).await, Status::Unknown, "systemd");

    let _daemon = start_bus(folder.path()).await.expect("installed");
    let systemd = StandIn::start(&address, ("loaded", "active", "running")).await;
    let back = async {
        while web.probe_within(LONG).await.status != Status::Passing {
            web.event().await;
        }
    };
    within(back).await;
    systemd.becomes(("loaded", "failed", "failed")).await;
    within(web.event()).await;
    expect(&web.probe_within(LONG).await, Status::Critical, "failed");
}
