//! Exit codes: one closed enum, part of the command line's contract with scripts.
//!
//! 1 and 2 are verdicts, so that `fettle log verify` is 0, 1 or 2 and nothing else can be mistaken
//! for one: a wrong option is 3, and a panic (101) is none of these.

use fettle_proto::operator::ProblemCode;

/// How the command line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// It was done; what was looked at is in order.
    Ok,
    /// What was looked at is not in order.
    Wrong,
    /// What was looked at is in order as far as it goes, and something is missing.
    Gaps,
    /// The command line itself is wrong.
    Usage,
    /// A file or document is wrong.
    Invalid,
    /// Something that was named does not exist.
    NotFound,
    /// Somebody else changed it meanwhile, or it is there already.
    Conflict,
    /// The person may not, or is not who the profile says.
    Denied,
    /// A rule of the control plane says no.
    Refused,
    /// The control plane cannot be reached, or cannot do it now.
    Unavailable,
    /// A fault of Fettle's own.
    Internal,
}

impl Exit {
    /// All, by code.
    pub const ALL: [Self; 11] = [
        Self::Ok,
        Self::Wrong,
        Self::Gaps,
        Self::Usage,
        Self::Invalid,
        Self::NotFound,
        Self::Conflict,
        Self::Denied,
        Self::Refused,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The number that the process ends with; never reused.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Wrong => 1,
            Self::Gaps => 2,
            Self::Usage => 3,
            Self::Invalid => 4,
            Self::NotFound => 5,
            Self::Conflict => 6,
            Self::Denied => 7,
            Self::Refused => 8,
            Self::Unavailable => 9,
            Self::Internal => 10,
        }
    }

    /// Its name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Wrong => "wrong",
            Self::Gaps => "gaps",
            Self::Usage => "usage",
            Self::Invalid => "invalid",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::Wrong => "checked and found wrong: log verify, playbook test, playbook drill --wait",
            Self::Gaps => "log verify: valid with gaps",
            Self::Usage => "the command line is wrong",
            Self::Invalid => "a file or document is wrong; every place is named",
            Self::NotFound => "something that was named does not exist",
            Self::Conflict => "somebody else changed it meanwhile, or it exists already",
            Self::Denied => "you may not, or your certificate is not accepted",
            Self::Refused => "a rule of the control plane says no",
            Self::Unavailable => "the control plane cannot be reached, or cannot do it now",
            Self::Internal => "a fault of Fettle's own",
        }
    }

    /// The table that `fettle --help` ends with.
    #[must_use]
    pub fn table() -> String {
        let rows: Vec<String> =
            Self::ALL.iter().map(|exit| format!("  {:>2}  {}", exit.code(), exit.meaning())).collect();
        format!("Exit codes:\n{}", rows.join("\n"))
    }
}

impl From<ProblemCode> for Exit {
    fn from(code: ProblemCode) -> Self {
        match code {
            ProblemCode::Invalid => Self::Invalid,
            ProblemCode::NotFound => Self::NotFound,
            ProblemCode::Conflict => Self::Conflict,
            ProblemCode::Denied => Self::Denied,
            ProblemCode::Refused => Self::Refused,
            ProblemCode::Unavailable => Self::Unavailable,
            ProblemCode::Internal => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_has_its_own_code_and_its_place_in_the_help() {
        for (at, exit) in Exit::ALL.iter().enumerate() {
            assert_eq!(usize::from(exit.code()), at, "{exit:?}");
            assert!(Exit::table().lines().any(|line| line.trim_start().starts_with(&format!("{at}  "))), "{exit:?}");
        }
    }

    #[test]
    fn a_problems_code_and_its_exit_have_one_name() {
        for code in [
            ProblemCode::Invalid,
            ProblemCode::NotFound,
            ProblemCode::Conflict,
            ProblemCode::Denied,
            ProblemCode::Refused,
            ProblemCode::Unavailable,
            ProblemCode::Internal,
        ] {
            assert_eq!(serde_json::to_value(code).expect("JSON"), Exit::from(code).as_str());
        }
    }
}
