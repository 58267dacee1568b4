//! Tests of the simulated capabilities: they behave as hosts do, in virtual time.

use super::*;
use crate::call::{
    ActError, Activity, Call, Fact, FactsCall, FlagCall, HealthCall, ReadError, ReleaseCall, Reply, ServiceCall,
};
use crate::journal::{Deed as _, Look};
use crate::sample::{activate, change, label, probe, set, status};
use fettle_model::check::Status;
use fettle_model::playbook::Action;
use fettle_model::run::{Change, UndoClass};
use fettle_model::time::UnixMillis;

const EPOCH: UnixMillis = UnixMillis(1_767_225_600_000);

fn world(spec: &str) -> World {
    injected(spec, Vec::new())
}

fn injected(spec: &str, injections: Vec<Injection>) -> World {
    let spec: WorldSpec = toml::from_str(spec).expect("the world is sound");
    World::new(&spec, injections, EPOCH)
}

fn act(world: &mut World, call: &Call) -> Result<SimDone, ActError> {
    let deed = SimDeed::of(call).expect("it changes something");
    let before = world.before(&deed)?;
    world.perform(&deed, &before)
}

fn is(world: &mut World) -> (Activity, String, u32) {
    let reply = world.answer(&status());
    let Reply::Service(Ok(status)) = reply else { panic!("{reply}") };
    (status.activity, status.revision.0, status.restarts_last_hour)
}

fn wait(activity: Activity, timeout_ms: u32) -> Call {
    Call::Service { label: label("web"), op: ServiceCall::WaitFor { activity, timeout_ms } }
}

#[test]
fn a_service_starts_after_a_while_and_counts_its_restarts() {
    let mut world = world("service.web = { activity = \"failed\", start-takes = \"3s\" }");
    assert_eq!(is(&mut world), (Activity::Failed, "rev1".to_owned(), 0));
    let done = act(&mut world, &change(Action::Restart, "rev1")).expect("it is at rev1");
    assert_eq!((done.change, done.undo, done.inverse), (Change::Made, UndoClass::None, None));
    assert_eq!(is(&mut world), (Activity::Activating, "rev2".to_owned(), 1));
    let begun = world.now();
    assert_eq!(world.answer(&wait(Activity::Active, 1_000)), Reply::Service(Err(ReadError::Timeout)));
    assert!(matches!(world.answer(&wait(Activity::Active, 60_000)), Reply::Service(Ok(_))));
    assert!(world.now() - begun < 3_000, "a wait ends when it comes true: {}", world.now());
    assert_eq!(world.changed(), ["web.restart"]);
}

#[test]
fn a_service_that_cannot_run_fails_instead() {
    let mut world = world("service.web = { activity = \"inactive\", starts-into = \"failed\" }");
    act(&mut world, &change(Action::Start, "rev1")).expect("it is at rev1");
    assert!(world.is(&label("web"), Activity::Failed));
    assert_eq!(world.answer(&wait(Activity::Active, 1_000)), Reply::Service(Err(ReadError::Timeout)));
}

#[test]
fn what_is_so_already_is_not_changed_and_what_moved_is_stale() {
    let mut world = world("service.web = { activity = \"active\" }");
    let unneeded = act(&mut world, &change(Action::Start, "rev1")).expect("it is at rev1");
    assert_eq!((unneeded.change, unneeded.inverse), (Change::Unneeded, None));
    assert_eq!(world.changed(), [""; 0]);
    let stopped = act(&mut world, &change(Action::Stop, "rev1")).expect("it is at rev1");
    let back = stopped.inverse.expect("a stop can be undone");
    assert_eq!(back.call(), &change(Action::Start, "rev2"));
    let stale = Err(ActError::Stale(crate::call::Revision("rev2".to_owned())));
    assert_eq!(act(&mut world, &change(Action::Stop, "rev1")), stale);
    assert!(act(&mut world, back.call()).is_ok());
}

#[test]
fn releases_go_back_and_settle_after_a_while() {
    let mut world = world(
        "[release.app]\ncurrent = \"r2\"\nsettle-takes = \"5s\"\nhistory = [{ id = \"r2\", version = \"2\", serves = false }, { id = \"r1\", version = \"1\" }]",
    );
    let settled = |timeout_ms| Call::Release { label: label("app"), op: ReleaseCall::WaitSettled { timeout_ms } };
    assert_eq!(world.answer(&settled(60_000)), Reply::Settled(Err(ReadError::Timeout)), "r2 never serves");
    let done = act(&mut world, &activate("r1", "rev1")).expect("it is at rev1");
    assert_eq!(done.inverse.expect("it can be undone").call(), &activate("r2", "rev2"));
    assert_eq!(world.answer(&settled(1_000)), Reply::Settled(Err(ReadError::Timeout)));
    assert!(matches!(world.answer(&settled(5_000)), Reply::Settled(Ok(release)) if release.id == "r1"));
    let unknown = Err(ActError::Failed("there is no release r9".to_owned()));
    assert_eq!(act(&mut world, &activate("r9", "rev2")), unknown);
}

#[test]
fn a_flag_comes_back_when_its_time_is_over_or_when_it_is_put_back() {
    let spec = "[flag.flag]\nvalue = \"on\"\nvariants = [\"on\", \"off\"]";
    let value = |world: &mut World| {
        let reply = world.answer(&Call::Flag { label: label("flag"), op: FlagCall::Read });
        let Reply::Flag(Ok(setting)) = reply else { panic!("{reply}") };
        setting.value
    };
    let mut world = world(spec);
    let done = act(&mut world, &set("off", "rev1", 60_000)).expect("it is at rev1");
    assert_eq!((value(&mut world).as_str(), done.undo), ("off", UndoClass::Expires));
    world.advance_to(70_000);
    assert_eq!(value(&mut world), "on");
    let mut world = self::world(spec);
    let done = act(&mut world, &set("off", "rev1", 60_000)).expect("it is at rev1");
    act(&mut world, done.inverse.expect("it can be undone").call()).expect("nobody moved it");
    assert_eq!(value(&mut world), "on");
    world.advance_to(70_000);
    assert_eq!((value(&mut world).as_str(), world.changed().len()), ("on", 2), "put back once, for good");
    assert!(act(&mut world, &set("dark", "rev3", 1)).is_err(), "not a variant");
}

#[test]
fn a_check_follows_time_and_actions() {
    let mut world = world(
        r#"
service.web = { activity = "active" }
[health.health]
verdict = "unhealthy"
reasons = ["503"]
[[health.health.becomes]]
verdict = "healthy"
after = "10s"
following = "web.restart"
[[health.health.becomes]]
verdict = "degraded"
after = "1m"
"#,
    );
    let health = label("health");
    let healthy = |stable_for_ms, timeout_ms| {
        let op = HealthCall::WaitHealthy { stable_for_ms, timeout_ms };
        Call::Health { label: label("health"), op }
    };
    assert!(matches!(world.answer(&probe()), Reply::Health(Ok(report)) if report.reasons == ["503"]));
    assert_eq!(world.answer(&healthy(0, 5_000)), Reply::Health(Err(ReadError::Timeout)));
    act(&mut world, &change(Action::Restart, "rev1")).expect("it is at rev1");
    assert_eq!(world.status(&health), Status::Critical);
    let begun = world.now();
    assert!(matches!(world.answer(&healthy(2_000, 30_000)), Reply::Health(Ok(_))));
    let waited = world.now() - begun;
    assert!((11_900..12_100).contains(&waited), "10 seconds to be healthy, 2 to be so for long enough: {waited}");
    assert_eq!(world.answer(&healthy(50_000, 55_000)), Reply::Health(Err(ReadError::Timeout)), "it does not last");
    assert_eq!((world.status(&health), world.status(&label("other"))), (Status::Warning, Status::Unknown));
}

#[test]
fn looking_after_a_crash_tells_what_happened_unless_somebody_else_was_there() {
    let deed = SimDeed::of(&change(Action::Stop, "rev1")).expect("it changes something");
    let mut world = world("service.web = { activity = \"active\" }");
    let before = world.before(&deed).expect("it is at rev1");
    assert_eq!(world.look_after_crash(&deed, &before), Look::NotApplied);
    let done = world.perform(&deed, &before).expect("nobody moved it");
    assert_eq!(world.look_after_crash(&deed, &before), Look::Applied(done));
    act(&mut world, &change(Action::Start, "rev2")).expect("it is at rev2");
    let others = Look::CannotTell("somebody else changed it".to_owned());
    assert_eq!(world.look_after_crash(&deed, &before), others);
    world.set_sight(Sight::Blind);
    assert_eq!(world.look_after_crash(&deed, &before), Look::CannotTell("nothing can be seen".to_owned()));
}

#[test]
fn an_injected_error_comes_at_its_call_and_only_there() {
    let injection = |call: &str, nth, returns, effect| Injection { call: call.to_owned(), nth, returns, effect };
    let none = Effectiveness::None;
    let spec = "service.web = { activity = \"active\" }";
    let mut world = injected(spec, vec![injection("web.status", 2, Variant::Timeout, none)]);
    let answers: Vec<bool> = (0..3).map(|_| matches!(world.answer(&status()), Reply::Service(Ok(_)))).collect();
    assert_eq!(answers, [true, false, true]);
    let restart = change(Action::Restart, "rev1");
    for (returns, effect, expected, changed) in [
        (Variant::Denied("no".to_owned()), none, ActError::Denied("no".to_owned()), 0),
        (Variant::Failed("no".to_owned()), none, ActError::Failed("no".to_owned()), 0),
        (Variant::Indeterminate("fog".to_owned()), none, ActError::Indeterminate("fog".to_owned()), 0),
        (
            Variant::Indeterminate("fog".to_owned()),
            Effectiveness::Happens,
            ActError::Indeterminate("fog".to_owned()),
            1,
        ),
    ] {
        let mut world = injected(spec, vec![injection("web.restart", 1, returns, effect)]);
        assert_eq!(act(&mut world, &restart), Err(expected));
        assert_eq!(world.changed().len(), changed);
    }
}

#[test]
fn every_kind_of_answer_has_its_own_errors() {
    let acted = Variant::all_for(&Reply::Acted(Err(ActError::OffPlan)));
    let read = Variant::all_for(&Reply::Health(Err(ReadError::Timeout)));
    let opened = Variant::all_for(&Reply::Opened(Ok(())));
    assert_eq!((acted.len(), read.len(), opened.len(), Variant::all_for(&Reply::Unit).len()), (6, 5, 3, 0));
    for (variants, operation) in [(&acted, "restart"), (&read, "probe"), (&opened, "open")] {
        assert!(variants.iter().all(|variant| variant.fits(operation)), "{operation}");
        assert!(!variants.iter().any(|variant| variant.fits("")));
    }
    assert!(!Variant::Timeout.fits("set") && !Variant::OffPlan.fits("read"));
}

#[test]
fn facts_and_what_is_not_there() {
    let mut world = world("[fact]\n\"os.id\" = \"debian\"\ncpus = 2");
    let fact = |key: &str| Call::Facts(FactsCall::Get { key: key.to_owned() });
    assert_eq!(world.answer(&fact("os.id")), Reply::Fact(Ok(Fact::Text("debian".to_owned()))));
    assert_eq!(world.answer(&fact("cpus")), Reply::Fact(Ok(Fact::Integer(2))));
    assert_eq!(world.answer(&fact("moon")), Reply::Fact(Err(ReadError::NotFound)));
    assert_eq!(world.answer(&status()), Reply::Service(Err(ReadError::NotFound)));
    assert!(!is_fact(&toml::Value::Float(0.5)));
}
