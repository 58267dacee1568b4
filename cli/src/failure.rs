//! A failure as people and programs see it: what and where, what to do, and the exit code.
//!
//! Every operation here ends in one when it fails. It is made where the remedy is known, and printed
//! in one place ([`crate::terminal`]).

use crate::exit::Exit;
use crate::plain::plain;
use fettle_proto::operator::Problem;
use serde::Serialize;
use std::error::Error;
use std::fmt;

/// Longest chain of causes that is shown; ours are at most six deep.
const MAX_CAUSES: usize = 8;

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What is wrong, and where; one thing a line.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl Failure {
    /// A failure in words.
    pub fn new(exit: Exit, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { exit, message: message.into(), remedy: remedy.into() }
    }

    /// A failure with an error and its causes, each after the one that it caused.
    pub fn caused(exit: Exit, error: &(dyn Error + 'static), remedy: impl Into<String>) -> Self {
        Self::new(exit, chain(error), remedy)
    }

    /// A fault of Fettle's own: something that cannot be, and was.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Exit::Internal, message, "report it with this message and `fettle --version`")
    }

    /// The document for programs: the form of the API's problems.
    #[must_use]
    pub fn document(&self) -> String {
        document(self.exit.as_str(), &self.message, &self.remedy)
    }
}

/// Something that is told beside an answer, and will be a failure later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What is about to be wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl Warning {
    /// The document for programs: like a failure's, with the code `warning`.
    #[must_use]
    pub fn document(&self) -> String {
        document("warning", &self.message, &self.remedy)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "warning: {}\nremedy: {}", plain_lines(&self.message), plain_lines(&self.remedy))
    }
}

fn document(code: &str, message: &str, remedy: &str) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        code: &'a str,
        message: &'a str,
        remedy: &'a str,
    }
    // Three strings are always JSON.
    serde_json::to_string(&Document { code, message, remedy }).unwrap_or_default()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", plain_lines(&self.message))?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "\nremedy: {}", plain_lines(&self.remedy)) }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { exit: problem.code.into(), message: problem.message, remedy: problem.remedy }
    }
}

/// An error with its causes, on one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    for _ in 0..MAX_CAUSES {
        let Some(cause) = next else { break };
        let cause_text = cause.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

fn plain_lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_proto::operator::ProblemCode;

    #[derive(Debug, thiserror::Error)]
    #[error("the outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("the inner")]
    struct Inner;

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let failure = Failure::caused(Exit::Invalid, &Outer(Inner), "mend it");
        assert_eq!(failure.to_string(), "error: the outer: the inner\nremedy: mend it");
        assert_eq!(failure.document(), r#"{"code":"invalid","message":"the outer: the inner","remedy":"mend it"}"#);
    }

    #[test]
    fn the_document_of_a_problem_is_the_apis() {
        let problem = Problem { code: ProblemCode::Conflict, message: "m".to_owned(), remedy: "r".to_owned() };
        let document = Failure::from(problem.clone()).document();
        assert_eq!(serde_json::from_str::<Problem>(&document).expect("a problem"), problem);
    }

    #[test]
    fn what_comes_from_elsewhere_cannot_drive_the_terminal() {
        let failure = Failure::new(Exit::Refused, "a\u{1b}[2Jb", "");
        assert_eq!(failure.to_string(), "error: a\u{fffd}[2Jb");
    }
}
