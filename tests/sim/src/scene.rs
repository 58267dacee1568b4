//! The scene: time, the queue of what is to happen, chance, the network, and the truth. Everybody who acts gets it.

use crate::fixture::{BEGUN, HOSTS};
use crate::flaw::Flaw;
use crate::host::Timer;
use crate::setting::Setting;
use crate::truth::Truth;
use fettle_model::counter::AgentSequence;
use fettle_model::id::RequestId;
use fettle_model::proposal::Proposal;
use fettle_model::record::Record;
use fettle_model::time::{UnixMillis, whole_millis};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// What an agent sends.
#[derive(Debug, Clone)]
pub(crate) enum Up {
    /// The envelope of a record of its chain.
    Record(Arc<Vec<u8>>),
    /// It is here, and waits for these answers.
    Hello { unanswered: Vec<RequestId> },
}

/// What an agent is sent.
#[derive(Debug, Clone)]
pub(crate) enum Down {
    /// Its records up to this one are in the log.
    Acknowledged(AgentSequence),
    /// A record of the log that concerns it.
    Published(Arc<Record>),
}

/// What is to happen.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A message comes to a control plane.
    Up { process: usize, host: usize, message: Up },
    /// A message comes to an agent.
    Down { host: usize, message: Down },
    /// Something of an agent's process or its host.
    Host { host: usize, timer: Timer },
    /// Time for a control plane to look what has come due.
    Tick { process: usize },
    /// The newest control plane dies, and is started again later.
    Crash,
    /// A control plane is started beside whatever runs.
    Lead,
    /// An agent finds the newest leader.
    Reconnect { host: usize },
    /// A person stops or resumes something.
    Person,
    /// A person decides what was proposed.
    Decides { person: usize, proposal: Arc<Proposal> },
    /// What a person signed comes to the newest control plane, in somebody's name.
    Brought { by: usize, envelope: Arc<Vec<u8>> },
    /// A host is cut off for a while.
    Partition { host: usize },
    /// From here on nothing goes wrong any more.
    Calm,
    /// From here on every service is well.
    Heal,
}

/// Whether things still go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Storm,
    Calm,
    /// Nothing fails any more, so that what is under way ends.
    Still,
}

/// A clock that runs too fast or too slow, by so many parts in a million.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate(i32);

impl Rate {
    /// What the clock shows after `real`.
    pub(crate) fn shown(self, real: Duration) -> Duration {
        real.mul_f64(1.0 + f64::from(self.0) / 1e6)
    }

    /// When the clock will have shown `shown`, and a little later.
    pub(crate) fn real(self, shown: Duration) -> Duration {
        shown.div_f64(1.0 + f64::from(self.0) / 1e6) + Duration::from_millis(1)
    }
}

/// Half of the error that the protocol allows for between two clocks: 0.5 %.
const WORST_RATE: i32 = 5_000;

/// The scene.
pub(crate) struct Scene {
    pub(crate) now: Duration,
    pub(crate) weather: Weather,
    pub(crate) flaw: Option<Flaw>,
    pub(crate) setting: Setting,
    pub(crate) truth: Truth,
    rng: fastrand::Rng,
    queue: BTreeMap<(Duration, u64), Event>,
    number: u64,
    cut_off_until: [Duration; HOSTS],
}

impl Scene {
    pub(crate) fn new(rng: fastrand::Rng, flaw: Option<Flaw>, setting: Setting) -> Self {
        Self {
            now: Duration::ZERO,
            weather: Weather::Storm,
            flaw,
            setting,
            truth: Truth::new(setting.limit),
            rng,
            queue: BTreeMap::new(),
            number: 0,
            cut_off_until: [Duration::ZERO; HOSTS],
        }
    }

    /// The next thing; time goes on to it.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let ((at, _), event) = self.queue.pop_first()?;
        self.now = at;
        Some(event)
    }

    pub(crate) fn after(&mut self, delay: Duration, event: Event) {
        self.number += 1;
        self.queue.insert((self.now + delay, self.number), event);
    }

    /// Some time in the range, in milliseconds.
    pub(crate) fn within(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.rng.u64(range))
    }

    /// In so many of a thousand cases.
    pub(crate) fn chance(&mut self, per_mille: u32) -> bool {
        self.rng.u32(0..1_000) < per_mille
    }

    /// A mishap; none in calm weather.
    pub(crate) fn mishap(&mut self, per_mille: u32) -> bool {
        self.weather == Weather::Storm && self.chance(per_mille)
    }

    pub(crate) fn pick(&mut self, of: usize) -> usize {
        self.rng.usize(0..of)
    }

    pub(crate) fn mint(&mut self) -> Uuid {
        Uuid::from_u128(self.rng.u128(..))
    }

    pub(crate) fn rate(&mut self) -> Rate {
        Rate(self.rng.i32(-WORST_RATE..=WORST_RATE))
    }

    /// A wall clock that is this much ahead of the true one.
    pub(crate) fn wall(&self, ahead: Duration) -> UnixMillis {
        UnixMillis(BEGUN.0 + whole_millis(self.now + ahead))
    }

    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub(crate) fn cut_off(&mut self, host: usize, for_how_long: Duration) {
        if let Some(until) = self.cut_off_until.get_mut(host) {
            *until = self.now + for_how_long;
        }
    }

    /// Sends something over the wire of a host: it may be lost, come late, or come twice.
    pub(crate) fn send(&mut self, host: usize, event: &Event) {
        let cut_off = self.cut_off_until.get(host).is_some_and(|until| *until > self.now);
        if (cut_off && self.weather == Weather::Storm) || self.mishap(40) {
            return;
        }
        let copies = if self.mishap(80) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = if self.mishap(4) {
                self.within(60_000..420_000)
            } else if self.mishap(20) {
                self.within(10_000..60_000)
            } else if self.mishap(100) {
                self.within(200..4_000)
            } else {
                self.within(5..100)
            };
            self.after(delay, event.clone());
        }
    }

    /// To an agent.
    pub(crate) fn tell(&mut self, host: usize, message: Down) {
        self.send(host, &Event::Down { host, message });
    }
}
