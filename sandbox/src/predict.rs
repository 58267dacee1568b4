//! Plan mode: the playbook with real reads and predicted effects.
//!
//! The effector asks the [`Predictor`] for each call of the component and gets either the answer or
//! an observing call to ask the real host first. A changing call is never among those: it becomes a
//! planned step, and later looks at the thing show what it would be like then. What the real run
//! would be refused is refused here, by the same [`Authority`]. What the component is answered has
//! the shape that the real run would have: it cannot find out that it is only planned.
//!
//! A plan claims no certainty: once the component has seen a prediction, later steps rest on it.

mod overlay;

use crate::authority::Authority;
use crate::call::{
    ActError, Call, ClockCall, Effect, HealthCall, HealthReport, Receipt, ReleaseCall, Reply, ServiceCall, Verdict,
};
use crate::journal::{action_id, cleaned};
use crate::machine::{MAX_CALLS, MAX_CHANGING_CALLS};
use crate::words::arguments;
use fettle_model::id::RunId;
use fettle_model::playbook::Action;
use fettle_model::run::{Certainty, Claim, PlannedStep, UndoClass};
use fettle_model::time::{UnixMillis, whole_millis};
use overlay::{Overlay, Refusal};
use std::time::Duration;

/// What a component's call gets in plan mode.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// This answer.
    Answer(Reply),
    /// The host is to be asked this first; its answer goes to [`Predictor::looked`].
    Look(Call),
    /// Nothing more: the component asked more than a run may ask. The worker is ended.
    TooMany,
}

/// The parts of a [`fettle_model::run::Plan`] that come from the component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predicted {
    /// The changing calls in order; the refused ones are not among them.
    pub steps: Vec<PlannedStep>,
    /// What the playbook says in the end, cleaned.
    pub claim: Claim,
}

/// Predicts one run.
#[derive(Debug, Clone)]
pub struct Predictor {
    authority: Authority,
    overlay: Overlay,
    pending: Option<Pending>,
    steps: Vec<PlannedStep>,
    certainty: Certainty,
    run: RunId,
    calls: u32,
    /// Changing calls, the refused ones included.
    numbers: u32,
    /// Virtual time that the component has slept.
    slept: Duration,
    started_at: UnixMillis,
    within: Duration,
}

/// A call that waits for a look at the host.
#[derive(Debug, Clone, PartialEq)]
struct Pending {
    call: Call,
    asked: Call,
}

impl Predictor {
    /// A predictor for this run, of at most `within`.
    #[must_use]
    pub const fn new(authority: Authority, run: RunId, started_at: UnixMillis, within: Duration) -> Self {
        Self {
            authority,
            overlay: Overlay::new(run),
            pending: None,
            steps: Vec::new(),
            certainty: Certainty::Observed,
            run,
            calls: 0,
            numbers: 0,
            slept: Duration::ZERO,
            started_at,
            within,
        }
    }

    /// The component asks. `now` is the wall clock.
    pub fn called(&mut self, now: UnixMillis, call: Call) -> Asked {
        self.calls += 1;
        if self.calls > MAX_CALLS {
            return Asked::TooMany;
        }
        let now = now.plus(self.slept);
        match call.effect() {
            Effect::Observes => self.observe(now, call),
            Effect::Changes(action) => {
                self.numbers += 1;
                if self.numbers > MAX_CHANGING_CALLS {
                    return Asked::TooMany;
                }
                let effects = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
                match self.authority.act(&call, action, effects) {
                    Ok(()) => self.act(now, call, action),
                    Err(error) => Asked::Answer(Reply::Acted(Err(error))),
                }
            }
        }
    }

    /// The host's answer to [`Asked::Look`]. Without a look in progress, or with an answer of another
    /// shape, there is nothing to go on with.
    pub fn looked(&mut self, now: UnixMillis, reply: Reply) -> Asked {
        let Some(Pending { call, asked }) = self.pending.take() else { return Asked::TooMany };
        if !asked.accepts(&reply) {
            return Asked::TooMany;
        }
        let now = now.plus(self.slept);
        self.overlay.saw(&asked, &reply);
        match call.effect() {
            Effect::Changes(action) => match refused(&reply) {
                Some(error) => Asked::Answer(Reply::Acted(Err(error))),
                None => self.act(now, call, action),
            },
            Effect::Observes if call == asked => Asked::Answer(reply),
            Effect::Observes => Asked::Answer(self.overlay.waited(&call, reply)),
        }
    }

    /// The component has ended.
    #[must_use]
    pub fn finish(self, claim: Claim) -> Predicted {
        Predicted { steps: self.steps, claim: cleaned(claim) }
    }

    fn observe(&mut self, now: UnixMillis, call: Call) -> Asked {
        match &call {
            Call::Clock(ClockCall::Now) => Asked::Answer(Reply::Time(now)),
            Call::Clock(ClockCall::Remaining) => {
                let left = self.within.saturating_sub(now.since(self.started_at));
                Asked::Answer(Reply::Millis(u32::try_from(whole_millis(left)).unwrap_or(u32::MAX)))
            }
            Call::Clock(ClockCall::Sleep { duration_ms }) => {
                self.slept = self.slept.saturating_add(Duration::from_millis(u64::from(*duration_ms)));
                Asked::Answer(Reply::Unit)
            }
            Call::Log(_) => Asked::Answer(Reply::Unit),
            Call::Facts(_) | Call::Service { .. } | Call::Release { .. } | Call::Flag { .. } | Call::Health { .. } => {
                match self.authority.look(&call) {
                    Err(reply) => Asked::Answer(reply),
                    Ok(()) => self.look(call),
                }
            }
        }
    }

    fn look(&mut self, call: Call) -> Asked {
        if let Some(reply) = self.overlay.answer(&call) {
            return Asked::Answer(reply);
        }
        let predicted = self.certainty == Certainty::Conditional;
        let asked = match &call {
            // The real check knows nothing of what was only predicted.
            Call::Health { op: HealthCall::Probe | HealthCall::WaitHealthy { .. }, .. } if predicted => {
                let report = HealthReport { verdict: Verdict::Healthy, reasons: Vec::new() };
                return Asked::Answer(Reply::Health(Ok(report)));
            }
            Call::Service { label, op: ServiceCall::WaitFor { .. } } if predicted => {
                Call::Service { label: label.clone(), op: ServiceCall::Status }
            }
            Call::Release { label, op: ReleaseCall::WaitSettled { .. } } if predicted => {
                Call::Release { label: label.clone(), op: ReleaseCall::Current }
            }
            Call::Clock(_)
            | Call::Log(_)
            | Call::Facts(_)
            | Call::Service { .. }
            | Call::Release { .. }
            | Call::Flag { .. }
            | Call::Health { .. } => call.clone(),
        };
        self.pending = Some(Pending { call, asked: asked.clone() });
        Asked::Look(asked)
    }

    /// Predicts a deed, once everything was seen that it rests on.
    fn act(&mut self, now: UnixMillis, call: Call, action: Action) -> Asked {
        if let Some(asked) = self.overlay.missing(&call) {
            self.pending = Some(Pending { call, asked: asked.clone() });
            return Asked::Look(asked);
        }
        let Some(label) = call.label() else { return Asked::TooMany };
        let change = match self.overlay.apply(&call, now) {
            Ok(change) => change,
            Err(Refusal::Stale(revision)) => return Asked::Answer(Reply::Acted(Err(ActError::Stale(revision)))),
            Err(Refusal::Failed(why)) => return Asked::Answer(Reply::Acted(Err(ActError::Failed(why)))),
        };
        self.steps.push(PlannedStep {
            action,
            label: label.clone(),
            arguments: arguments(&call),
            certainty: self.certainty,
        });
        self.certainty = Certainty::Conditional;
        // The component must not learn that it is planned: the id is that of the real run.
        let action_id = action_id(self.run, self.numbers);
        Asked::Answer(Reply::Acted(Ok(Receipt { action_id, undo: undo(action), change })))
    }
}

/// The real run would look before it acts, and fail as this look did.
fn refused(reply: &Reply) -> Option<ActError> {
    let error = match reply {
        Reply::Service(Err(error))
        | Reply::CurrentRelease(Err(error))
        | Reply::Releases(Err(error))
        | Reply::Flag(Err(error)) => error,
        Reply::Unit
        | Reply::Time(_)
        | Reply::Millis(_)
        | Reply::Opened(_)
        | Reply::Fact(_)
        | Reply::Service(Ok(_))
        | Reply::Lines(_)
        | Reply::CurrentRelease(Ok(_))
        | Reply::Releases(Ok(_))
        | Reply::Settled(_)
        | Reply::Flag(Ok(_))
        | Reply::Health(_)
        | Reply::Acted(_) => return None,
    };
    Some(ActError::Failed(format!("cannot look before acting: {error}")))
}

const fn undo(action: Action) -> UndoClass {
    match action {
        Action::Restart | Action::Reload => UndoClass::None,
        Action::Start | Action::Stop | Action::Activate => UndoClass::Automatic,
        Action::Set => UndoClass::Expires,
    }
}

#[cfg(test)]
mod tests;
