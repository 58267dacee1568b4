//! A host: what outlives its agent's process. Its disk, its clocks, and the service that faults and playbooks change.

use crate::agent::Life;
use crate::fixture;
use crate::flaw::Flaw;
use crate::scene::{Event, Rate, Scene};
use crate::truth::Progress;
use fettle_model::check::Status;
use fettle_model::id::{BootId, RunId};
use fettle_model::run::{Change, UndoClass};
use fettle_model::time::{BootInstant, whole_millis};
use fettle_sandbox::call::Revision;
use fettle_sandbox::journal::Look;
use fettle_sandbox::machine::Now;
use fettle_sandbox::simulate::{SimBefore, SimDeed, SimDone};
use std::path::PathBuf;
use std::time::Duration;

/// Something of an agent's process, or of its host, whose time has come.
#[derive(Debug, Clone)]
pub(crate) enum Timer {
    /// The service fails, and will again.
    Fault,
    /// It fails.
    Fails,
    /// The check is probed.
    Probe,
    /// The agent's process dies; an effect goes on.
    Crash,
    /// The host boots; an effect ends with it.
    Reboot,
    /// The agent's process starts.
    Start,
    /// An effect is over.
    EffectEnds { effect: usize },
    /// Of one life of the agent's process: void after it.
    Of { life: u64, due: Due },
}

/// What an agent's process waits for.
#[derive(Debug, Clone)]
pub(crate) enum Due {
    /// To say that it is here, and to send again what is not acknowledged.
    Hello,
    /// To ask again after a refusal.
    Ask,
    /// Of one run: void after it.
    Of { run: RunId, what: RunDue },
}

/// What a run waits for.
#[derive(Debug, Clone)]
pub(crate) enum RunDue {
    /// The answer to the check before the first effect.
    Check,
    /// The component's next step, if it is this worker's.
    Worker(u32),
    /// The answer to a look at the service.
    Look,
    /// What is there before a deed.
    Before(SimDeed),
    /// The log holds the intent of the step with this number.
    Published(u32),
    /// What looking finds after a crash.
    LookAfterCrash(SimBefore),
    /// The next probe of the check that confirms.
    Watch,
    /// The machine's own time.
    Wake,
}

/// The service on a host.
#[derive(Debug)]
pub(crate) struct Thing {
    pub(crate) status: Status,
    changes: u32,
    /// The effect in progress, if there is one, and the agent's life that began it.
    pub(crate) effect: Option<(usize, u64, RunId)>,
}

impl Thing {
    pub(crate) fn revision(&self) -> Revision {
        Revision(format!("r{}", self.changes))
    }

    pub(crate) fn before(&self) -> SimBefore {
        SimBefore { revision: self.revision(), deeds: self.changes }
    }
}

/// What came of a deed that happened.
pub(crate) fn done() -> SimDone {
    SimDone { change: Change::Made, undo: UndoClass::None, inverse: None }
}

/// A host.
pub(crate) struct Host {
    pub(crate) number: usize,
    pub(crate) disk: PathBuf,
    pub(crate) thing: Thing,
    pub(crate) life: Option<Life>,
    /// The control plane that its agent speaks to.
    pub(crate) leader: usize,
    lives: u64,
    boot: BootId,
    booted: Duration,
    rate: Rate,
    ahead: Duration,
}

/// How long a host takes to boot, in milliseconds.
const BOOTING: std::ops::Range<u64> = 5_000..60_000;
/// How long it takes when somebody has to come, in milliseconds: longer than a lost slot is held.
const REPAIRED: std::ops::Range<u64> = 300_000..480_000;
/// How long a service manager takes to start a dead agent again, in milliseconds.
const RESTARTING: std::ops::Range<u64> = 100..5_000;
/// How long after a change the check notices it, in milliseconds.
const PROBED: std::ops::Range<u64> = 200..1_500;
/// From one fault of a service to the next, in milliseconds.
const BETWEEN_FAULTS: std::ops::Range<u64> = 15_000..80_000;

impl Host {
    /// A host with a healthy service, whose agent is about to start.
    pub(crate) fn new(number: usize, disk: PathBuf, scene: &mut Scene) -> Self {
        let thing = Thing { status: Status::Passing, changes: 0, effect: None };
        // The wall clock of a host decides nothing: up to ten hours ahead.
        let (rate, ahead, boot) = (scene.rate(), scene.within(0..36_000_000), BootId::from_uuid(scene.mint()));
        let host = Self { number, disk, thing, life: None, leader: 0, lives: 0, boot, booted: scene.now, rate, ahead };
        host.later(scene, Duration::ZERO, Timer::Start);
        let first = scene.within(5_000..40_000);
        host.later(scene, first, Timer::Fault);
        host
    }

    pub(crate) fn later(&self, scene: &mut Scene, delay: Duration, timer: Timer) {
        scene.after(delay, Event::Host { host: self.number, timer });
    }

    pub(crate) fn now(&self, scene: &Scene) -> Now {
        let up = self.rate.shown(scene.now.saturating_sub(self.booted));
        Now { boot: self.boot, on_boot: BootInstant(whole_millis(up)), wall: scene.wall(self.ahead) }
    }

    /// How long until the boot clock shows this.
    pub(crate) fn until(&self, scene: &Scene, shown: BootInstant) -> Duration {
        let at = self.booted + self.rate.real(Duration::from_millis(shown.0));
        at.saturating_sub(scene.now)
    }

    /// Takes what is due.
    pub(crate) fn due(&mut self, scene: &mut Scene, timer: Timer) -> anyhow::Result<()> {
        match timer {
            Timer::Fault => {
                self.becomes(scene, Status::Critical);
                let next = scene.within(BETWEEN_FAULTS);
                if scene.weather == crate::scene::Weather::Storm {
                    self.later(scene, next, Timer::Fault);
                }
            }
            Timer::Fails => self.becomes(scene, Status::Critical),
            Timer::Probe => return self.probed(scene),
            Timer::Crash => self.crash(scene),
            Timer::Reboot => self.reboot(scene),
            Timer::Start => return self.start(scene),
            Timer::EffectEnds { effect } => return self.effect_ends(scene, effect),
            Timer::Of { life, due } if life == self.lives && self.life.is_some() => return self.of_agent(scene, due),
            // Of a process that is gone.
            Timer::Of { .. } => {}
        }
        Ok(())
    }

    pub(crate) const fn life_number(&self) -> u64 {
        self.lives
    }

    pub(crate) fn becomes(&mut self, scene: &mut Scene, status: Status) {
        self.thing.status = status;
        let noticed = scene.within(PROBED);
        self.later(scene, noticed, Timer::Probe);
    }

    pub(crate) fn crash(&mut self, scene: &mut Scene) {
        if self.life.take().is_none() {
            return;
        }
        if self.thing.effect.is_some() {
            scene.truth.counts.orphans += 1;
        }
        let back = scene.within(RESTARTING);
        self.later(scene, back, Timer::Start);
    }

    fn reboot(&mut self, scene: &mut Scene) {
        self.life = None;
        if let Some((effect, _, _)) = self.thing.effect.take() {
            self.settle(scene, effect);
        }
        let back = if scene.mishap(150) { scene.within(REPAIRED) } else { scene.within(BOOTING) };
        (self.boot, self.booted, self.rate) = (BootId::from_uuid(scene.mint()), scene.now + back, scene.rate());
        self.later(scene, back, Timer::Start);
    }

    fn start(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        if self.life.is_some() || scene.now < self.booted {
            return Ok(());
        }
        self.lives += 1;
        self.begin(scene)
    }

    /// An effect is over: it happened, or it failed and left the service as it was.
    fn settle(&mut self, scene: &mut Scene, effect: usize) -> Progress {
        let progress = if scene.chance(880) { Progress::Happened } else { Progress::Failed };
        if progress == Progress::Happened {
            self.thing.changes += 1;
            let helped = scene.chance(750) || scene.weather != crate::scene::Weather::Storm;
            self.becomes(scene, if helped { Status::Passing } else { Status::Critical });
        }
        scene.truth.ends(effect, progress);
        progress
    }

    fn effect_ends(&mut self, scene: &mut Scene, effect: usize) -> anyhow::Result<()> {
        let Some((current, life, run)) = self.thing.effect else { return Ok(()) };
        if current != effect {
            return Ok(());
        }
        self.thing.effect = None;
        let progress = self.settle(scene, effect);
        if life == self.lives && self.life.is_some() { self.acted(scene, run, progress) } else { Ok(()) }
    }

    /// What looking finds: the service's own revision tells. `None` while something is still at work.
    pub(crate) fn look_after_crash(&self, scene: &mut Scene, before: &SimBefore) -> Option<Look<SimDone>> {
        if self.thing.effect.is_some() && !scene.has(Flaw::LooksTooEarly) {
            return None;
        }
        if scene.mishap(50) {
            return Some(Look::CannotTell("fog".to_owned()));
        }
        let applied = self.thing.revision() != before.revision;
        Some(if applied { Look::Applied(done()) } else { Look::NotApplied })
    }

    /// Where its state file is.
    pub(crate) fn state_file(&self) -> PathBuf {
        self.disk.join(format!("agent-{}.db", self.number))
    }

    pub(crate) fn id(&self) -> fettle_model::id::HostId {
        fixture::host_id(self.number)
    }
}
