//! Injections: what a drill does to the surroundings of a service for a while, as data, and the ledger of those
//! that are to be taken back.
//!
//! The effector writes an injection into [`Injections`] in the same transaction as its intent, so before anything
//! happens, and takes it back when the drill's healing run has ended, automation is stopped or the time is over,
//! whichever comes first; also after a crash, and without a control plane. Taking back is the same whether or not
//! the injection happened, so it is never a question whether it did.

mod disk;
mod port;
mod slow;

pub(super) use disk::{fill, plan_fill};
pub(super) use port::refuse;
pub(super) use slow::Slowed;

use super::deed::Look;
use super::process::ProcessRef;
use fettle_model::id::DrillId;
use fettle_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// Most injections at once. A host runs one drill at a time; the others could not be taken back yet.
pub const MAX_INJECTIONS: usize = 8;

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "injection", deny_unknown_fields)]
pub enum Injection {
    /// A file takes room.
    FillDisk {
        /// Absolute path of the folder.
        folder: String,
        /// Size of the file in it.
        bytes: u64,
    },
    /// A TCP port of this host refuses connections.
    RefusePort {
        /// Which.
        port: u16,
    },
    /// A service's main process is stopped and let go on in turns.
    SlowResponses {
        /// The process.
        process: ProcessRef,
    },
}

impl Injection {
    /// What is done, for people.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::FillDisk { folder, bytes } => format!("a file of {bytes} bytes in {folder}"),
            Self::RefusePort { port } => format!("TCP port {port} refused"),
            Self::SlowResponses { process } => format!("process {} stopped again and again", process.pid),
        }
    }

    /// Takes it back. Nothing to take back is success: a playbook that heals the fault may have removed it.
    ///
    /// # Errors
    /// Why it could not be done now.
    pub(super) async fn take_back(&self, slowed: &Slowed) -> Result<TakenBack, String> {
        match self {
            Self::FillDisk { folder, .. } => disk::remove(folder),
            Self::RefusePort { port } => port::accept(*port).await,
            Self::SlowResponses { process } => slowed.end(*process),
        }
    }

    /// Whether it is there, after a crash.
    pub(super) async fn look(&self, slowed: &Slowed) -> Look {
        match self {
            Self::FillDisk { folder, bytes } => disk::look(folder, *bytes),
            Self::RefusePort { port } => port::look(*port).await,
            Self::SlowResponses { process } => slowed.look(*process),
        }
    }
}

/// How an injection came to be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenBack {
    /// It was there, as far as can be told, and is not any more.
    Now,
    /// Nothing was left of it: what it was done to is gone, or was cleared.
    GoneAlready,
}

/// An injection that is to be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// The drill.
    pub drill: DrillId,
    /// What is taken back.
    pub injection: Injection,
    /// When at the latest, on the wall clock: some injections outlive a reboot.
    pub until: UnixMillis,
}

/// All injections of a host that are to be taken back, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Injections(Vec<Pending>);

/// There are [`MAX_INJECTIONS`] injections already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_INJECTIONS} injections are to be taken back already")]
pub struct TooManyInjections;

impl Injections {
    /// Whether another one fits; asked before the intent.
    ///
    /// # Errors
    /// When none does.
    pub const fn room(&self) -> Result<(), TooManyInjections> {
        if self.0.len() < MAX_INJECTIONS { Ok(()) } else { Err(TooManyInjections) }
    }

    /// One is about to happen.
    pub fn begin(&mut self, pending: Pending) {
        self.0.push(pending);
    }

    /// A drill is over: what it injected is due.
    pub fn end_of(&mut self, drill: DrillId, now: UnixMillis) {
        for pending in self.0.iter_mut().filter(|pending| pending.drill == drill) {
            pending.until = pending.until.min(now);
        }
    }

    /// What only an effector that is gone kept up is due: what it left is taken back.
    pub fn end_orphaned(&mut self, now: UnixMillis) {
        for pending in &mut self.0 {
            match pending.injection {
                Injection::SlowResponses { .. } => pending.until = pending.until.min(now),
                Injection::FillDisk { .. } | Injection::RefusePort { .. } => {}
            }
        }
    }

    /// All of them are due.
    pub fn end_all(&mut self, now: UnixMillis) {
        for pending in &mut self.0 {
            pending.until = pending.until.min(now);
        }
    }

    /// Those to be taken back now. They stay until [`Injections::settled`], so that a crash in between takes
    /// them back again.
    #[must_use]
    pub fn due(&self, now: UnixMillis) -> Vec<Pending> {
        self.0.iter().filter(|pending| pending.until <= now).cloned().collect()
    }

    /// One was taken back.
    pub fn settled(&mut self, taken_back: &Pending) {
        self.0.retain(|pending| pending != taken_back);
    }

    /// One could not be taken back: it is due again at `until`.
    pub fn postpone(&mut self, due: &Pending, until: UnixMillis) {
        if let Some(pending) = self.0.iter_mut().find(|pending| *pending == due) {
            pending.until = until;
        }
    }

    /// When the next one is due.
    #[must_use]
    pub fn next_end(&self) -> Option<UnixMillis> {
        self.0.iter().map(|pending| pending.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn drill(number: u128) -> DrillId {
        DrillId::from_uuid(Uuid::from_u128(number))
    }

    fn pending(number: u128, until: u64) -> Pending {
        let injection = Injection::FillDisk { folder: format!("/srv/{number}"), bytes: 1 };
        Pending { drill: drill(number), injection, until: UnixMillis(until) }
    }

    fn two() -> Injections {
        let mut injections = Injections::default();
        injections.begin(pending(1, 100));
        injections.begin(pending(2, 200));
        injections
    }

    #[test]
    fn an_injection_is_due_when_its_time_is_over_and_until_it_is_settled() {
        let mut injections = two();
        assert_eq!((injections.due(UnixMillis(99)), injections.next_end()), (Vec::new(), Some(UnixMillis(100))));
        assert_eq!(injections.due(UnixMillis(100)), [pending(1, 100)]);
        assert_eq!(injections.due(UnixMillis(100)), [pending(1, 100)], "a crash in between finds it again");
        injections.settled(&pending(1, 100));
        assert_eq!(injections.next_end(), Some(UnixMillis(200)));
        injections.postpone(&pending(2, 200), UnixMillis(300));
        assert_eq!(injections.due(UnixMillis(299)), []);
    }

    #[test]
    fn the_end_of_a_drill_ends_what_it_injected_and_a_stop_ends_all() {
        let mut injections = two();
        injections.end_of(drill(2), UnixMillis(50));
        assert_eq!(injections.due(UnixMillis(50)), [pending(2, 50)]);
        injections.end_all(UnixMillis(60));
        assert_eq!(injections.due(UnixMillis(60)), [pending(1, 60), pending(2, 50)], "earlier stays earlier");
    }

    #[test]
    fn there_is_room_for_so_many_only() {
        let mut injections = Injections::default();
        for number in 0..MAX_INJECTIONS {
            assert_eq!(injections.room(), Ok(()), "{number}");
            injections.begin(pending(1, 1));
        }
        assert_eq!(injections.room(), Err(TooManyInjections));
    }
}
