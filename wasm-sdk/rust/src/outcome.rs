//! What a playbook returns.

use crate::{Failure, Outcome, Report, Verdict};

/// The cause is gone. The host believes it when the manifest's `[confirm]` check agrees.
///
/// # Errors
/// Never; it is a `Result` so that it can end a playbook as it stands.
pub fn resolved(summary: impl Into<String>) -> Result<Outcome, Failure> {
    Ok(Outcome::Resolved(summary.into()))
}

/// The symptom is held down until this time, in milliseconds since the Unix epoch.
///
/// # Errors
/// Never; it is a `Result` so that it can end a playbook as it stands.
pub fn mitigated(summary: impl Into<String>, until_unix_ms: u64) -> Result<Outcome, Failure> {
    Ok(Outcome::Mitigated((summary.into(), until_unix_ms)))
}

/// The playbook looked, and there is nothing for it to do.
///
/// # Errors
/// Never; it is a `Result` so that it can end a playbook as it stands.
pub fn no_action(summary: impl Into<String>) -> Result<Outcome, Failure> {
    Ok(Outcome::NoAction(summary.into()))
}

/// A person must look. What was done stays done.
///
/// # Errors
/// Never; it is a `Result` so that it can end a playbook as it stands.
pub fn escalate(summary: impl Into<String>) -> Result<Outcome, Failure> {
    Ok(Outcome::Escalate(summary.into()))
}

impl Failure {
    /// A failure with this line for people.
    pub fn new(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), detail: Vec::new() }
    }

    /// With one more line that a person would want to read.
    #[must_use]
    pub fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail.push(detail.into());
        self
    }
}

impl From<&str> for Failure {
    fn from(summary: &str) -> Self {
        Self::new(summary)
    }
}

impl From<String> for Failure {
    fn from(summary: String) -> Self {
        Self::new(summary)
    }
}

impl Report {
    /// Whether the check passes.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.verdict == Verdict::Healthy
    }

    /// `Ok` when the check passes.
    ///
    /// # Errors
    /// With the report's reasons when it does not.
    pub fn healthy(self) -> Result<(), Failure> {
        let verdict = match self.verdict {
            Verdict::Healthy => return Ok(()),
            Verdict::Degraded => "degraded",
            Verdict::Unhealthy => "unhealthy",
            Verdict::Unknown => "unknown",
        };
        Err(Failure { summary: format!("the check is {verdict}"), detail: self.reasons })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(verdict: Verdict, expected: Result<(), &str>) {
        let report = Report { verdict, reasons: vec!["503".to_owned()] };
        let expected = expected.map_err(|summary| Failure::new(summary).with("503"));
        assert_eq!(report.healthy(), expected);
    }

    #[test]
    fn only_a_healthy_report_lets_a_playbook_go_on() {
        check(Verdict::Healthy, Ok(()));
        check(Verdict::Degraded, Err("the check is degraded"));
        check(Verdict::Unhealthy, Err("the check is unhealthy"));
        check(Verdict::Unknown, Err("the check is unknown"));
    }
}
