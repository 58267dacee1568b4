//! Host errors with the call that they answered.

use crate::{ActError, Failure, OpenError, ReadError};
use std::fmt;

/// A host call was not answered as hoped. `?` turns it into a [`Failure`] that names the call; a
/// playbook that knows what to do about, say, [`ActError::Stale`] looks at [`CallError::error`].
#[derive(Debug, Clone, PartialEq)]
pub struct CallError<E> {
    /// The call: `worker.restart`.
    pub call: String,
    /// What the host answered.
    pub error: E,
}

impl<E> CallError<E> {
    /// Puts the call's name to the host's answer.
    pub(crate) fn naming(label: &str, method: &str) -> impl FnOnce(E) -> Self {
        let call = format!("{label}.{method}");
        move |error| Self { call, error }
    }
}

/// What the host's answer means, in a line for people.
pub(crate) trait Explain {
    /// The line.
    fn explain(&self) -> String;
}

impl Explain for OpenError {
    fn explain(&self) -> String {
        match self {
            Self::Undeclared => "the manifest has no such grant".to_owned(),
            Self::Unbound => "nothing is bound to this label on this host".to_owned(),
            Self::Denied(decision) => format!("not allowed for this run ({decision})"),
        }
    }
}

impl Explain for ReadError {
    fn explain(&self) -> String {
        match self {
            Self::NotFound => "it is not there".to_owned(),
            Self::Timeout => "it took too long".to_owned(),
            Self::Unavailable(why) => format!("it cannot be asked now: {why}"),
            Self::TooLarge(size) => format!("its {size} bytes are more than may be read"),
            Self::Malformed(why) => format!("the answer makes no sense: {why}"),
        }
    }
}

impl Explain for ActError {
    fn explain(&self) -> String {
        match self {
            Self::Denied(decision) => format!("not allowed, nothing was done ({decision})"),
            Self::Stale(now) => format!("it changed since it was looked at, nothing was done (it is at {now})"),
            Self::OffPlan => "not in the approved plan, nothing was done".to_owned(),
            Self::Exhausted(budget) => format!("a budget is used up, nothing was done: {budget}"),
            Self::Failed(why) => format!("tried and failed: {why}"),
            Self::Indeterminate(why) => format!("tried, and what came of it cannot be told: {why}"),
        }
    }
}

impl<E: Explain> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.error.explain())
    }
}

impl<E: Explain + fmt::Debug> std::error::Error for CallError<E> {}

impl<E: Explain> From<CallError<E>> for Failure {
    fn from(error: CallError<E>) -> Self {
        Self::new(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<E: Explain>(error: E, expected: &str) {
        let failure = Failure::from(CallError { call: "web.restart".to_owned(), error });
        assert_eq!((failure.summary.as_str(), failure.detail.len()), (expected, 0));
    }

    #[test]
    fn a_failure_names_the_call_and_what_the_host_said() {
        check(OpenError::Unbound, "web.restart: nothing is bound to this label on this host");
        check(ReadError::Timeout, "web.restart: it took too long");
        check(
            ActError::Stale("r2".to_owned()),
            "web.restart: it changed since it was looked at, nothing was done (it is at r2)",
        );
    }
}
