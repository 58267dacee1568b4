//! Modes that a new configuration raises, and whether they were earned. Pure.

use crate::promotion::place;
use fettle_model::configuration::Declared;
use fettle_model::promotion::{PromotionOf, PromotionRow};
use fettle_model::remediation::{Mode, Remediation};
use serde::Serialize;

/// A mode that is raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Raised {
    of: PromotionOf,
    from: Mode,
    to: Mode,
    /// Whether the control plane proposed it.
    earned: Earned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
enum Earned {
    /// It is proposed.
    Proposed,
    /// It is not.
    NotEarned {
        /// What was earned so far.
        of: u32,
        /// What is asked for.
        after: u32,
    },
}

/// Every mode that is raised for what was configured before under the same name.
pub(super) fn raised(old: &Declared, new: &Declared, rows: &[PromotionRow]) -> Vec<Raised> {
    let twin = |name| old.remediations.iter().find(|before| &before.name == name);
    let pairs = new.remediations.iter().filter_map(|after| Some((twin(&after.name)?, after)));
    pairs.flat_map(|(before, after)| of_remediation(before, after, rows, new.promotion.after)).collect()
}

fn of_remediation(before: &Remediation, after: &Remediation, rows: &[PromotionRow], wanted: u32) -> Vec<Raised> {
    let mut found = Vec::new();
    for (rung, placed) in after.rungs() {
        for (environment, to) in &placed.modes {
            // What is added was not trusted before.
            let from = before.at(rung).map_or(Mode::Observe, |was| was.mode_in(environment));
            if *to <= from {
                continue;
            }
            let of = PromotionOf { remediation: after.name.clone(), rung, environment: environment.clone() };
            let row = rows.iter().find(|row| row.of == of);
            let proposed = row.is_some_and(|row| {
                row.proposed.is_some()
                    && row.to == *to
                    && row.with.playbook == placed.playbook
                    && row.with.parameters == placed.parameters.digest()
            });
            let earned = if proposed {
                Earned::Proposed
            } else {
                let of = row.filter(|row| row.to == *to).map_or(0, |row| row.earned_by.len());
                Earned::NotEarned { of: u32::try_from(of).unwrap_or(u32::MAX), after: wanted }
            };
            found.push(Raised { of, from, to: *to, earned });
        }
    }
    found
}

/// One line for each.
pub(super) fn told(raised: &[Raised]) -> String {
    let line = |each: &Raised| {
        let goes = format!("! {} goes from {} to {}", place(&each.of), each.from.as_str(), each.to.as_str());
        match each.earned {
            Earned::Proposed => format!("{goes}, which it has earned\n"),
            Earned::NotEarned { of, after } => format!("{goes} without having earned it: {of} of {after}\n"),
        }
    };
    raised.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::counter::LogPosition;
    use fettle_model::digest::PlaybookDigest;
    use fettle_model::escalation::{Escalation, Rung};
    use fettle_model::guard::Guard;
    use fettle_model::promotion::EarnedWith;
    use fettle_model::remediation::{Parameters, PlaybookVersion};

    fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("sound text")
    }

    fn declared(mode: Mode) -> Declared {
        let remediation = Remediation {
            name: parsed("restart-web"),
            service: parsed("web"),
            check: parsed("http"),
            playbook: PlaybookVersion { name: parsed("restart-service"), digest: PlaybookDigest::of(b"package") },
            parameters: Parameters::default(),
            modes: [(parsed("production"), mode)].into(),
            guard: Guard::default(),
            offline: None,
            escalation: Escalation::default(),
        };
        Declared { remediations: vec![remediation], ..Declared::default() }
    }

    fn row(proposed: Option<LogPosition>) -> PromotionRow {
        let remediation = declared(Mode::Approve).remediations.remove(0);
        PromotionRow {
            of: PromotionOf { remediation: remediation.name, rung: Rung::FIRST, environment: parsed("production") },
            with: EarnedWith {
                mode: Mode::Approve,
                playbook: remediation.playbook,
                parameters: Parameters::default().digest(),
            },
            to: Mode::Auto,
            after: 10,
            earned_by: vec![LogPosition(4)],
            proving: 0,
            set_back: None,
            proposed,
        }
    }

    #[track_caller]
    fn check(from: Mode, to: Mode, rows: &[PromotionRow], expected: &str) {
        assert_eq!(told(&raised(&declared(from), &declared(to), rows)), expected);
    }

    #[test]
    fn a_raised_mode_says_whether_it_was_earned_and_a_lowered_one_says_nothing() {
        let not = "! restart-web in production goes from approve to auto without having earned it: 1 of 10\n";
        check(Mode::Approve, Mode::Auto, &[row(None)], not);
        let earned = "! restart-web in production goes from approve to auto, which it has earned\n";
        check(Mode::Approve, Mode::Auto, &[row(Some(LogPosition(9)))], earned);
        let skipped = "! restart-web in production goes from observe to auto without having earned it: 0 of 10\n";
        check(Mode::Observe, Mode::Auto, &[], skipped);
        check(Mode::Auto, Mode::Observe, &[], "");
        check(Mode::Auto, Mode::Auto, &[], "");
    }
}
