//! Turns a feature flag off for a while; the host puts the old value back when the time is over.

use fettle_sdk::prelude::*;

#[parameters]
struct Parameters {
    off: String,
    hold: Millis,
    healthy_within: Millis,
}

#[playbook]
fn run(run: &Run, p: Parameters) -> Result<Outcome, Failure> {
    let flag = run.flag("flag")?;
    let health = run.health("health")?;
    run.phase("look");
    if health.probe()?.is_healthy() {
        return no_action("the check passes already");
    }
    let seen = flag.read()?;
    if seen.value == p.off {
        return escalate(format!("the flag is {} already and the check fails still", p.off));
    }
    run.phase("turn off");
    let from = run.now_unix_ms();
    flag.set(&p.off, &seen, p.hold)?;
    health.wait_healthy(secs(1), p.healthy_within)?.healthy()?;
    mitigated(format!("the flag is {} for {}", p.off, p.hold), from + u64::from(p.hold.0))
}
