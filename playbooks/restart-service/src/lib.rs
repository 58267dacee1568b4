//! Restarts a service whose check fails, unless restarting has stopped helping.

use fettle_sdk::prelude::*;

#[parameters]
struct Parameters {
    max_restarts: u32,
    start_within: Millis,
    healthy_within: Millis,
}

#[playbook]
fn run(run: &Run, p: Parameters) -> Result<Outcome, Failure> {
    let service = run.service("service")?;
    let health = run.health("health")?;
    run.phase("look");
    if health.probe()?.is_healthy() {
        return no_action("the check passes already");
    }
    let seen = service.status()?;
    if seen.restarts_last_hour >= p.max_restarts {
        return escalate(format!("{} restarts in the last hour have not helped", seen.restarts_last_hour));
    }
    run.phase("restart");
    service.restart(&seen)?;
    service.wait_for(Activity::Active, p.start_within)?;
    health.wait_healthy(secs(1), p.healthy_within)?.healthy()?;
    resolved("restarted the service")
}
