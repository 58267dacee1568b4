//! Holds: flags that a run has set for a while, and what comes back when the while is over.
//!
//! Pure data. The effector keeps [`Holds`] durable, applies each outcome's [`HoldChange`] to it in
//! the same transaction as the outcome, and puts back what [`Holds::due`] returns. Holds of one
//! flag lie on each other: when a lower one ends first, the one above inherits its old value, so
//! that the value before all of them comes back at the end, whatever the order.

use fettle_model::id::DrillId;
use fettle_model::time::UnixMillis;
use fettle_sandbox::call::Revision;
use serde::{Deserialize, Serialize};

/// Most holds at once: 100 changing calls of one run, ten runs. A hold is under 5 KiB.
pub const MAX_HOLDS: usize = 1_000;

/// One flag, set for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Absolute path of the file.
    pub file: String,
    /// The flag's key.
    pub key: String,
    /// The variant that comes back.
    pub old: String,
    /// The variant that was set.
    pub set: String,
    /// The revision that setting made: only this is put back.
    pub revision: Revision,
    /// When, on the wall clock.
    pub until: UnixMillis,
    /// The drill that it is part of; its end is the end of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<DrillId>,
}

/// What a deed means for the holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "hold")]
pub enum HoldChange {
    /// Nothing.
    Unchanged,
    /// One begins; one whose `old` and `set` are equal makes the one that is in force last longer.
    Begins(Box<Hold>),
    /// One ended early.
    Ends {
        /// The file.
        file: String,
        /// The flag's key.
        key: String,
        /// The revision that it had set.
        revision: Revision,
    },
}

/// All holds of a host, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Holds(Vec<Hold>);

/// There are [`MAX_HOLDS`] holds already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_HOLDS} flags are held already")]
pub struct TooManyHolds;

impl Holds {
    /// Whether another one fits; asked before the effect.
    ///
    /// # Errors
    /// When none does.
    pub const fn room(&self) -> Result<(), TooManyHolds> {
        if self.0.len() < MAX_HOLDS { Ok(()) } else { Err(TooManyHolds) }
    }

    /// Takes over what a deed means, which was done for a drill or for none. Applying the same change twice is the same as
    /// once.
    pub fn apply(&mut self, change: HoldChange, drill: Option<DrillId>) {
        match change {
            HoldChange::Unchanged => {}
            HoldChange::Begins(hold) => self.begin(Hold { drill, ..*hold }),
            HoldChange::Ends { file, key, revision } => self.end(&file, &key, &revision),
        }
    }

    fn begin(&mut self, hold: Hold) {
        let top = self.0.iter_mut().rev().find(|held| held.file == hold.file && held.key == hold.key);
        match top {
            Some(top) if top.revision == hold.revision => top.until = top.until.max(hold.until),
            Some(_) | None if hold.old == hold.set => {}
            Some(_) | None => self.0.push(hold),
        }
    }

    fn end(&mut self, file: &str, key: &str, revision: &Revision) {
        let of_flag = |held: &Hold| held.file == file && held.key == key;
        if let Some(index) = self.0.iter().rposition(|held| of_flag(held) && &held.revision == revision) {
            self.remove(index);
        }
    }

    fn remove(&mut self, index: usize) {
        let ended = self.0.remove(index);
        let above = self.0.iter_mut().skip(index).find(|held| held.file == ended.file && held.key == ended.key);
        if let Some(above) = above {
            above.old = ended.old;
        }
    }

    /// A drill is over: what was set in it is due.
    pub fn end_of(&mut self, drill: DrillId, now: UnixMillis) {
        for held in self.0.iter_mut().filter(|held| held.drill == Some(drill)) {
            held.until = held.until.min(now);
        }
    }

    /// Ends the holds that are over and covered by a later one, and returns those to be put back
    /// now: at most one per flag. They stay until [`Holds::settled`], so that a crash in between
    /// puts them back again.
    pub fn due(&mut self, now: UnixMillis) -> Vec<Hold> {
        // By place, not by revision: the same variant may be set again above.
        let covered = |holds: &[Hold]| {
            holds.iter().enumerate().position(|(index, held)| {
                let mut later = holds.iter().skip(index + 1);
                held.until <= now && later.any(|above| above.file == held.file && above.key == held.key)
            })
        };
        while let Some(index) = covered(&self.0) {
            self.remove(index);
        }
        self.0.iter().filter(|held| held.until <= now).cloned().collect()
    }

    /// A due hold was put back, or the flag was found moved: either way it is over.
    pub fn settled(&mut self, hold: &Hold) {
        self.end(&hold.file, &hold.key, &hold.revision);
    }

    /// One could not be put back: it is due again at `until`.
    pub fn postpone(&mut self, hold: &Hold, until: UnixMillis) {
        let same = |held: &&mut Hold| held.file == hold.file && held.key == hold.key && held.revision == hold.revision;
        if let Some(held) = self.0.iter_mut().rev().find(same) {
            held.until = until;
        }
    }

    /// When the next one ends.
    #[must_use]
    pub fn next_end(&self) -> Option<UnixMillis> {
        self.0.iter().map(|held| held.until).min()
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Hold> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hold(old: &str, set: &str, until: u64) -> Hold {
        Hold {
            file: "/srv/flags.json".to_owned(),
            key: "beta".to_owned(),
            old: old.to_owned(),
            set: set.to_owned(),
            revision: Revision(format!("flag:{set}")),
            until: UnixMillis(until),
            drill: None,
        }
    }

    fn drill(number: u128) -> DrillId {
        DrillId::from_uuid(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn the_end_of_a_drill_brings_back_what_was_before_its_fault_and_leaves_other_holds_alone() {
        let mut holds = Holds::default();
        let other = Hold { key: "other".to_owned(), ..hold("off", "on", 100) };
        holds.apply(HoldChange::Begins(Box::new(other)), Some(drill(2)));
        holds.apply(HoldChange::Begins(Box::new(hold("off", "on", 50))), Some(drill(1)));
        holds.apply(HoldChange::Begins(Box::new(hold("on", "off-2", 100))), Some(drill(1)));
        holds.end_of(drill(1), UnixMillis(10));
        let back = Hold { drill: Some(drill(1)), ..hold("off", "off-2", 10) };
        assert_eq!(holds.due(UnixMillis(10)), [back]);
    }

    #[test]
    fn a_hold_is_due_at_its_end_and_not_before() {
        let mut holds = Holds::default();
        holds.apply(HoldChange::Begins(Box::new(hold("on", "off", 100))), None);
        assert_eq!(holds.next_end(), Some(UnixMillis(100)));
        assert_eq!(holds.due(UnixMillis(99)), []);
        let due = holds.due(UnixMillis(100));
        assert_eq!(due, [hold("on", "off", 100)]);
        assert_eq!(holds.due(UnixMillis(100)), due, "a crash before it is settled finds it again");
        holds.settled(&hold("on", "off", 100));
        assert_eq!(holds, Holds::default());
    }

    #[test]
    fn setting_what_is_held_already_makes_the_hold_longer() {
        let mut holds = Holds::default();
        holds.apply(HoldChange::Begins(Box::new(hold("on", "off", 100))), None);
        let again = Hold { old: "off".to_owned(), ..hold("on", "off", 300) };
        holds.apply(HoldChange::Begins(Box::new(again)), None);
        assert_eq!(holds.iter().cloned().collect::<Vec<_>>(), [hold("on", "off", 300)]);
    }

    #[test]
    fn setting_what_is_so_by_itself_holds_nothing() {
        let mut holds = Holds::default();
        holds.apply(HoldChange::Begins(Box::new(hold("off", "off", 100))), None);
        assert_eq!(holds, Holds::default());
    }

    #[test]
    fn a_covered_hold_that_ends_first_leaves_its_old_value_to_the_one_above() {
        let mut holds = Holds::default();
        holds.apply(HoldChange::Begins(Box::new(hold("off", "on", 50))), None);
        holds.apply(HoldChange::Begins(Box::new(hold("on", "off-2", 100))), None);
        assert_eq!(holds.due(UnixMillis(60)), [], "the flag is in another hand until 100");
        assert_eq!(holds.due(UnixMillis(100)), [hold("off", "off-2", 100)]);
    }

    #[test]
    fn ending_early_removes_only_the_hold_that_set_the_revision() {
        let mut holds = Holds::default();
        holds.apply(HoldChange::Begins(Box::new(hold("off", "on", 50))), None);
        let hold_change = |set: &str| HoldChange::Ends {
            file: "/srv/flags.json".to_owned(),
            key: "beta".to_owned(),
            revision: Revision(format!("flag:{set}")),
        };
        holds.apply(hold_change("other"), None);
        assert_eq!(holds.iter().count(), 1);
        holds.apply(hold_change("on"), None);
        assert_eq!(holds.iter().count(), 0);
    }

    proptest! {
        /// Whatever the order of ends, the flag ends at the value that it had before all holds.
        #[test]
        fn the_first_value_comes_back_at_last(sets in proptest::collection::vec((0_u8..3, 1_u64..50), 1..8)) {
            let mut holds = Holds::default();
            let mut value = "v0".to_owned();
            for (variant, until) in sets {
                let set = format!("v{variant}");
                holds.apply(HoldChange::Begins(Box::new(hold(&value, &set, until))), None);
                value = set;
            }
            for now in 0..=50 {
                // Putting back uncovers the hold below, which may be due as well.
                loop {
                    let due = holds.due(UnixMillis(now));
                    let Some(top) = due.last() else { break };
                    prop_assert_eq!(&value, &top.set, "only what was set is put back");
                    value = top.old.clone();
                    let top = top.clone();
                    holds.settled(&top);
                }
            }
            prop_assert_eq!(value, "v0");
            prop_assert_eq!(holds, Holds::default());
        }
    }
}
