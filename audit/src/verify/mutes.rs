//! Mutes: whether each was bounded, and in force when it was lifted. Nothing else depends on them.

use super::finding::{At, Rule};
use fettle_model::id::MuteId;
use fettle_model::mute::{MAX_MUTE, MuteLifted, MuteStarted};
use fettle_model::time::UnixMillis;
use std::collections::BTreeMap;

/// The mutes that were not lifted, with their ends.
#[derive(Debug, Clone, Default)]
pub(super) struct Mutes(BTreeMap<MuteId, UnixMillis>);

impl Mutes {
    pub(super) fn start(&mut self, started: &MuteStarted, now: UnixMillis, at: &mut At<'_>) {
        if started.until <= now || started.until > now.plus(MAX_MUTE) {
            at.flag(Rule::Mute, format!("the mute {} ends at a time that no mute may have", started.mute));
        }
        if self.0.insert(started.mute, started.until).is_some() {
            at.flag(Rule::Identifier, format!("the mute {} was started before", started.mute));
        }
    }

    pub(super) fn lift(&mut self, lifted: &MuteLifted, now: UnixMillis, at: &mut At<'_>) {
        if self.0.remove(&lifted.mute).is_none_or(|until| until <= now) {
            at.flag(Rule::Mute, format!("the mute {} was not in force", lifted.mute));
        }
    }
}
