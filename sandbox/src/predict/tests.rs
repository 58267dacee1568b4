//! Tests of plan mode, with simulated worlds as the real host.

use super::*;
use crate::authority::Authority;
use crate::call::{Activity, FlagCall, FlagSetting, OpenError, ReadError, ReleaseInfo, Revision, ServiceStatus};
use crate::journal::{Deed as _, action_id};
use crate::sample::{activate, change, label, manifest, permit, phase, probe, run_id, set, status};
use crate::simulate::{SimDeed, World, WorldSpec};
use fettle_model::playbook::UndoPolicy;
use fettle_model::run::Change;
use std::collections::BTreeMap;

const BEGUN: UnixMillis = UnixMillis(1_767_225_600_000);

const SICK: &str = r#"
[service.web]
activity = "active"
[release.app]
current = "r2"
history = [{ id = "r2", version = "2" }, { id = "r1", version = "1", known-good = true }]
[flag.flag]
value = "on"
variants = ["on", "off"]
[health.health]
verdict = "unhealthy"
"#;

fn world(spec: &str) -> World {
    let spec: WorldSpec = toml::from_str(spec).expect("the world is sound");
    World::new(&spec, Vec::new(), BEGUN)
}

fn predictor() -> Predictor {
    let manifest = manifest(UndoPolicy::Automatic);
    let permit = permit(&manifest);
    let authority = Authority::new(&manifest, &permit.targets, permit.actions);
    Predictor::new(authority, run_id(), BEGUN, Duration::from_mins(1))
}

/// A planned run on a real host: what was asked of the host, beside what the component was told.
struct Plan {
    predictor: Predictor,
    host: World,
    looks: Vec<String>,
}

impl Plan {
    fn of(spec: &str) -> Self {
        Self { predictor: predictor(), host: world(spec), looks: Vec::new() }
    }

    fn call(&mut self, call: Call) -> Reply {
        let mut asked = self.predictor.called(self.host.wall(), call);
        loop {
            match asked {
                Asked::Answer(reply) => return reply,
                Asked::Look(look) => {
                    assert_eq!(look.effect(), Effect::Observes, "a plan changes nothing");
                    self.looks.push(look.to_string());
                    let reply = self.host.answer(&look);
                    asked = self.predictor.looked(self.host.wall(), reply);
                }
                Asked::TooMany => panic!("the plan was ended"),
            }
        }
    }

    fn revision(&mut self) -> String {
        let reply = self.call(status());
        let Reply::Service(Ok(status)) = reply else { panic!("{reply}") };
        status.revision.0
    }

    fn steps(self) -> Vec<(Action, String, Certainty)> {
        let predicted = self.predictor.finish(Claim::NoAction { summary: String::new() });
        let step = |step: PlannedStep| (step.action, step.arguments, step.certainty);
        assert_eq!(self.host.changed(), [""; 0], "a plan changes nothing");
        predicted.steps.into_iter().map(step).collect()
    }
}

/// The same playbook in a run that is applied, under the same authority.
struct Run {
    authority: Authority,
    host: World,
    numbers: u32,
    effects: u32,
}

impl Run {
    fn of(spec: &str) -> Self {
        Self { authority: predictor().authority, host: world(spec), numbers: 0, effects: 0 }
    }

    fn call(&mut self, call: &Call) -> Reply {
        let (Some(deed), Effect::Changes(action)) = (SimDeed::of(call), call.effect()) else {
            return self.host.answer(call);
        };
        self.numbers += 1;
        let done =
            self.authority.act(call, action, self.effects).and_then(|()| self.host.before(&deed)).and_then(|before| {
                self.effects += 1;
                self.host.perform(&deed, &before)
            });
        Reply::Acted(done.map(|done| SimDeed::receipt(&done, action_id(run_id(), self.numbers))))
    }
}

#[test]
fn an_effect_becomes_a_step_and_later_looks_show_it() {
    let mut plan = Plan::of(SICK);
    let first = plan.revision();
    let receipt = Receipt { action_id: action_id(run_id(), 1), undo: UndoClass::Automatic, change: Change::Made };
    assert_eq!(plan.call(change(Action::Stop, &first)), Reply::Acted(Ok(receipt)));
    let Reply::Service(Ok(stopped)) = plan.call(status()) else { panic!("a status") };
    assert_eq!((stopped.activity, stopped.main_pid), (Activity::Inactive, None));
    assert_ne!(stopped.revision.0, first);
    let stale = Reply::Acted(Err(ActError::Stale(stopped.revision.clone())));
    assert_eq!(plan.call(change(Action::Start, &first)), stale, "what was seen before the effect is stale");
    assert!(matches!(plan.call(change(Action::Start, &stopped.revision.0)), Reply::Acted(Ok(_))));
    assert_eq!(plan.looks, ["web.status"], "a predicted thing is not asked of the host");
    let (observed, conditional) = (Certainty::Observed, Certainty::Conditional);
    let steps = [(Action::Stop, String::new(), observed), (Action::Start, String::new(), conditional)];
    assert_eq!(plan.steps(), steps);
}

#[test]
fn releases_and_flags_are_predicted_with_their_arguments() {
    let mut plan = Plan::of(SICK);
    assert!(matches!(plan.call(activate("r1", "rev1")), Reply::Acted(Ok(_))));
    assert!(matches!(plan.call(set("off", "rev1", 60_000)), Reply::Acted(Ok(_))));
    let current = Call::Release { label: label("app"), op: ReleaseCall::Current };
    let Reply::CurrentRelease(Ok((current, _))) = plan.call(current) else { panic!("a release") };
    assert_eq!(current.id, "r1");
    let settled = Call::Release { label: label("app"), op: ReleaseCall::WaitSettled { timeout_ms: 1 } };
    assert!(matches!(plan.call(settled), Reply::Settled(Ok(release)) if release.id == "r1"));
    let read = Call::Flag { label: label("flag"), op: FlagCall::Read };
    assert!(matches!(plan.call(read), Reply::Flag(Ok(setting)) if setting.value == "off"));
    assert_eq!(plan.looks, ["app.current", "app.history", "flag.read"]);
    let arguments: Vec<String> = plan.steps().into_iter().map(|(_, arguments, _)| arguments).collect();
    assert_eq!(arguments, ["release r1", "off for 1m"]);
}

#[test]
fn waits_are_real_until_something_is_predicted_and_then_come_true_at_once() {
    let healthy = || {
        let op = HealthCall::WaitHealthy { stable_for_ms: 1_000, timeout_ms: 5_000 };
        Call::Health { label: label("health"), op }
    };
    let active = || {
        let op = ServiceCall::WaitFor { activity: Activity::Active, timeout_ms: 5_000 };
        Call::Service { label: label("web"), op }
    };
    let mut plan = Plan::of(SICK);
    assert_eq!(plan.call(healthy()), Reply::Health(Err(ReadError::Timeout)));
    let waited = plan.host.now();
    let revision = plan.revision();
    plan.call(change(Action::Restart, &revision));
    assert!(matches!(plan.call(active()), Reply::Service(Ok(status)) if status.activity == Activity::Active));
    let report = HealthReport { verdict: Verdict::Healthy, reasons: Vec::new() };
    assert_eq!(plan.call(healthy()), Reply::Health(Ok(report.clone())));
    assert_eq!(plan.call(probe()), Reply::Health(Ok(report)));
    assert!(plan.host.now() < waited + 100, "nothing is waited for any more");
    // Another service is really looked at, and taken to come to what is waited for.
    let mut plan = Plan::of(&SICK.replace(r#"activity = "active""#, r#"activity = "failed""#));
    plan.call(set("off", "rev1", 60_000));
    assert!(matches!(plan.call(active()), Reply::Service(Ok(status)) if status.activity == Activity::Active));
}

#[test]
fn what_the_real_run_would_be_refused_is_refused_and_is_no_step() {
    let mut plan = Plan::of(SICK);
    let acted = |error| Reply::Acted(Err(error));
    let denied = ActError::Denied("reload web is not permitted".to_owned());
    assert_eq!(plan.call(change(Action::Reload, "rev1")), acted(denied));
    assert_eq!(plan.call(change(Action::Stop, "old")), acted(ActError::Stale(Revision("rev1".to_owned()))));
    assert_eq!(plan.call(activate("r9", "rev1")), acted(ActError::Failed("there is no release r9".to_owned())));
    let unknown = Call::Service { label: label("db"), op: ServiceCall::Open };
    assert_eq!(plan.call(unknown), Reply::Opened(Err(OpenError::Undeclared)));
    for _ in 0..3 {
        let revision = plan.revision();
        assert!(matches!(plan.call(change(Action::Restart, &revision)), Reply::Acted(Ok(_))));
    }
    let exhausted = ActError::Exhausted("the 3 changing calls of this run are used up".to_owned());
    assert_eq!(plan.call(change(Action::Restart, "rev1")), acted(exhausted));
    assert_eq!(plan.steps().len(), 3);
}

#[test]
fn an_effect_on_what_cannot_be_seen_is_not_predicted() {
    let mut plan = Plan::of("[health.health]\nverdict = \"unhealthy\"");
    let failed = ActError::Failed("cannot look before acting: not-found".to_owned());
    assert_eq!(plan.call(change(Action::Stop, "rev1")), Reply::Acted(Err(failed)));
    assert_eq!(plan.steps(), []);
}

#[test]
fn time_goes_by_in_sleeps_that_nobody_waits_for() {
    let mut predictor = predictor();
    let ask = |predictor: &mut Predictor, call| {
        let asked = predictor.called(BEGUN, Call::Clock(call));
        let Asked::Answer(reply) = asked else { panic!("{asked:?}") };
        reply
    };
    assert_eq!(ask(&mut predictor, ClockCall::Now), Reply::Time(BEGUN));
    assert_eq!(ask(&mut predictor, ClockCall::Sleep { duration_ms: 20_000 }), Reply::Unit);
    assert_eq!(ask(&mut predictor, ClockCall::Now), Reply::Time(BEGUN.plus(Duration::from_secs(20))));
    assert_eq!(ask(&mut predictor, ClockCall::Remaining), Reply::Millis(40_000));
    ask(&mut predictor, ClockCall::Sleep { duration_ms: u32::MAX });
    assert_eq!(ask(&mut predictor, ClockCall::Remaining), Reply::Millis(0));
}

#[test]
fn a_component_that_asks_too_much_is_ended() {
    let mut predictor = self::predictor();
    for _ in 0..MAX_CALLS {
        assert_eq!(predictor.called(BEGUN, phase("again")), Asked::Answer(Reply::Unit));
    }
    assert_eq!(predictor.called(BEGUN, phase("again")), Asked::TooMany);
    let mut predictor = self::predictor();
    for _ in 0..MAX_CHANGING_CALLS {
        assert!(matches!(predictor.called(BEGUN, change(Action::Reload, "x")), Asked::Answer(_)));
    }
    assert_eq!(predictor.called(BEGUN, change(Action::Reload, "x")), Asked::TooMany);
}

#[test]
fn an_answer_that_nobody_asked_for_or_that_does_not_fit_ends_the_plan() {
    let mut predictor = predictor();
    assert_eq!(predictor.looked(BEGUN, Reply::Unit), Asked::TooMany);
    assert_eq!(predictor.called(BEGUN, status()), Asked::Look(status()));
    assert_eq!(predictor.looked(BEGUN, Reply::Unit), Asked::TooMany);
}

/// The reply without what varies from host to host: revisions, process ids and instants.
fn form(reply: Reply) -> Reply {
    let (any, revision) = (UnixMillis(0), Revision(String::new()));
    let dated = |release: ReleaseInfo| ReleaseInfo { activated: release.activated.map(|_| any), ..release };
    if let Reply::Service(Ok(status)) = reply {
        let main_pid = status.main_pid.map(|_| 1);
        Reply::Service(Ok(ServiceStatus { since: any, main_pid, revision, ..status }))
    } else if let Reply::CurrentRelease(Ok((release, _))) = reply {
        Reply::CurrentRelease(Ok((dated(release), revision)))
    } else if let Reply::Settled(Ok(release)) = reply {
        Reply::Settled(Ok(dated(release)))
    } else if let Reply::Flag(Ok(setting)) = reply {
        Reply::Flag(Ok(FlagSetting { revision, ..setting }))
    } else if let Reply::Acted(Err(ActError::Stale(_))) = reply {
        Reply::Acted(Err(ActError::Stale(revision)))
    } else {
        reply
    }
}

/// What a playbook saw last of each thing, to be named by what changes it.
#[derive(Default)]
struct Seen(BTreeMap<String, Revision>);

impl Seen {
    fn note(&mut self, call: &Call, reply: &Reply) {
        let (Reply::Service(Ok(ServiceStatus { revision, .. }))
        | Reply::CurrentRelease(Ok((_, revision)))
        | Reply::Flag(Ok(FlagSetting { revision, .. }))) = reply
        else {
            return;
        };
        self.0.extend(call.label().map(|label| (label.to_string(), revision.clone())));
    }

    /// The call; where it expects `seen`, with what was seen.
    fn at(&self, mut call: Call) -> Call {
        let seen = call.label().and_then(|label| self.0.get(label.as_str())).cloned();
        if let Call::Service { op: ServiceCall::Change { expect, .. }, .. }
        | Call::Release { op: ReleaseCall::Activate { expect, .. }, .. }
        | Call::Flag { op: FlagCall::Set { expect, .. }, .. } = &mut call
            && expect.0 == "seen"
        {
            *expect = seen.expect("it was looked at");
        }
        call
    }
}

#[test]
fn a_playbook_cannot_tell_a_plan_from_a_run() {
    let cured = SICK.replace(
        r#"verdict = "unhealthy""#,
        "verdict = \"unhealthy\"\nbecomes = [{ verdict = \"healthy\", after = \"0s\", following = \"web.stop\" }]",
    );
    let release = |op| Call::Release { label: label("app"), op };
    let script = [
        phase("look"),
        probe(),
        status(),
        change(Action::Stop, "old"),
        change(Action::Stop, "seen"),
        status(),
        probe(),
        change(Action::Reload, "seen"),
        change(Action::Restart, "seen"),
        status(),
        release(ReleaseCall::Current),
        activate("r1", "seen"),
        release(ReleaseCall::Current),
        release(ReleaseCall::WaitSettled { timeout_ms: 5 }),
        Call::Flag { label: label("flag"), op: FlagCall::Read },
        set("off", "seen", 60_000),
    ];
    let (mut plan, mut run) = (Plan::of(&cured), Run::of(&cured));
    let (mut seen_in_plan, mut seen_in_run) = (Seen::default(), Seen::default());
    for call in script {
        let planned = plan.call(seen_in_plan.at(call.clone()));
        seen_in_plan.note(&call, &planned);
        let applied = run.call(&seen_in_run.at(call.clone()));
        seen_in_run.note(&call, &applied);
        assert_eq!(form(planned), form(applied), "{call}");
    }
    assert_eq!(run.host.changed(), ["web.stop", "web.restart", "app.activate"]);
    assert_eq!(plan.steps().len(), 3);
}
