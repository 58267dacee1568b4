//! Random histories of a small fleet, held against the oracle after every step.

mod people;

use self::people::PeopleStep;
use crate::oracle::Oracle;
use crate::world::{World, description, web};
use fettle_controlplane::core::{Authorisation, Heard, Outcome, PersonRequest, Senses};
use fettle_model::breaker::Scope;
use fettle_model::check::Status;
use fettle_model::guard::{Amount, Guard};
use fettle_model::host::HostState;
use fettle_model::id::{DrillId, FreezeId, HostId, MuteId};
use fettle_model::offline::{Offline, OfflineReturned, Units};
use fettle_model::permit::{Permit, PermitRejection, Purpose};
use fettle_model::record::Body;
use fettle_model::remediation::Mode;
use fettle_model::run::Ending;
use fettle_model::time::UnixMillis;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One thing that happens. Numbers pick among what there is.
#[derive(Debug, Clone)]
enum Step {
    Becomes(usize, Status),
    Ask(usize),
    AskForNothing(usize),
    AskAgain(usize),
    AskInAdvance(usize),
    UseUnit(usize, Ending),
    GiveBack(usize),
    End(usize, Ending),
    Reject(usize, PermitRejection),
    Advance(Duration),
    Lose,
    Tick,
    Restart,
    Stop(Scope),
    Resume(Scope),
    StartDrill(usize),
    Inject(usize),
    State(usize, HostState),
    Describe(usize, &'static str),
    Configure(Guard, Amount),
    Sense(Heard, Duration),
    Freeze(Scope, Duration),
    Mute(Scope, Duration),
    LiftMute(usize),
    People(PeopleStep),
}

fn guards() -> impl Strategy<Value = Guard> {
    let most = prop_oneof![1 => Just(0), 4 => Just(1), 4 => Just(2), 2 => Just(3)].prop_map(Amount::Count);
    let most = prop_oneof![4 => most, 1 => Just(Amount::Percent(50))];
    let least = prop_oneof![5 => (0_u32..4).prop_map(Amount::Count), 1 => Just(Amount::Percent(50))];
    let minutes = || (0_u64..6).prop_map(Duration::from_mins);
    let permits = || prop_oneof![1 => 0_u32..4, 4 => 4_u32..30];
    (most, least, 1_u32..5, (minutes(), minutes()), 0_u32..5, (permits(), permits())).prop_map(
        |(max_in_flight, min_healthy, max_attempts, (cooldown, healthy_for), max_failures, (permits, grave))| Guard {
            max_in_flight,
            min_healthy,
            max_attempts,
            cooldown,
            healthy_for,
            max_failures,
            failure_window: Duration::from_mins(30),
            max_per_window: permits,
            max_irreversible: grave,
            approvals: 1,
            window: Duration::from_mins(20),
        },
    )
}

fn steps() -> impl Strategy<Value = Step> {
    let host = || 0_usize..7;
    let status = select(vec![Status::Passing, Status::Critical, Status::Critical, Status::Warning, Status::Unknown]);
    let ending = select(vec![
        Ending::Succeeded,
        Ending::Succeeded,
        Ending::Failed,
        Ending::Ineffective,
        Ending::Superseded,
        Ending::Expired,
        Ending::InDoubt,
    ]);
    let rejection = select(vec![PermitRejection::Replayed, PermitRejection::Busy, PermitRejection::PlaybookUntrusted]);
    let scope = || {
        let scopes = ["global", "environment:production", "service:web", "playbook:restart-service", "service:db"];
        select(scopes.iter().map(|scope| scope.parse().expect("a scope")).collect::<Vec<Scope>>())
    };
    let state = prop_oneof![
        10 => Just(HostState::Active),
        5 => Just(HostState::Quarantined),
        1 => Just(HostState::Revoked),
    ];
    prop_oneof![
        8 => (host(), status).prop_map(|(host, status)| Step::Becomes(host, status)),
        14 => host().prop_map(Step::Ask),
        1 => host().prop_map(Step::AskForNothing),
        1 => host().prop_map(Step::AskAgain),
        8 => host().prop_map(Step::AskInAdvance),
        5 => (host(), ending.clone()).prop_map(|(budget, ending)| Step::UseUnit(budget, ending)),
        3 => host().prop_map(Step::GiveBack),
        6 => (host(), ending).prop_map(|(run, ending)| Step::End(run, ending)),
        1 => (host(), rejection).prop_map(|(run, because)| Step::Reject(run, because)),
        5 => (1_u64..900).prop_map(|seconds| Step::Advance(Duration::from_secs(seconds))),
        1 => Just(Step::Lose),
        2 => Just(Step::Tick),
        1 => Just(Step::Restart),
        1 => scope().prop_map(Step::Stop),
        5 => scope().prop_map(Step::Resume),
        1 => host().prop_map(Step::StartDrill),
        2 => host().prop_map(Step::Inject),
        1 => (host(), state).prop_map(|(host, state)| Step::State(host, state)),
        1 => (host(), select(vec!["12", "12", "13"])).prop_map(|(host, os)| Step::Describe(host, os)),
        2 => (guards(), select(vec![30, 60, 100, 100, 100])).prop_map(|(guard, storm)| Step::Configure(guard, Amount::Percent(storm))),
        1 => (scope(), 1_u64..30).prop_map(|(scope, minutes)| Step::Freeze(scope, Duration::from_mins(minutes))),
        2 => (scope(), 1_u64..30).prop_map(|(scope, minutes)| Step::Mute(scope, Duration::from_mins(minutes))),
        1 => (0_usize..4).prop_map(Step::LiftMute),
        1 => (select(vec![0_u32, 0, 0, 4]), select(vec![0, 0, 0, 11])).prop_map(|(silent, lag)| {
            Step::Sense(Heard { hosts: 5, silent }, Duration::from_secs(lag))
        }),
    ]
}

/// In a mode that waits for people most of what happens is theirs.
fn histories(mode: Mode) -> BoxedStrategy<Vec<Step>> {
    match mode {
        Mode::Observe | Mode::Auto => proptest::collection::vec(steps(), 1..150).boxed(),
        Mode::Approve => {
            let people = people::people_steps().prop_map(Step::People);
            proptest::collection::vec(prop_oneof![1 => steps(), 3 => people], 1..200).boxed()
        }
    }
}

/// What becomes of every wish to mute: either leaves one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Muting {
    Allowed,
    Denied,
}

impl Muting {
    fn said(self) -> Authorisation {
        match self {
            Self::Allowed => Authorisation::Allowed,
            Self::Denied => Authorisation::Denied { policies: Vec::new() },
        }
    }
}

struct Play {
    world: World,
    deeds: Deeds,
    muting: Muting,
    /// The mutes that are in force where muting is allowed.
    mutes: Vec<(MuteId, Scope, UnixMillis)>,
    oracle: Oracle,
    hosts: Vec<HostId>,
    drills: Vec<(HostId, DrillId)>,
    /// The budgets whose agents have not given them back.
    budgets: Vec<Permit>,
}

/// What the playbook of a history does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deeds {
    /// What nothing undoes.
    Restarts,
    /// What can be undone, so that it may be given in advance.
    Starts,
}

impl Deeds {
    /// The guard of a history: with one more slot or two where a budget in advance is to have one.
    fn guard(self, drawn: Guard) -> Guard {
        match (self, drawn.max_in_flight) {
            (Self::Starts, Amount::Count(most)) => Guard { max_in_flight: Amount::Count(most + 2), ..drawn },
            (Self::Starts | Self::Restarts, _) => drawn,
        }
    }
}

impl Play {
    /// Production is in this mode, and staging in `auto`.
    fn new(muting: Muting, deeds: Deeds, mode: Mode) -> Self {
        let (mut world, _) = match deeds {
            Deeds::Restarts => World::proved(5),
            Deeds::Starts => World::reversible(5),
        };
        let units = Units::new(2).expect("units");
        world.offline = Some(Offline { hosts: Amount::Count(2), units, lasts: Duration::from_mins(2) });
        assert_eq!(world.configure(), Outcome::Done);
        if mode == Mode::Approve {
            people::gather(&mut world);
        }
        let hosts = world.core.state().hosts().map(|host| host.id).collect();
        let mut oracle = Oracle::default();
        oracle.check(&world);
        Self { world, deeds, muting, mutes: Vec::new(), oracle, hosts, drills: Vec::new(), budgets: Vec::new() }
    }

    fn host(&self, pick: usize) -> HostId {
        self.hosts[pick % self.hosts.len()]
    }

    /// Whether the rim would let the host's agent speak at all.
    fn speaks(&self, host: HostId) -> bool {
        self.world.core.state().host(host).is_some_and(|host| host.state != HostState::Revoked)
    }

    fn running(&self, pick: usize) -> Option<Permit> {
        let running: Vec<&Permit> = self
            .world
            .core
            .state()
            .in_flight()
            .map(|run| &run.permit)
            .filter(|permit| self.speaks(permit.host) && !permit.is_offline())
            .collect();
        running.get(pick % running.len().max(1)).map(|permit| (*permit).clone())
    }

    /// A budget that a host holds, or held until it expired, and of how many of its units nothing was told.
    fn budget(&self, pick: usize) -> Option<(Permit, Vec<Permit>)> {
        let state = self.world.core.state();
        let budgets: Vec<&Permit> = self.budgets.iter().filter(|permit| self.speaks(permit.host)).collect();
        let budget = *budgets.get(pick % budgets.len().max(1))?;
        let left = budget.all_units().filter(|unit| state.permit(unit.permit).is_none()).collect();
        Some((budget.clone(), left))
    }

    fn ask_in_advance(&mut self, pick: usize) {
        let host = self.host(pick);
        if self.speaks(host) {
            let remediation = "restart-web".parse().expect("a name");
            let asked = self.world.ask_with(host, |request| {
                request.purpose = Purpose::Offline { check: web(), remediation };
            });
            self.budgets.extend(asked.ok());
        }
    }

    fn use_unit(&mut self, pick: usize, ending: Ending) {
        if let Some((_, left)) = self.budget(pick)
            && let Some(unit) = left.first()
        {
            self.world.end(unit, ending);
        }
    }

    fn give_back(&mut self, pick: usize) {
        let Some((budget, left)) = self.budget(pick) else { return };
        let used = budget.units.get() - u32::try_from(left.len()).expect("few");
        let returned = OfflineReturned { permit: budget.permit, used };
        let said = self.world.say(budget.host, Body::OfflineReturned(Box::new(returned)));
        assert_eq!(said, Outcome::Done);
        self.budgets.retain(|held| held.permit != budget.permit);
    }

    /// Mutes and their ends, which either leave one record or a refusal.
    fn mute(&mut self, scope: Scope, lasts: Duration) {
        let mute = MuteId::from_uuid(self.world.mint());
        self.mutes.push((mute, scope.clone(), self.world.now.wall.plus(lasts)));
        let request = PersonRequest::Mute { mute, scope, lasts, why: "noise".to_owned() };
        drop(self.world.person_with(request, self.muting.said()));
    }

    fn lift_mute(&mut self, pick: usize) {
        let now = self.world.now.wall;
        self.mutes.retain(|(_, _, until)| *until > now);
        if pick < self.mutes.len() {
            let (mute, scope, _) = self.mutes.swap_remove(pick);
            let request = PersonRequest::LiftMute { mute, scope, why: "quiet".to_owned() };
            drop(self.world.person_with(request, self.muting.said()));
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Becomes(pick, status) => self.on_speaking(pick, |world, host| world.becomes(host, status)),
            Step::Ask(pick) => {
                let sick = |host: &&HostId| self.world.status(**host) == Status::Critical && self.speaks(**host);
                let sick: Vec<HostId> = self.hosts.iter().filter(sick).copied().collect();
                if let Some(host) = sick.get(pick % sick.len().max(1)) {
                    drop(self.world.ask(*host));
                }
            }
            Step::AskForNothing(pick) => self.on_speaking(pick, |world, host| {
                assert!(world.ask_with(host, |request| request.targets.clear()).is_err(), "an empty target is granted");
            }),
            Step::AskAgain(pick) => self.on_speaking(pick, |world, host| {
                let request = world.request(host);
                let first = world.say(host, Body::PermitRequested(Box::new(request.clone())));
                let again = world.say(host, Body::PermitRequested(Box::new(request)));
                assert_eq!(first, again, "the same request gets another answer");
            }),
            Step::AskInAdvance(pick) => self.ask_in_advance(pick),
            Step::UseUnit(pick, ending) => self.use_unit(pick, ending),
            Step::GiveBack(pick) => self.give_back(pick),
            Step::End(pick, ending) => {
                if let Some(permit) = self.running(pick) {
                    self.world.end(&permit, ending);
                }
            }
            Step::Reject(pick, because) => {
                if let Some(permit) = self.running(pick) {
                    self.world.reject(&permit, because);
                }
            }
            Step::Advance(by) => self.world.advance(by),
            Step::Lose => {
                self.world.advance(Duration::from_mins(10));
                self.world.tick();
            }
            Step::Tick => self.world.tick(),
            Step::Restart => {
                self.world.restart();
                self.oracle.restarted();
            }
            Step::Stop(scope) => self.world.done(PersonRequest::Stop { scope, why: "stop".to_owned() }),
            Step::Resume(scope) => drop(self.world.person(PersonRequest::Resume { scope, why: "go on".to_owned() })),
            Step::StartDrill(pick) => {
                let host = self.host(pick);
                let (drill, _) = self.world.start_drill(host);
                self.drills.push((host, drill));
            }
            Step::Inject(pick) => {
                if let Some((host, drill)) = self.drills.get(pick % self.drills.len().max(1)).copied()
                    && self.speaks(host)
                {
                    drop(self.world.ask_to_inject(host, drill));
                }
            }
            Step::State(pick, state) => {
                let host = self.host(pick);
                drop(self.world.person(PersonRequest::SetHostState { host, state, why: "odd".to_owned() }));
            }
            Step::Describe(pick, os) => self.on_speaking(pick, |world, host| {
                let known = world.core.state().host(host).expect("a host");
                let mut described = description(known.name.as_str(), known.environment.as_str());
                os.clone_into(&mut described.os.version);
                world.say(host, Body::HostDescribed(Box::new(described)));
            }),
            Step::Freeze(scope, lasts) => {
                let freeze = FreezeId::from_uuid(self.world.mint());
                drop(self.world.person(PersonRequest::Freeze { freeze, scope, lasts, why: "a move".to_owned() }));
            }
            Step::Mute(scope, lasts) => self.mute(scope, lasts),
            Step::LiftMute(pick) => self.lift_mute(pick),
            Step::People(step) => self.people(step),
            Step::Sense(heard, lag) => {
                let production = "production".parse().expect("a name");
                self.world.senses = Senses { heard: BTreeMap::from([(production, heard)]), lag, ..Senses::default() };
                self.world.tick();
            }
            Step::Configure(guard, storm) => {
                self.world.guard = self.deeds.guard(guard);
                self.world.limits.storm = storm;
                self.configure("alice");
            }
        }
        self.oracle.check(&self.world);
    }

    fn on_speaking(&mut self, pick: usize, act: impl FnOnce(&mut World, HostId)) {
        let host = self.host(pick);
        if self.speaks(host) {
            act(&mut self.world, host);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_breaks_a_rule_and_every_history_replays_to_the_same_state(
        history in histories(Mode::Auto),
        deeds in select(vec![Deeds::Restarts, Deeds::Starts]),
    ) {
        let mut play = Play::new(Muting::Allowed, deeds, Mode::Auto);
        for step in history {
            play.step(step);
        }
        prop_assert!(&play.world.replayed() == play.world.core.state());
    }
}

proptest! {
    // Each begins with drills of two versions.
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_in_which_people_have_to_approve_breaks_a_rule(
        history in histories(Mode::Approve),
        deeds in select(vec![Deeds::Restarts, Deeds::Starts]),
    ) {
        let mut play = Play::new(Muting::Allowed, deeds, Mode::Approve);
        for step in history {
            play.step(step);
        }
        prop_assert!(&play.world.replayed() == play.world.core.state());
    }
}

proptest! {
    // Each is played twice.
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_record_is_the_same_with_and_without_mutes(history in proptest::collection::vec(steps(), 1..150)) {
        let [muted, plain] = [Muting::Allowed, Muting::Denied].map(|muting| {
            let mut play = Play::new(muting, Deeds::Starts, Mode::Auto);
            for step in history.clone() {
                play.step(step);
            }
            play.world.log.iter().map(|logged| (logged.received_at, logged.record.clone())).collect::<Vec<_>>()
        });
        prop_assert_eq!(muted.len(), plain.len());
        for (with, without) in muted.iter().zip(&plain) {
            let denied = matches!(&without.1.body, Body::ActionRefused(refused) if refused.action.starts_with("mute."));
            let mutes = matches!(with.1.body, Body::MuteStarted(_) | Body::MuteLifted(_));
            prop_assert_eq!(denied, mutes);
            prop_assert!(denied || with == without, "{:?} is not {:?}", with, without);
        }
    }
}

#[test]
fn the_histories_reach_grants_refusals_and_lost_runs() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut grants, mut refusals, mut lost, mut opened, mut muted) = (0, 0, 0, 0, 0);
    let (mut offline, mut expired) = (0, 0);
    for deeds in [Deeds::Restarts, Deeds::Starts].into_iter().cycle().take(40) {
        let history = proptest::collection::vec(steps(), 150).new_tree(&mut runner).expect("a history").current();
        let mut play = Play::new(Muting::Allowed, deeds, Mode::Auto);
        for step in history {
            play.step(step);
        }
        // Two permits are the fixture's.
        grants += play.oracle.grants - 2;
        refusals += play.oracle.refusals;
        lost += play.oracle.lost;
        offline += play.oracle.offline_runs;
        expired += play.oracle.expired;
        opened += play.oracle.opened;
        muted += play.world.count(|body| matches!(body, Body::MuteStarted(_) | Body::MuteLifted(_)));
    }
    assert!(grants > 50 && refusals > 100 && lost > 5, "{grants} grants, {refusals} refusals, {lost} lost runs");
    assert!(offline > 10 && expired > 2, "{offline} runs under budgets in advance, {expired} that expired");
    assert!(opened > 50, "{opened} breakers opened by storms, blindness and a log that lags");
    assert!(muted > 50, "{muted} mutes and their ends");
}

#[test]
fn the_histories_in_which_people_have_to_approve_reach_permits_and_every_end_of_a_proposal() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut used, mut ended) = (0, BTreeSet::new());
    for deeds in [Deeds::Restarts, Deeds::Starts].into_iter().cycle().take(50) {
        let history = histories(Mode::Approve).new_tree(&mut runner).expect("a history").current();
        let mut play = Play::new(Muting::Allowed, deeds, Mode::Approve);
        for step in history {
            play.step(step);
        }
        used += play.oracle.approvals.used;
        ended.append(&mut play.oracle.approvals.ended);
    }
    assert!(used > 15, "{used} permits that people said yes to");
    let every = [
        "approver-lost",
        "configuration-changed",
        "expired",
        "policies-changed",
        "rejected",
        "targets-changed",
        "transition-changed",
    ];
    assert_eq!(ended, BTreeSet::from(every));
}
