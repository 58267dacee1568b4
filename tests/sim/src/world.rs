//! One history: hosts, control planes and a person under one scheduler, from a seed.

use crate::control_plane::{Deposed, Process, found};
use crate::fixture::HOSTS;
use crate::flaw::Flaw;
use crate::host::{Host, Timer};
use crate::people;
use crate::scene::{Event, Scene, Weather};
use crate::setting::{Setting, Way};
use crate::settled;
use crate::truth::{Breach, Counts};
use fettle_model::check::Status;
use std::path::Path;
use std::time::Duration;

/// How long things go wrong.
const STORM: Duration = Duration::from_mins(12);
/// After that services still fail, and nothing else does; then nothing at all. Longer than a lost slot is held.
const CALM: Duration = Duration::from_mins(6);
/// What is under way then ends within this.
const QUIET: Duration = Duration::from_mins(3);
/// A control plane looks this often what has come due. The leader does so eight times as often.
const TICK: Duration = Duration::from_secs(2);
/// Whoever finds no control plane tries again after so long.
const TRIED_AGAIN: Duration = Duration::from_secs(5);
/// In so many of a thousand partitions it is the host with a budget in advance that is cut off, where one has one.
const HOLDER_CUT_OFF: u32 = 600;
/// When it fails then, in milliseconds: nearly all of it before the budget's lease is over.
const ALONE: std::ops::Range<u64> = 5_000..50_000;
/// Most events of a history; one has about five thousand.
const MAX_EVENTS: u32 = 100_000;

/// Control planes of one history.
struct ControlPlanes {
    processes: Vec<Option<Process>>,
}

/// Plays one seed; `flaw` breaks a rule on purpose.
///
/// # Errors
/// When the simulation itself fails: a file, a document, an event that nobody should send.
pub fn play(seed: u64, flaw: Option<Flaw>) -> anyhow::Result<Result<Counts, Breach>> {
    let folder = folder()?;
    let mut rng = fastrand::Rng::with_seed(seed);
    let setting = Setting::draw(&mut rng);
    found(folder.path(), setting)?;
    let mut scene = Scene::new(rng, flaw, setting);
    let mut hosts: Vec<Host> =
        (0..HOSTS).map(|number| Host::new(number, folder.path().to_owned(), &mut scene)).collect();
    let mut planes = ControlPlanes { processes: Vec::new() };
    schedule(&mut scene);
    for _ in 0..MAX_EVENTS {
        if scene.truth.breach().is_some() || scene.now > STORM + CALM + QUIET {
            break;
        }
        let Some(event) = scene.next() else { break };
        step(folder.path(), &mut scene, &mut hosts, &mut planes, event)?;
    }
    if scene.truth.breach().is_none() {
        let newest = planes.processes.last().and_then(Option::as_ref);
        settled::check(folder.path(), &mut scene, &hosts, newest)?;
    }
    Ok(match scene.truth.breach() {
        None => Ok(scene.truth.counts),
        Some((invariant, what)) => Err(Breach { seed, at: scene.now, invariant, what: what.clone() }),
    })
}

/// In memory where the system has a file system for that: what survives a crash of a process is in the kernel
/// there too, and no disk is asked a million times to sync.
fn folder() -> anyhow::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    Ok(if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? })
}

/// What happens to everybody, come what may; everything else follows from it.
fn schedule(scene: &mut Scene) {
    scene.after(Duration::ZERO, Event::Lead);
    scene.after(STORM, Event::Calm);
    scene.after(STORM + CALM, Event::Heal);
    let end = u64::try_from(STORM.as_millis()).unwrap_or(u64::MAX);
    // A start holds every slot for its full length again: where leaders come and go, none is ever given back.
    let steady = scene.chance(500);
    let partitions = match scene.setting.way {
        Way::Auto | Way::Approve => 8,
        Way::Offline => 20,
    };
    let mut often = |most: usize, event: fn(usize) -> Event| {
        for _ in 0..scene.pick(most + 1) {
            let (at, host) = (scene.within(0..end), scene.pick(HOSTS));
            scene.after(at, event(host));
        }
    };
    if !steady {
        often(6, |_| Event::Crash);
        often(3, |_| Event::Lead);
    }
    often(8, |_| Event::Person);
    often(partitions, |host| Event::Partition { host });
    often(6, |host| Event::Host { host, timer: Timer::Crash });
    often(3, |host| Event::Host { host, timer: Timer::Reboot });
}

fn step(
    folder: &Path,
    scene: &mut Scene,
    hosts: &mut [Host],
    planes: &mut ControlPlanes,
    event: Event,
) -> anyhow::Result<()> {
    match event {
        Event::Host { host, timer } => hosts.get_mut(host).map_or(Ok(()), |host| host.due(scene, timer)),
        Event::Down { host, message } => hosts.get_mut(host).map_or(Ok(()), |host| host.hear(scene, message)),
        Event::Reconnect { host } => {
            if let Some(host) = hosts.get_mut(host) {
                host.leader = planes.processes.len().saturating_sub(1);
            }
            Ok(())
        }
        Event::Partition { host } => {
            partition(scene, hosts, host);
            Ok(())
        }
        Event::Heal => {
            scene.weather = Weather::Still;
            for host in hosts {
                host.becomes(scene, Status::Passing);
            }
            Ok(())
        }
        Event::Calm => {
            scene.weather = Weather::Calm;
            // Whoever leads last has no rival from here on.
            scene.after(Duration::ZERO, Event::Lead);
            scene.after(Duration::from_secs(1), Event::Person);
            Ok(())
        }
        Event::Decides { person, proposal } => people::decides(scene, person, &proposal),
        event @ (Event::Up { .. }
        | Event::Tick { .. }
        | Event::Crash
        | Event::Lead
        | Event::Person
        | Event::Brought { .. }) => planes.step(folder, scene, event),
    }
}

/// A host is cut off: often the one that holds a budget in advance, and then its service fails meanwhile.
fn partition(scene: &mut Scene, hosts: &[Host], host: usize) {
    let holder = hosts.iter().find(|host| host.holds_budget()).filter(|_| scene.chance(HOLDER_CUT_OFF));
    // Longer than a lost slot is held, sometimes.
    let long = if scene.chance(300) { scene.within(200_000..480_000) } else { scene.within(2_000..60_000) };
    scene.cut_off(holder.map_or(host, |holder| holder.number), long);
    if let Some(holder) = holder {
        let fails = scene.within(ALONE);
        holder.later(scene, fails, Timer::Fails);
    }
}

impl ControlPlanes {
    fn step(&mut self, folder: &Path, scene: &mut Scene, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Up { process, host, message } => {
                self.on(process, scene, |one, scene| one.hear(scene, host, message))
            }
            Event::Tick { process } => {
                if self.processes.get(process).is_some_and(Option::is_some) {
                    scene.after(TICK, Event::Tick { process });
                }
                self.on(process, scene, Process::tick)
            }
            Event::Person => {
                let newest = self.processes.len().saturating_sub(1);
                match scene.weather {
                    Weather::Storm => self.on(newest, scene, Process::person),
                    Weather::Calm | Weather::Still => self.on(newest, scene, Process::resume_all),
                }
            }
            Event::Crash => {
                if scene.weather == Weather::Storm
                    && let Some(newest) = self.processes.last_mut()
                {
                    *newest = None;
                    let back = scene.within(500..20_000);
                    scene.after(back, Event::Lead);
                }
                Ok(())
            }
            // The one before may live on, until the journal tells it that it was deposed.
            Event::Lead => {
                let process = self.processes.len();
                self.processes.push(Some(Process::start(folder, scene)?));
                scene.after(TICK, Event::Tick { process });
                for host in 0..HOSTS {
                    let found = scene.within(100..15_000);
                    scene.after(found, Event::Reconnect { host });
                }
                Ok(())
            }
            Event::Brought { by, envelope } => {
                let newest = self.processes.len().saturating_sub(1);
                if !self.processes.get(newest).is_some_and(Option::is_some) {
                    scene.after(TRIED_AGAIN, Event::Brought { by, envelope });
                    return Ok(());
                }
                self.on(newest, scene, |one, scene| one.approval(scene, by, &envelope))
            }
            Event::Decides { .. }
            | Event::Down { .. }
            | Event::Host { .. }
            | Event::Reconnect { .. }
            | Event::Partition { .. }
            | Event::Calm
            | Event::Heal => Ok(()),
        }
    }

    fn on(
        &mut self,
        process: usize,
        scene: &mut Scene,
        act: impl FnOnce(&mut Process, &mut Scene) -> anyhow::Result<Result<(), Deposed>>,
    ) -> anyhow::Result<()> {
        let Some(slot) = self.processes.get_mut(process) else { return Ok(()) };
        let Some(one) = slot else { return Ok(()) };
        if let Err(Deposed) = act(one, scene)? {
            scene.truth.counts.deposed += 1;
            *slot = None;
        }
        Ok(())
    }
}
