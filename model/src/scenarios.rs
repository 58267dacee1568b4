//! The second stage of validation: what a publisher says of a playbook's scenarios.
//!
//! `fettle playbook test` makes the report, `fettle playbook publish` signs it, the control plane records it as
//! `scenarios-passed`, and the offline verifier reads it again. It is the publisher's word: nobody but whoever ran the
//! scenarios has seen them pass, since the control plane holds no engine. A drill, which is seen, comes after it.

use crate::counter::LogPosition;
use crate::digest::{DocumentDigest, KeyId, PlaybookDigest};
use crate::name::{PersonName, PublisherName};
use crate::remediation::PlaybookVersion;
use crate::run::Ending;
use serde::{Deserialize, Serialize};

/// DSSE payload type of a [`ScenarioReport`].
pub const SCENARIOS_PAYLOAD_TYPE: &str = "application/vnd.fettle.scenarios.v1+json";
/// Most scenarios of one playbook.
pub const MAX_SCENARIOS: usize = 200;
/// Longest title of a scenario: two lines on a wide screen.
pub const MAX_TITLE_BYTES: usize = 200;
/// Longest report in bytes of its envelope: [`MAX_SCENARIOS`] of at most 400 bytes with their titles are 80 KB, of titles
/// that are all escapes 320 KB, and base64 adds a third.
pub const MAX_REPORT_BYTES: usize = 448 * 1024;

/// Which scenarios were run with a playbook's component, and what came of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioReport {
    /// SHA-256 of the package whose component was run.
    pub digest: PlaybookDigest,
    /// The scenarios, in the order of their files.
    pub scenarios: Vec<ScenarioRun>,
}

/// One scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioRun {
    /// SHA-256 of its file.
    pub file: DocumentDigest,
    /// What it shows.
    pub title: String,
    /// How the run as written ended.
    pub ended: Ending,
    /// Runs with an injected error: every variant at every call that can fail.
    pub errors: u32,
    /// Runs with a crash: before and after every record of the journal.
    pub crashes: u32,
    /// Whether all of them did what must hold.
    pub result: ScenarioResult,
}

/// What came of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScenarioResult {
    /// Every run did what must hold.
    Passed,
    /// At least one did not.
    Failed,
}

/// How much a report holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioTally {
    /// Scenarios.
    pub scenarios: u64,
    /// Runs with an injected error.
    pub errors: u64,
    /// Runs with a crash.
    pub crashes: u64,
}

/// A version's scenarios all passed, as its publisher says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenariosPassed {
    /// The version.
    pub playbook: PlaybookVersion,
    /// Whose word it is.
    pub publisher: PublisherName,
    /// Signed with which key.
    pub key: KeyId,
    /// What they say.
    pub report: ScenarioReport,
    /// The publisher's DSSE envelope over the report, as text.
    pub signed: String,
    /// Who brought it.
    pub by: PersonName,
}

/// Where the second stage of a version stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownScenarios {
    /// The record.
    pub position: LogPosition,
    /// How much its report holds.
    pub tally: ScenarioTally,
}

/// Why a report stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportFlaw {
    /// It is about another package.
    #[error("the scenario report is about {reported}, not {package}")]
    OtherPackage {
        /// Which one.
        reported: PlaybookDigest,
        /// That of the package.
        package: PlaybookDigest,
    },
    /// Nothing was run.
    #[error("the scenario report names no scenario")]
    NoScenario,
    /// More than there may be.
    #[error("the scenario report names more than {MAX_SCENARIOS} scenarios")]
    TooMany,
    /// A title that is too long, or not one line.
    #[error("the title of scenario {number} is not one line of 1 to {MAX_TITLE_BYTES} bytes")]
    Title {
        /// Which one, from 1.
        number: usize,
    },
    /// A scenario that was not run with a crash, though each has a journal.
    #[error("the scenario {title:?} was not run with a crash")]
    NotCrashed {
        /// Which one.
        title: String,
    },
    /// A scenario did not pass.
    #[error("the scenario {title:?} failed")]
    Failed {
        /// Which one.
        title: String,
    },
}

impl ScenarioReport {
    /// Whether it says of this package that its scenarios were run and passed.
    ///
    /// # Errors
    /// With the first thing that speaks against it.
    pub fn check(&self, package: &PlaybookDigest) -> Result<(), ReportFlaw> {
        if &self.digest != package {
            return Err(ReportFlaw::OtherPackage { reported: self.digest, package: *package });
        }
        if self.scenarios.is_empty() {
            return Err(ReportFlaw::NoScenario);
        }
        if self.scenarios.len() > MAX_SCENARIOS {
            return Err(ReportFlaw::TooMany);
        }
        for (at, run) in self.scenarios.iter().enumerate() {
            run.check(at + 1)?;
        }
        Ok(())
    }

    /// How much it holds.
    #[must_use]
    pub fn tally(&self) -> ScenarioTally {
        self.scenarios.iter().fold(ScenarioTally::default(), |tally, run| ScenarioTally {
            scenarios: tally.scenarios + 1,
            errors: tally.errors + u64::from(run.errors),
            crashes: tally.crashes + u64::from(run.crashes),
        })
    }
}

impl ScenarioRun {
    fn check(&self, number: usize) -> Result<(), ReportFlaw> {
        if !is_title(&self.title) {
            return Err(ReportFlaw::Title { number });
        }
        match self.result {
            ScenarioResult::Failed => Err(ReportFlaw::Failed { title: self.title.clone() }),
            ScenarioResult::Passed if self.crashes == 0 => Err(ReportFlaw::NotCrashed { title: self.title.clone() }),
            ScenarioResult::Passed => Ok(()),
        }
    }
}

/// Whether a scenario may be called so.
#[must_use]
pub fn is_title(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= MAX_TITLE_BYTES && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(title: &str) -> ScenarioRun {
        ScenarioRun {
            file: DocumentDigest::of(title.as_bytes()),
            title: title.to_owned(),
            ended: Ending::Succeeded,
            errors: 12,
            crashes: 7,
            result: ScenarioResult::Passed,
        }
    }

    fn report(scenarios: Vec<ScenarioRun>) -> ScenarioReport {
        ScenarioReport { digest: PlaybookDigest::of(b"package"), scenarios }
    }

    #[track_caller]
    fn check(report: &ScenarioReport, flaw: Option<&ReportFlaw>) {
        assert_eq!(report.check(&PlaybookDigest::of(b"package")).err().as_ref(), flaw);
    }

    #[test]
    fn a_report_stands_for_its_own_package_and_only_where_everything_passed() {
        check(&report(vec![run("hangs"), run("dies")]), None);
        check(&report(Vec::new()), Some(&ReportFlaw::NoScenario));
        let (reported, package) = (PlaybookDigest::of(b"other"), PlaybookDigest::of(b"package"));
        let other = ScenarioReport { digest: reported, ..report(vec![run("hangs")]) };
        check(&other, Some(&ReportFlaw::OtherPackage { reported, package }));
        let failed = ScenarioRun { result: ScenarioResult::Failed, ..run("dies") };
        check(&report(vec![run("hangs"), failed]), Some(&ReportFlaw::Failed { title: "dies".to_owned() }));
        let spared = ScenarioRun { crashes: 0, ..run("dies") };
        check(&report(vec![spared]), Some(&ReportFlaw::NotCrashed { title: "dies".to_owned() }));
    }

    #[test]
    fn a_report_is_bounded() {
        check(&report(vec![run("hangs"); MAX_SCENARIOS]), None);
        check(&report(vec![run("hangs"); MAX_SCENARIOS + 1]), Some(&ReportFlaw::TooMany));
        for title in ["", " ", "two\nlines", &"x".repeat(MAX_TITLE_BYTES + 1)] {
            check(&report(vec![run("hangs"), run(title)]), Some(&ReportFlaw::Title { number: 2 }));
        }
        let largest = run(&"\"".repeat(MAX_TITLE_BYTES));
        let payload = serde_json::to_vec(&report(vec![largest; MAX_SCENARIOS])).expect("JSON");
        assert!(payload.len() * 4 / 3 < MAX_REPORT_BYTES - 1024, "{}", payload.len());
    }

    #[test]
    fn a_tally_counts_the_runs_of_all_scenarios() {
        let tally = ScenarioTally { scenarios: 2, errors: 24, crashes: 14 };
        assert_eq!(report(vec![run("hangs"), run("dies")]).tally(), tally);
    }
}
