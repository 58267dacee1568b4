//! Whatever happens in whatever order, and wherever the effector crashes: a run keeps its word.
//!
//! A generated list of choices decides what comes next: which answer, which event, how the host
//! answers, whether the effector crashes between two actions. When the choices are used up, the host
//! obliges. A host of its own keeps the truth about each effect, and at the end the record is held
//! against it.

use super::*;
use crate::call::Effect;
use crate::journal::{Durability, Halt};
use fettle_model::playbook::Reversibility;
use fettle_model::run::{Step, StepOutcome};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most turns of one run; every choice costs one, and the longest obliging course about 60.
const MAX_TURNS: usize = 2_000;

/// What was asked of the outside and is not answered.
#[derive(Debug, Clone, PartialEq)]
enum Pending {
    Check,
    Look(Call),
    Before(SimDeed),
    /// A step's number.
    Publish(u32),
    /// Place of the intent in the journal.
    Perform(usize, Result<SimDone, ActError>),
    LookAfterCrash(usize),
    Worker,
}

struct Choices(std::vec::IntoIter<u8>);

impl Choices {
    /// Below `of`; 0, which obliges, when there are none left.
    fn next(&mut self, of: usize) -> usize {
        self.0.next().map_or(0, |choice| usize::from(choice) % of)
    }
}

struct Outside {
    charter: Charter,
    machine: Machine<SimDeed>,
    choices: Choices,
    queue: VecDeque<Action<SimDeed>>,
    pending: Vec<Pending>,
    watching: bool,
    /// What the component does; it knows nothing else than the replies.
    script: Vec<Call>,
    claim: Result<Claim, Stop>,
    made: usize,
    durable: Vec<Entry<SimDeed>>,
    now: Now,
    /// Steps whose intents the log holds.
    published: BTreeSet<u32>,
    /// Whether the effect of the intent at this place happened.
    happened: BTreeMap<usize, bool>,
    /// What the component was told at each of its calls.
    told: BTreeMap<usize, Reply>,
    records: Vec<RunRecord>,
    /// How often the process was to end for a drill.
    killed: u32,
}

impl Outside {
    fn new(charter: Charter, script: Vec<Call>, claim: Result<Claim, Stop>, choices: Vec<u8>) -> Self {
        let (machine, actions) = Machine::open(charter.clone(), after(0)).expect("the charter is sound");
        Self {
            charter,
            machine,
            choices: Choices(choices.into_iter()),
            queue: actions.into(),
            pending: Vec::new(),
            watching: false,
            script,
            claim,
            made: 0,
            durable: Vec::new(),
            now: after(0),
            published: BTreeSet::new(),
            happened: BTreeMap::new(),
            told: BTreeMap::new(),
            records: Vec::new(),
            killed: 0,
        }
    }

    fn live(&mut self) {
        for _ in 0..MAX_TURNS {
            if let Some(action) = self.queue.pop_front() {
                if self.choices.next(24) == 23 && !self.durable.is_empty() {
                    self.crash();
                } else {
                    self.carry_out(action);
                }
            } else if self.machine.has_ended() {
                return;
            } else {
                self.something_happens();
            }
        }
        panic!("the run does not end: {:?}, {:?}", self.pending, self.durable);
    }

    fn feed(&mut self, event: Event<SimDeed>) {
        let actions = self.machine.handle(self.now, event).expect("only what was asked for is fed");
        self.queue.extend(actions);
    }

    fn pass(&mut self, ms: u64) {
        self.now.on_boot = BootInstant(self.now.on_boot.0 + ms);
        self.now.wall = fettle_model::time::UnixMillis(self.now.wall.0 + ms);
    }

    fn something_happens(&mut self) {
        match self.choices.next(16) {
            11 => self.feed(ordered()),
            12 => {
                self.pending.retain(|pending| *pending != Pending::Worker);
                self.feed(Event::WorkerDied { detail: "killed".to_owned() });
            }
            13 => self.crash(),
            14 => {
                self.pass(30_000);
                self.feed(Event::Tick);
            }
            _ if !self.pending.is_empty() => {
                let chosen = self.choices.next(self.pending.len());
                let pending = self.pending.remove(chosen);
                self.answer(pending);
            }
            _ if self.watching => {
                let status = [Status::Passing, Status::Critical, Status::Unknown][self.choices.next(3)];
                self.pass(1_000);
                self.feed(Event::ConfirmSaw(status));
            }
            _ => {
                let until = self.machine.wakes_at().expect("something is awaited");
                self.pass(until.0.saturating_sub(self.now.on_boot.0));
                self.feed(Event::Tick);
            }
        }
    }

    fn answer(&mut self, pending: Pending) {
        match pending {
            Pending::Check => {
                let status = [Status::Critical, Status::Critical, Status::Passing, Status::Unknown];
                let status = status[self.choices.next(4)];
                self.feed(Event::CheckRerun(status));
            }
            Pending::Look(call) => self.feed(Event::Looked(seen(&call))),
            Pending::Before(deed) => {
                let before = match self.choices.next(8) {
                    4 => Err(ActError::Stale(Revision("theirs".to_owned()))),
                    5 => Err(ActError::Denied("above the ceiling".to_owned())),
                    6 => Err(ActError::OffPlan),
                    7 => Err(ActError::Failed("no bus".to_owned())),
                    _ => Ok(before()),
                };
                let _ = deed;
                self.feed(Event::Prepared(before));
            }
            Pending::Publish(number) => {
                self.published.insert(number);
                self.feed(Event::Published { number });
            }
            Pending::Perform(_, result) => self.feed(Event::Acted(result)),
            Pending::LookAfterCrash(intent) => {
                let look = match (self.choices.next(4), self.happened.get(&intent)) {
                    (3, _) => Look::CannotTell("fog".to_owned()),
                    (_, Some(true)) => Look::Applied(self.done(intent)),
                    (_, Some(false) | None) => Look::NotApplied,
                };
                self.feed(Event::LookedAfterCrash(look));
            }
            Pending::Worker => match self.script.get(self.made) {
                Some(call) => self.feed(Event::WorkerCalled(call.clone())),
                None => self.feed(Event::WorkerReturned(Execution { claim: self.claim.clone(), fuel_used: 1 })),
            },
        }
    }

    fn carry_out(&mut self, action: Action<SimDeed>) {
        match action {
            Action::Journal(entry) => self.durable.push(entry),
            Action::RerunCheck(_) => self.pending.push(Pending::Check),
            Action::PlanFault(_) => panic!("this is no drill"),
            Action::StartWorker => {
                self.made = 0;
                self.pending.push(Pending::Worker);
            }
            Action::Reply(reply) => {
                let before = self.told.entry(self.made).or_insert_with(|| reply.clone());
                assert_eq!(before, &reply, "call {} is answered as in the life before", self.made);
                self.made += 1;
                self.pending.push(Pending::Worker);
            }
            Action::Look(call) => self.pending.push(Pending::Look(call)),
            Action::Before(deed) => self.pending.push(Pending::Before(deed)),
            Action::Publish(intent) => self.pending.push(Pending::Publish(intent.number)),
            Action::Perform { deed, .. } => self.perform(&deed),
            Action::LookAfterCrash { deed, .. } => {
                let intent = self.unsettled(&deed);
                self.pending.push(Pending::LookAfterCrash(intent));
            }
            Action::WatchCheck(_) => self.watching = true,
            Action::StopWatching => self.watching = false,
            Action::EndProcess => {
                self.killed += 1;
                self.crash();
            }
            Action::KillWorker => {
                // What it had under way may still come, late.
                if self.choices.next(2) == 0 {
                    self.pending.retain(|pending| !matches!(pending, Pending::Worker | Pending::Look(_)));
                }
            }
            Action::End(record) => self.records.push(*record),
        }
    }

    /// An effect: it happens, or fails, or ends in the dark; the effector may crash before it knows.
    fn perform(&mut self, deed: &SimDeed) {
        let intent = self.unsettled(deed);
        assert_eq!(intent, self.durable.len() - 1, "nothing comes between an intent and its effect");
        self.may_act(intent);
        if let Entry::Intent { number, .. } = &self.durable[intent] {
            let waits = deed.reversibility() == Reversibility::Irreversible;
            assert!(!waits || self.published.contains(number), "step {number} is not in the log");
        }
        let fog = || Err(ActError::Indeterminate("fog".to_owned()));
        let (happened, result) = match self.choices.next(8) {
            5 => (false, Err(ActError::Failed("no bus".to_owned()))),
            6 => (false, fog()),
            7 => (true, fog()),
            _ => (true, Ok(self.done(intent))),
        };
        assert_eq!(self.happened.insert(intent, happened), None, "an effect was tried twice");
        assert!(!self.pending.iter().any(|pending| matches!(pending, Pending::Perform(..))), "two effects at once");
        self.pending.push(Pending::Perform(intent, result));
    }

    /// What must be durable before an effect.
    fn may_act(&self, intent: usize) {
        let before = &self.durable[..intent];
        let is_undo = matches!(self.durable[intent], Entry::UndoIntent { .. });
        let halted = before.iter().any(|entry| matches!(entry, Entry::Halted { .. }));
        assert!(is_undo || !halted, "the component acts after the run was halted");
        assert!(!before.iter().any(is_order), "something is begun after the run was stopped");
        assert_eq!(self.now.boot, boot(1), "the permit is of another boot");
        if crate::journal::begun(before).next().is_none() {
            let last = before.iter().rev().find(|entry| matches!(entry, Entry::Checked { .. } | Entry::Resumed { .. }));
            assert!(
                matches!(last, Some(Entry::Checked { status: Status::Critical, .. })),
                "the check was not run again before the first effect: {last:?}"
            );
        }
    }

    /// Place of the last intent, which is of this deed.
    fn unsettled(&self, deed: &SimDeed) -> usize {
        let intended = |entry: &Entry<SimDeed>| {
            if let Entry::Intent { asked, .. } = entry {
                asked.deed()
            } else if let Entry::UndoIntent { deed, .. } = entry {
                Some(deed.clone())
            } else {
                None
            }
        };
        let place = self.durable.iter().rposition(|entry| intended(entry).is_some()).expect("its intent is durable");
        assert_eq!(intended(&self.durable[place]).as_ref(), Some(deed));
        place
    }

    fn done(&self, intent: usize) -> SimDone {
        let is_undo = matches!(self.durable[intent], Entry::UndoIntent { .. });
        if is_undo { SimDone { inverse: None, ..done() } } else { done() }
    }

    fn crash(&mut self) {
        self.queue.clear();
        self.pending.clear();
        self.watching = false;
        if self.choices.next(8) == 7 {
            self.now.boot = boot(2);
            // The power was cut: what was not yet on the disk is lost.
            while self.durable.last().is_some_and(|entry| entry.durability() == Durability::WithNext) {
                self.durable.pop();
            }
        }
        let (machine, actions) =
            Machine::resume(self.charter.clone(), self.durable.clone(), self.now).expect("it wrote this itself");
        self.machine = machine;
        self.queue = actions.into();
    }

    /// The record against the truth.
    fn judge(&self) {
        let record = self.records.first().expect("the run has a record");
        assert!(self.records.iter().all(|again| again == record), "two different records");
        let last = self.durable.last();
        assert!(matches!(last, Some(Entry::Ended { ending, .. }) if *ending == record.ending), "{last:?}");
        Replay::from_entries(self.durable.clone()).expect("the journal reads back");
        assert!(self.killed <= u32::from(self.charter.permit().kill.is_some()), "killed without need");
        assert!(record.resumed >= self.killed, "killed, and the record does not say that it was resumed");
        let all = |wanted: fn(&Entry<SimDeed>) -> bool| self.durable.iter().filter(|entry| wanted(entry)).count();
        let begun = |place: &&usize| matches!(self.durable.get(**place), Some(Entry::Intent { .. }));
        let effects = self.happened.keys().filter(begun).count();
        assert!(effects <= 3, "{effects} effects, and the permit allows 3");
        self.judge_steps(record);
        let undone: Vec<u32> = self.durable.iter().filter_map(undoes).collect();
        assert!(undone.windows(2).all(|pair| pair[0] > pair[1]), "undone in another order: {undone:?}");
        let unclear =
            |steps: &[Step]| steps.iter().any(|step| matches!(step.outcome, StepOutcome::Indeterminate { .. }));
        match record.ending {
            Ending::Succeeded => assert_eq!(record.confirmed, Some(Status::Passing)),
            Ending::Superseded => assert!(self.happened.is_empty(), "something was done"),
            Ending::Cancelled => assert_eq!(all(is_order), 1),
            Ending::Reverted => {
                assert!(record.undone.iter().all(|step| matches!(step.outcome, StepOutcome::Done { .. })));
            }
            Ending::Failed | Ending::Ineffective | Ending::InDoubt => {}
            Ending::Expired => panic!("a run that has begun does not expire"),
        }
        let in_doubt = matches!(record.ending, Ending::InDoubt | Ending::Succeeded);
        assert!(
            in_doubt || !(unclear(&record.steps) || unclear(&record.undone)),
            "a doubt was swept aside: {record:?}"
        );
    }

    /// No step is said to have happened that did not, or the other way round.
    fn judge_steps(&self, record: &RunRecord) {
        let intents = self.durable.iter().enumerate().filter_map(|(place, entry)| {
            if let Entry::Intent { number, .. } = entry { Some((*number, place)) } else { None }
        });
        for (number, place) in intents {
            let begun = self.happened.contains_key(&place);
            let happened = self.happened.get(&place).copied().unwrap_or(false);
            let step = record.steps.iter().find(|step| step.number == number).expect("every intent is a step");
            match &step.outcome {
                StepOutcome::Done { .. } => assert!(happened, "step {number} is said to have happened"),
                StepOutcome::Failed { .. } => assert!(!happened, "step {number} is said not to have happened"),
                StepOutcome::Indeterminate { .. } => {}
                StepOutcome::Refused { .. } => assert!(!begun, "step {number} was tried"),
            }
        }
        for place in self.happened.keys() {
            let entry = self.durable.get(*place);
            assert!(
                matches!(entry, Some(Entry::Intent { .. } | Entry::UndoIntent { .. })),
                "an effect lost its intent"
            );
        }
        for step in &record.steps {
            let intended = self
                .durable
                .iter()
                .any(|entry| matches!(entry, Entry::Intent { number, .. } if *number == step.number));
            let refused = matches!(step.outcome, StepOutcome::Refused { .. } | StepOutcome::Failed { .. });
            assert!(intended || refused, "step {} has no intent", step.number);
        }
    }
}

fn is_order(entry: &Entry<SimDeed>) -> bool {
    matches!(entry, Entry::Halted { cause: Halt::Ordered { .. }, .. })
}

fn undoes(entry: &Entry<SimDeed>) -> Option<u32> {
    if let Entry::UndoIntent { of, .. } = entry { Some(*of) } else { None }
}

fn seen(call: &Call) -> Reply {
    match (call.effect(), call) {
        (Effect::Observes, Call::Service { .. }) => Reply::Service(Err(ReadError::Timeout)),
        _ => Reply::Health(Err(ReadError::Timeout)),
    }
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = prop_oneof![
        Just(phase("look")),
        Just(status()),
        Just(probe()),
        Just(Call::Clock(crate::call::ClockCall::Sleep { duration_ms: 3_000 })),
        Just(stop()),
        Just(stop()),
        Just(activate("r1", "r")),
        Just(change(playbook::Action::Restart, "r")),
        Just(change(playbook::Action::Restart, "r")),
        Just(change(playbook::Action::Reload, "r")),
    ];
    proptest::collection::vec(call, 0..8)
}

fn claims() -> impl Strategy<Value = Result<Claim, Stop>> {
    prop_oneof![
        Just(resolved()),
        Just(failed()),
        Just(Ok(Claim::Escalate { summary: "look".to_owned() })),
        Just(Err(Stop::OutOfFuel)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn every_interleaving_ends_once_and_acts_at_most_once(
        script in calls(),
        claim in claims(),
        undo in prop_oneof![Just(UndoPolicy::Automatic), Just(UndoPolicy::Leave)],
        chartered in prop_oneof![Just(charter as fn(UndoPolicy) -> Charter), Just(crate::sample::killed as fn(UndoPolicy) -> Charter)],
        choices in proptest::collection::vec(any::<u8>(), 0..150),
    ) {
        let mut outside = Outside::new(chartered(undo), script, claim, choices);
        outside.live();
        outside.judge();
    }
}
