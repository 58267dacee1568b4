//! Makes the newest other release that is known to be good current again, and tells the service.

use fettle_sdk::prelude::*;
use fettle_sdk::{CurrentRelease, Release};

#[parameters]
struct Parameters {
    then: Then,
    settle_within: Millis,
    healthy_within: Millis,
}

/// What the service needs before it runs the release.
#[parameters]
enum Then {
    Nothing,
    Reload,
    Restart,
}

#[playbook]
fn run(run: &Run, p: Parameters) -> Result<Outcome, Failure> {
    let releases = run.releases("release")?;
    let health = run.health("health")?;
    run.phase("look");
    if health.probe()?.is_healthy() {
        return no_action("the check passes already");
    }
    let current = releases.current()?;
    let history = releases.history()?;
    let Some(target) = last_good(&history, &current) else {
        return escalate(format!("no release but {} is known to be good", current.release.id));
    };
    run.phase("roll back");
    releases.activate(target, &current)?;
    match p.then {
        Then::Nothing => {}
        Then::Reload => {
            let service = run.service("service")?;
            service.reload(&service.status()?)?;
        }
        Then::Restart => {
            let service = run.service("service")?;
            service.restart(&service.status()?)?;
            service.wait_for(Activity::Active, p.settle_within)?;
        }
    }
    releases.wait_settled(p.settle_within)?;
    health.wait_healthy(secs(1), p.healthy_within)?.healthy()?;
    resolved(format!("rolled back from {} to {}", current.release.id, target.id))
}

/// The newest release that is older than the current one and known to be good; where there is none,
/// the newest other one that is.
fn last_good<'a>(history: &'a [Release], current: &CurrentRelease) -> Option<&'a Release> {
    let at = history.iter().position(|release| release.id == current.release.id);
    let (newer, older) = history.split_at(at.unwrap_or(0));
    let good = |release: &&Release| release.known_good && release.id != current.release.id;
    older.iter().find(good).or_else(|| newer.iter().find(good))
}
