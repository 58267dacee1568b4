//! Rotation: when a holder asks for its next certificate, and which of its certificates is live.
//!
//! The agent calls [`rotation`]; the control plane keeps [`LiveCertificates`] per subject, calls
//! [`LiveCertificates::present`] for every call and [`LiveCertificates::rotate`] for a request to
//! rotate. Pure: instants, random numbers and serial numbers are passed in.

use crate::authority::BACKDATE;
use crate::peer::Validity;
use crate::serial::Serial;
use fettle_model::counter::CertificateGeneration;
use fettle_model::time::{UnixMillis, whole_millis};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a holder does about its certificate now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// Nothing until this instant.
    Wait {
        /// When to rotate.
        until: UnixMillis,
    },
    /// Ask for the next certificate.
    Due,
    /// It is too late: TLS no longer accepts the certificate, and the host must be enrolled again.
    Expired {
        /// For how long.
        since: Duration,
    },
}

/// Decides whether to rotate: at half of the certificate's life, earlier or later by up to a tenth of
/// that half. `random` is drawn once per certificate; it spreads hosts that were enrolled together.
#[must_use]
pub fn rotation(validity: &Validity, random: u32, now: UnixMillis) -> Rotation {
    let until = rotate_at(validity, random);
    if now > validity.not_after {
        Rotation::Expired { since: now.since(validity.not_after) }
    } else if now >= until {
        Rotation::Due
    } else {
        Rotation::Wait { until }
    }
}

fn rotate_at(validity: &Validity, random: u32) -> UnixMillis {
    // Life counts from the issue: a certificate for ten seconds would otherwise be past half of its
    // life when it is issued, because of the minutes by which it is backdated.
    let issued = validity.not_before.plus(BACKDATE).min(validity.not_after);
    let life = whole_millis(validity.not_after.since(issued));
    let jitter = (u128::from(life / 10) * u128::from(random)) >> 32;
    let earliest = life / 2 - life / 20;
    issued.plus(Duration::from_millis(earliest.saturating_add(u64::try_from(jitter).unwrap_or(0))))
}

/// One certificate of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbered {
    /// Its place in the subject's certificates, from 1.
    pub generation: CertificateGeneration,
    /// Its serial number.
    pub serial: Serial,
}

/// The certificates of one subject that may be used: the one in use, and the next one until it is
/// used for the first time.
///
/// The next one takes over at its first use and not when it is issued, so a holder that crashes before
/// it has stored its new certificate goes on with the old one. Every older certificate is dead: who
/// shows one has a copy of the holder's disk, or is the holder after its disk was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveCertificates {
    /// The one in use.
    pub active: Numbered,
    /// The next one.
    pub next: Option<Numbered>,
}

/// A certificate is not live.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotLive {
    /// It was replaced, or never known. The subject is cloned, or was restored from a backup:
    /// quarantine it.
    #[error("the certificate {presented} was replaced by generation {active}")]
    Replaced {
        /// What was presented.
        presented: Serial,
        /// The generation in use.
        active: CertificateGeneration,
    },
    /// The certificate is live but the holder believes that it has another generation.
    #[error("the holder claims generation {claimed} where {active} is in use")]
    Generation {
        /// What the holder claims.
        claimed: CertificateGeneration,
        /// The generation in use.
        active: CertificateGeneration,
    },
}

/// What the use of a live certificate changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented {
    /// Nothing.
    Active,
    /// The next certificate takes over; keep the new state before the call is answered.
    TakesOver(LiveCertificates),
}

impl LiveCertificates {
    /// The state of a subject that got its first certificate.
    #[must_use]
    pub const fn first(serial: Serial) -> Self {
        Self { active: Numbered { generation: CertificateGeneration(1), serial }, next: None }
    }

    /// Checks the certificate of a call.
    ///
    /// # Errors
    /// [`NotLive::Replaced`].
    pub fn present(&self, serial: Serial) -> Result<Presented, NotLive> {
        if serial == self.active.serial {
            return Ok(Presented::Active);
        }
        match self.next {
            Some(next) if next.serial == serial => Ok(Presented::TakesOver(Self { active: next, next: None })),
            Some(_) | None => Err(NotLive::Replaced { presented: serial, active: self.active.generation }),
        }
    }

    /// Gives the subject a next certificate: compares the generation that the holder claims with the
    /// one in use. A next certificate that was never used is dropped for the new one, whose generation
    /// is the same: its holder did not get it.
    ///
    /// `presented` is the certificate of the call, after [`Self::present`].
    ///
    /// # Errors
    /// [`NotLive`].
    pub fn rotate(&self, presented: Serial, claimed: CertificateGeneration, serial: Serial) -> Result<Self, NotLive> {
        let active = self.active;
        if presented != active.serial {
            return Err(NotLive::Replaced { presented, active: active.generation });
        }
        if claimed != active.generation {
            return Err(NotLive::Generation { claimed, active: active.generation });
        }
        Ok(Self { active, next: Some(Numbered { generation: active.generation.next(), serial }) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 3_600_000;
    const ISSUED: u64 = 100 * HOUR;

    fn day() -> Validity {
        Validity { not_before: UnixMillis(ISSUED - 300_000), not_after: UnixMillis(ISSUED + 24 * HOUR) }
    }

    #[track_caller]
    fn check(random: u32, now: u64, expected: Rotation) {
        assert_eq!(rotation(&day(), random, UnixMillis(now)), expected);
    }

    #[test]
    fn rotation_is_due_at_half_of_life_give_or_take_a_tenth() {
        let earliest = ISSUED + 24 * HOUR * 45 / 100;
        let middle = ISSUED + 12 * HOUR;
        check(0, earliest - 1, Rotation::Wait { until: UnixMillis(earliest) });
        check(0, earliest, Rotation::Due);
        check(1 << 31, middle - 1, Rotation::Wait { until: UnixMillis(middle) });
        check(1 << 31, middle, Rotation::Due);
        check(u32::MAX, ISSUED + 24 * HOUR * 55 / 100, Rotation::Due);
        check(0, ISSUED + 24 * HOUR, Rotation::Due);
        check(0, ISSUED + 24 * HOUR + 1, Rotation::Expired { since: Duration::from_millis(1) });
    }

    proptest! {
        #[test]
        fn every_random_number_keeps_rotation_within_its_tenth(random: u32, life_ms in 1_000_u64..86_400_000) {
            let validity =
                Validity { not_before: UnixMillis(ISSUED - 300_000), not_after: UnixMillis(ISSUED + life_ms) };
            let at = rotate_at(&validity, random).0 - ISSUED;
            prop_assert!(at * 100 >= life_ms * 45 - 200 && at * 100 <= life_ms * 55 + 200, "{} of {}", at, life_ms);
        }
    }

    /// A host, its copied disk and the control plane's state, as a person would draw them.
    #[derive(Debug, Clone)]
    enum Step {
        /// This disk calls.
        Call(Disk),
        /// This disk rotates and stores the certificate.
        Rotate(Disk),
        /// This disk rotates and crashes before it stores the certificate.
        RotateAndCrash(Disk),
    }

    #[derive(Debug, Clone, Copy)]
    enum Disk {
        Original,
        Copy,
    }

    fn steps(disks: &'static [Disk]) -> impl Strategy<Value = Vec<Step>> {
        let disk = || prop::sample::select(disks);
        prop::collection::vec(
            prop_oneof![
                disk().prop_map(Step::Call),
                disk().prop_map(Step::Rotate),
                disk().prop_map(Step::RotateAndCrash)
            ],
            1..40,
        )
    }

    struct World {
        live: LiveCertificates,
        disks: [Numbered; 2],
        issued: u8,
    }

    impl World {
        fn new() -> Self {
            let live = LiveCertificates::first(Serial::from_random([0; 16]));
            Self { live, disks: [live.active; 2], issued: 0 }
        }

        fn call(&mut self, disk: Disk) -> Result<(), NotLive> {
            match self.live.present(self.disks[disk as usize].serial)? {
                Presented::Active => {}
                Presented::TakesOver(live) => self.live = live,
            }
            Ok(())
        }

        fn apply(&mut self, step: &Step) -> Result<(), NotLive> {
            match step {
                Step::Call(disk) => self.call(*disk),
                Step::Rotate(disk) => {
                    self.rotate(*disk)?;
                    self.disks[*disk as usize] = self.live.next.expect("just issued");
                    Ok(())
                }
                Step::RotateAndCrash(disk) => self.rotate(*disk),
            }
        }

        fn rotate(&mut self, disk: Disk) -> Result<(), NotLive> {
            self.call(disk)?;
            let held = self.disks[disk as usize];
            self.issued += 1;
            let serial = Serial::from_random([self.issued; 16]);
            self.live = self.live.rotate(held.serial, held.generation, serial)?;
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn a_host_alone_is_never_locked_out(steps in steps(&[Disk::Original])) {
            let mut world = World::new();
            for step in &steps {
                prop_assert_eq!(world.apply(step), Ok(()));
            }
        }

        #[test]
        fn a_copied_disk_is_seen_at_the_latest_when_both_have_called_after_a_rotation(
            steps in steps(&[Disk::Original, Disk::Copy]),
        ) {
            let mut world = World::new();
            let mut seen = false;
            for step in &steps {
                seen |= world.apply(step).is_err();
            }
            let rotated = world.disks[0] != world.disks[1];
            seen |= [Disk::Original, Disk::Copy, Disk::Original].map(|disk| world.call(disk)).iter().any(Result::is_err);
            prop_assert!(seen || !rotated);
        }
    }

    #[test]
    fn a_stale_generation_and_a_replaced_certificate_do_not_rotate() {
        let [first, second, third] = [1, 2, 3].map(|n| Serial::from_random([n; 16]));
        let live = LiveCertificates::first(first);
        let stale = live.rotate(first, CertificateGeneration(0), second);
        let active = CertificateGeneration(1);
        assert_eq!(stale, Err(NotLive::Generation { claimed: CertificateGeneration(0), active }));
        let live = live.rotate(first, active, second).expect("the active certificate rotates");
        assert_eq!(live.rotate(second, active, third), Err(NotLive::Replaced { presented: second, active }));
        let Ok(Presented::TakesOver(live)) = live.present(second) else { unreachable!("the next one takes over") };
        assert_eq!(live.active, Numbered { generation: CertificateGeneration(2), serial: second });
        let replaced = NotLive::Replaced { presented: first, active: CertificateGeneration(2) };
        assert_eq!(live.present(first), Err(replaced));
    }
}
