//! `fettle why`: why automation did, or did not, act. In sentences, from records.

mod decision;
mod not;
mod reason;
mod run_story;
mod rungs;
mod withheld;

use crate::answer::Answer;
use crate::connection::unexpected;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::run::detail;
use clap::{Args, Subcommand};
use fettle_model::check::CheckRef;
use fettle_model::id::RunId;
use fettle_model::name::HostName;
use fettle_proto::operator::{Query, QueryReply};
use std::str::FromStr;

pub(crate) use run_story::rejection;

/// What to explain.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Why {
    /// SERVICE/CHECK@HOST: why a check was, or was not, acted upon there. Or a run's id: why it ran,
    /// and how it ended.
    #[arg(value_name = "SERVICE/CHECK@HOST | RUN", required = true)]
    subject: Option<Subject>,
    #[command(subcommand)]
    command: Option<WhyCommand>,
}

/// Other questions that begin with why.
#[derive(Debug, Subcommand)]
pub(crate) enum WhyCommand {
    /// Why a playbook would not act on a service now, for every host that carries it: all reasons, and what clears them.
    Not(not::Not),
}

/// A check on a host, or a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A check on a host.
    Check {
        /// The check.
        check: CheckRef,
        /// The host.
        host: HostName,
    },
    /// A run.
    Run(RunId),
}

/// The text names neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it must be SERVICE/CHECK@HOST, such as web/http@web-1, or the id of a run")]
pub(crate) struct InvalidSubject;

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        match text.split_once('@') {
            Some((check, host)) => {
                Ok(Self::Check { check: check_ref(check)?, host: host.parse().map_err(|_| InvalidSubject)? })
            }
            None => text.parse().map(Self::Run).map_err(|_| InvalidSubject),
        }
    }
}

/// Reads SERVICE/CHECK.
///
/// # Errors
/// When it is not of that form.
pub(crate) fn check_ref(text: &str) -> Result<CheckRef, InvalidSubject> {
    let (service, check) = text.split_once('/').ok_or(InvalidSubject)?;
    let wrong = |_| InvalidSubject;
    Ok(CheckRef { service: service.parse().map_err(wrong)?, check: check.parse().map_err(wrong)? })
}

/// Carries the command out.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn run(why: Why, context: &Context) -> Result<Answer, Failure> {
    let subject = match why {
        Why { command: Some(WhyCommand::Not(not)), .. } => return not::run(not, context).await,
        Why { subject: Some(subject), command: None } => subject,
        Why { subject: None, command: None } => {
            return Err(Failure::new(Exit::Usage, "nothing to explain is named", "see: fettle why --help"));
        }
    };
    let mut connection = context.connect().await?;
    match subject {
        Subject::Check { check, host } => {
            let query = Query::WhyCheck { check: check.clone(), host };
            let QueryReply::Why { why } = connection.query(&query).await? else { return unexpected("why") };
            let text = decision::check(&check, &why, context.now);
            Answer::new(&QueryReply::Why { why }, text)
        }
        Subject::Run(run) => {
            let run = detail(&mut connection, run).await?;
            let text = run_story::run(&run, context.now);
            Answer::new(&QueryReply::Run { run: Box::new(run) }, text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_a_check_on_a_host_or_a_run() {
        let check = "web/http@web-1".parse::<Subject>().expect("a check");
        assert!(
            matches!(check, Subject::Check { check, host } if check.to_string() == "web/http" && host.as_str() == "web-1")
        );
        assert!(
            "01890a5d-ac96-774b-bcce-b302099a8057".parse::<Subject>().is_ok_and(|it| matches!(it, Subject::Run(_)))
        );
        for wrong in ["", "web", "web/http", "web@web-1", "web/http@", "a/b/c@d"] {
            assert_eq!(wrong.parse::<Subject>(), Err(InvalidSubject), "{wrong}");
        }
    }
}
