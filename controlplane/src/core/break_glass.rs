//! Broken glass: who asked for a role for a while, who opened it, and what somebody holds with it.
//!
//! Kept as the log says it. Who may ask, confirm and close is decided elsewhere; what a role opened in this way
//! allows, and what it never does, is Cedar's.

use super::entry::Stamp;
use super::state::State;
use fettle_model::break_glass::{BREAK_GLASS_LASTS, BreakGlassAsked, BreakGlassClosed, BreakGlassOpened};
use fettle_model::digest::EnvelopeDigest;
use fettle_model::id::BreakGlassId;
use fettle_model::identity::HeldRole;
use fettle_model::name::PersonName;
use fettle_model::time::UnixMillis;
use std::collections::{BTreeSet, VecDeque};

/// Asks that are kept, the newest: at one an hour, six weeks. The records are in the journal. One that is pushed out
/// while it waits or is open has ended by that.
const MAX_ASKS: usize = 1_000;

/// An ask with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownGlass {
    /// What was asked.
    pub asked: BreakGlassAsked,
    /// Who asked.
    pub by: PersonName,
    /// The key that signed it, base64.
    pub(in crate::core) key: String,
    /// SHA-256 of its envelope, which a confirmation names.
    pub envelope: EnvelopeDigest,
    /// Its record.
    pub stamp: Stamp,
    /// Who confirmed it.
    pub opened: Option<Opened>,
    /// The record that ended it before its time.
    pub closed: Option<Stamp>,
}

/// A confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Who.
    pub by: PersonName,
    /// Its record.
    pub stamp: Stamp,
}

/// How an ask stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GlassStanding {
    /// Nobody has confirmed it yet.
    Waiting,
    /// Nobody confirmed it in time.
    Expired,
    /// Whoever asked holds the role until then.
    Open {
        /// When it ends by itself.
        until: UnixMillis,
    },
    /// It was open, and its time is over.
    Over,
    /// It was ended by hand, or with the revocation of either person.
    Closed,
}

impl KnownGlass {
    /// How it stands.
    #[must_use]
    pub fn standing(&self, at: UnixMillis) -> GlassStanding {
        match (&self.closed, &self.opened) {
            (Some(_), _) => GlassStanding::Closed,
            (None, None) if self.asked.expires_at <= at => GlassStanding::Expired,
            (None, None) => GlassStanding::Waiting,
            (None, Some(opened)) => {
                let until = opened.until();
                if until <= at { GlassStanding::Over } else { GlassStanding::Open { until } }
            }
        }
    }

    /// Whether the role was held at a time of the past or the present.
    fn held_at(&self, at: Stamp) -> bool {
        let begun = self.opened.as_ref().filter(|opened| opened.stamp.position < at.position);
        begun.is_some_and(|opened| at.at < opened.until())
            && self.closed.is_none_or(|closed| at.position <= closed.position)
    }
}

impl Opened {
    /// When it ends by itself.
    #[must_use]
    pub fn until(&self) -> UnixMillis {
        self.stamp.at.plus(BREAK_GLASS_LASTS)
    }
}

/// Whether a person has broken the glass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glass {
    /// They hold what they were given.
    Whole,
    /// They hold one role more, for a while.
    Broken,
}

/// What a person holds at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Every role, however they came to it.
    pub roles: BTreeSet<HeldRole>,
    /// Whether one of them is of broken glass.
    pub glass: Glass,
}

/// The asks, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Glasses {
    known: VecDeque<KnownGlass>,
    /// The newest time in the log: a clock that is set back makes nothing last longer than it saw.
    newest: UnixMillis,
}

impl Glasses {
    pub(in crate::core) fn see(&mut self, at: UnixMillis) {
        self.newest = self.newest.max(at);
    }

    /// The later of this time and the newest in the log.
    pub(in crate::core) fn time(&self, wall: UnixMillis) -> UnixMillis {
        wall.max(self.newest)
    }

    pub(in crate::core) fn ask(
        &mut self,
        asked: &BreakGlassAsked,
        by: &PersonName,
        key: &str,
        envelope: EnvelopeDigest,
        stamp: Stamp,
    ) {
        let (asked, by, key) = (asked.clone(), by.clone(), key.to_owned());
        self.known.push_back(KnownGlass { asked, by, key, envelope, stamp, opened: None, closed: None });
        while self.known.len() > MAX_ASKS {
            self.known.pop_front();
        }
    }

    pub(in crate::core) fn open(&mut self, opened: &BreakGlassOpened, by: &PersonName, stamp: Stamp) {
        if let Some(known) = self.known.iter_mut().find(|known| known.asked.ask == opened.ask) {
            known.opened = Some(Opened { by: by.clone(), stamp });
        }
    }

    pub(in crate::core) fn close(&mut self, closed: &BreakGlassClosed, stamp: Stamp) {
        let of = |known: &KnownGlass| known.asked.ask == closed.ask;
        self.end(of, stamp);
    }

    /// Whoever is revoked takes with them what they asked for and what they confirmed: neither is believed any more.
    pub(in crate::core) fn revoke(&mut self, person: &PersonName, stamp: Stamp) {
        let theirs = |known: &KnownGlass| {
            known.by == *person || known.opened.as_ref().is_some_and(|opened| opened.by == *person)
        };
        self.end(theirs, stamp);
    }

    fn end(&mut self, which: impl Fn(&KnownGlass) -> bool, stamp: Stamp) {
        for known in self.known.iter_mut().filter(|known| known.closed.is_none() && which(known)) {
            match known.standing(stamp.at) {
                GlassStanding::Waiting | GlassStanding::Open { .. } => known.closed = Some(stamp),
                GlassStanding::Expired | GlassStanding::Over | GlassStanding::Closed => {}
            }
        }
    }

    pub(in crate::core) fn get(&self, ask: BreakGlassId) -> Option<&KnownGlass> {
        self.known.iter().find(|known| known.asked.ask == ask)
    }

    /// The ask of a person that waits or is open.
    pub(in crate::core) fn live(&self, person: &PersonName, wall: UnixMillis) -> Option<&KnownGlass> {
        let at = self.time(wall);
        self.known.iter().rev().find(|known| {
            known.by == *person && matches!(known.standing(at), GlassStanding::Waiting | GlassStanding::Open { .. })
        })
    }
}

impl State {
    /// An ask that is still known.
    #[must_use]
    pub fn glass(&self, ask: BreakGlassId) -> Option<&KnownGlass> {
        self.glasses.get(ask)
    }

    /// All asks that are still known, the newest first.
    pub fn glasses(&self) -> impl Iterator<Item = &KnownGlass> {
        self.glasses.known.iter().rev()
    }

    /// How an ask stands at this time, or at the newest in the log where that is later.
    #[must_use]
    pub fn glass_standing(&self, known: &KnownGlass, wall: UnixMillis) -> GlassStanding {
        known.standing(self.glasses.time(wall))
    }

    /// The glass that is broken for a person, with its end. Nobody without a role of their own holds one by this.
    #[must_use]
    pub fn broken_glass(&self, person: &PersonName, wall: UnixMillis) -> Option<(&KnownGlass, UnixMillis)> {
        let known = self.people.roles.contains_key(person).then(|| self.glasses.live(person, wall)).flatten()?;
        match self.glass_standing(known, wall) {
            GlassStanding::Open { until } => Some((known, until)),
            GlassStanding::Waiting | GlassStanding::Expired | GlassStanding::Over | GlassStanding::Closed => None,
        }
    }

    /// The ask under which something in the log was done by a person.
    #[must_use]
    pub fn glass_at(&self, person: &PersonName, at: Stamp) -> Option<BreakGlassId> {
        let mut known = self.glasses.known.iter().rev();
        known.find(|known| known.by == *person && known.held_at(at)).map(|known| known.asked.ask)
    }

    /// Everything that a person holds at this time.
    #[must_use]
    pub fn holding(&self, person: &PersonName, wall: UnixMillis) -> Holding {
        let mut roles = self.roles(person);
        let glass = match self.broken_glass(person, wall) {
            Some((known, _)) => {
                roles.insert(known.asked.held());
                Glass::Broken
            }
            None => Glass::Whole,
        };
        Holding { roles, glass }
    }

    /// Whether one of two people registered the key or the identity of the other: they may be the same person.
    pub(in crate::core) fn vouched(&self, one: &PersonName, other: &PersonName) -> bool {
        let by = |person: &PersonName, voucher: &PersonName| {
            self.people.key_by(person) == Some(voucher) || self.identities.registered_by(person) == Some(voucher)
        };
        by(one, other) || by(other, one)
    }
}
