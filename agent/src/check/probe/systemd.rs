//! A systemd unit must be active. A change of its properties wakes the probe at once.
//!
//! Probes ask with `ListUnitsByNames`, which also answers for units that are not loaded. That call makes systemd
//! load such a unit and announce it with `UnitNew` and `UnitRemoved`, so those two signals are not
//! listened to: a probe would wake itself for ever.

use super::bus::{Bus, Link, MANAGER, MANAGER_PATH, SYSTEMD, Session, signals};
use crate::check::observation::Verdict;
use crate::check::reason::Reason;
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tokio_util::task::AbortOnDropHandle;
use zbus::OwnedObjectPath;

pub(in crate::check) struct SystemdUnit {
    unit: String,
    link: watch::Receiver<Link>,
    subscription: Option<Subscription>,
}

/// The unit's signals on one connection.
struct Subscription {
    serial: u64,
    path: OwnedObjectPath,
    changed: watch::Receiver<()>,
    /// Takes signals from zbus's queue at once: a full queue would hold up the whole connection, the answer
    /// to our own call included.
    _pump: AbortOnDropHandle<()>,
}

/// What systemd says of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unit {
    load: String,
    active: String,
    sub: String,
    path: OwnedObjectPath,
}

/// name, description, load state, active state, sub state, followed unit, path, job id, job type, job path.
type UnitRow = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

impl SystemdUnit {
    pub(super) fn new(unit: &str, bus: &Bus) -> Self {
        Self { unit: unit.to_owned(), link: bus.link(), subscription: None }
    }

    pub(super) async fn probe(&mut self) -> Verdict {
        let link = match self.link.wait_for(|link| !matches!(link, Link::Connecting)).await {
            Ok(link) => link.clone(),
            Err(_) => return Verdict::unknown("systemd: nobody keeps the connection"),
        };
        let session = match link {
            Link::Connecting => return Verdict::unknown("systemd: not connected yet"),
            Link::Down(reason) => return Verdict::unknown(reason.as_str()),
            Link::Up(session) => session,
        };
        match self.ask(&session).await {
            Ok(Some(unit)) => judge(&self.unit, &unit),
            Ok(None) => Verdict::critical(&format!("{} is no name of a unit", self.unit)),
            Err(error) => Verdict::unknown(Reason::of_error("systemd", &error).as_str()),
        }
    }

    async fn ask(&mut self, session: &Session) -> zbus::Result<Option<Unit>> {
        let Some(unit) = state_of(&self.unit, session).await? else { return Ok(None) };
        let held = |held: &Subscription| held.serial == session.serial && held.path == unit.path;
        if self.subscription.as_ref().is_some_and(held) {
            return Ok(Some(unit));
        }
        self.subscription = Some(subscribe(session, unit.path).await?);
        // What changed before the subscription stood was not signalled to us.
        state_of(&self.unit, session).await
    }

    // CANCEL: both waits only mark what was seen when they return.
    pub(super) async fn event(&mut self) {
        let unit = async {
            match &mut self.subscription {
                // Fails when the connection is gone, which the link tells.
                Some(subscription) => match subscription.changed.changed().await {
                    Ok(()) => {}
                    Err(_) => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = unit => {}
            changed = self.link.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

async fn state_of(name: &str, session: &Session) -> zbus::Result<Option<Unit>> {
    let reply = session
        .connection
        .call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER), "ListUnitsByNames", &(vec![name],))
        .await?;
    let rows: Vec<UnitRow> = reply.body().deserialize()?;
    Ok(rows.into_iter().next().map(|(_, _, load, active, sub, _, path, _, _, _)| Unit { load, active, sub, path }))
}

async fn subscribe(session: &Session, path: OwnedObjectPath) -> zbus::Result<Subscription> {
    let mut properties =
        signals(&session.connection, path.as_str(), "org.freedesktop.DBus.Properties", "PropertiesChanged").await?;
    let (tell, changed) = watch::channel(());
    let pump = tokio::spawn(async move {
        while let Some(Ok(_)) = properties.next().await {
            tell.send_replace(());
        }
    });
    Ok(Subscription { serial: session.serial, path, changed, _pump: AbortOnDropHandle::new(pump) })
}

/// The active states of systemd's D-Bus interface (org.freedesktop.systemd1(5)).
fn judge(name: &str, unit: &Unit) -> Verdict {
    let Unit { load, active, sub, path: _ } = unit;
    let told = format!("{name} is {active} ({sub})");
    match active.as_str() {
        "active" | "reloading" | "refreshing" => Verdict::passing(&told),
        "activating" | "deactivating" | "maintenance" => Verdict::warning(&told),
        "inactive" | "failed" if load == "loaded" => Verdict::critical(&told),
        "inactive" | "failed" => Verdict::critical(&format!("{told}, not loaded: {load}")),
        _ => Verdict::unknown(&format!("{told}, which means nothing to this agent")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::check::Status;

    #[track_caller]
    fn check(load: &str, active: &str, sub: &str, expected: (Status, &str)) {
        let path = OwnedObjectPath::try_from("/u").expect("a path");
        let unit = Unit { load: load.to_owned(), active: active.to_owned(), sub: sub.to_owned(), path };
        let verdict = judge("web.service", &unit);
        assert_eq!((verdict.status, verdict.reason.as_str()), expected);
    }

    #[test]
    fn a_unit_is_as_systemd_says() {
        check("loaded", "active", "running", (Status::Passing, "web.service is active (running)"));
        check("loaded", "reloading", "reload", (Status::Passing, "web.service is reloading (reload)"));
        check("loaded", "activating", "auto-restart", (Status::Warning, "web.service is activating (auto-restart)"));
        check("loaded", "deactivating", "stop", (Status::Warning, "web.service is deactivating (stop)"));
        check("loaded", "inactive", "dead", (Status::Critical, "web.service is inactive (dead)"));
        check("loaded", "failed", "failed", (Status::Critical, "web.service is failed (failed)"));
        check(
            "not-found",
            "inactive",
            "dead",
            (Status::Critical, "web.service is inactive (dead), not loaded: not-found"),
        );
        check("masked", "active", "running", (Status::Passing, "web.service is active (running)"));
        check(
            "loaded",
            "dreaming",
            "x",
            (Status::Unknown, "web.service is dreaming (x), which means nothing to this agent"),
        );
    }
}
