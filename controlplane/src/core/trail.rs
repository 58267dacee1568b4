//! The newest records of one agent's chain, in little room: a fleet has tens of thousands of these.

use fettle_model::counter::{AgentSequence, LogPosition};
use fettle_model::digest::EnvelopeDigest;
use fettle_proto::session::MAX_UNACKNOWLEDGED;
use std::collections::VecDeque;

/// An agent's newest records that are remembered, to tell a repeated record from a forked chain and to
/// acknowledge it again: as many as an agent sends without an acknowledgement. 64 × 24 bytes × 10 000 hosts are
/// 15 MiB.
pub const MAX_RECENT_RECORDS: usize = MAX_UNACKNOWLEDGED;

/// The first bytes of a digest. Half of it: whoever could make two envelopes that agree in 128 bits would only
/// make the second one look like a repetition of the first, which alone is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark([u8; 16]);

impl Mark {
    fn of(envelope: EnvelopeDigest) -> Self {
        let mut mark = [0; 16];
        mark.iter_mut().zip(envelope.as_bytes()).for_each(|(mark, byte)| *mark = *byte);
        Self(mark)
    }
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Remembered {
    mark: Mark,
    position: LogPosition,
}

/// The newest records, without a gap: the last has the number of the chain's head.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Trail(VecDeque<Remembered>);

/// What is remembered of a record of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum Memory {
    /// It is this record.
    Same(LogPosition),
    /// It is another record.
    Other,
    /// It is too long ago.
    None,
}

impl Trail {
    /// The record after the last.
    pub(in crate::core) fn extend(&mut self, envelope: EnvelopeDigest, position: LogPosition) {
        // Before the push, so that the room never doubles for one more.
        while self.0.len() >= MAX_RECENT_RECORDS {
            self.0.pop_front();
        }
        self.0.push_back(Remembered { mark: Mark::of(envelope), position });
    }

    /// What is known of the record with this number, where the newest has the number `head`.
    pub(in crate::core) fn recall(
        &self,
        head: AgentSequence,
        sequence: AgentSequence,
        envelope: EnvelopeDigest,
    ) -> Memory {
        let back = head.0.checked_sub(sequence.0).and_then(|back| usize::try_from(back).ok());
        let index = back.and_then(|back| self.0.len().checked_sub(back)?.checked_sub(1));
        match index.and_then(|index| self.0.get(index)) {
            Some(known) if known.mark == Mark::of(envelope) => Memory::Same(known.position),
            Some(_) => Memory::Other,
            None => Memory::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(number: u64) -> EnvelopeDigest {
        EnvelopeDigest::of(&number.to_be_bytes())
    }

    #[test]
    fn the_newest_records_are_known_by_number_and_the_others_forgotten() {
        let mut trail = Trail::default();
        let most = u64::try_from(MAX_RECENT_RECORDS).expect("a small number");
        for number in 1..=most + 10 {
            trail.extend(envelope(number), LogPosition(number * 3));
        }
        let recall = |number: u64, of: u64| trail.recall(AgentSequence(most + 10), AgentSequence(number), envelope(of));
        assert_eq!(recall(most + 10, most + 10), Memory::Same(LogPosition((most + 10) * 3)));
        assert_eq!(recall(11, 11), Memory::Same(LogPosition(33)));
        assert_eq!(recall(11, 12), Memory::Other);
        assert_eq!(recall(10, 10), Memory::None);
        assert_eq!(recall(0, 0), Memory::None);
        assert_eq!(trail.0.capacity(), MAX_RECENT_RECORDS, "no room is kept for records that are not");
    }
}
