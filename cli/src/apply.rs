//! `fettle apply`: services and remediations from files become the configuration, as a whole.
//!
//! Everything that is wrong in the files is reported at once. The names of playbooks are resolved to
//! the newest admitted versions here, so that what is set is exact; the generation that was seen
//! travels along, so that a change by somebody else in between is a conflict and not lost.

mod difference;
mod raised;

use crate::answer::Answer;
use crate::connection::{Connection, unexpected};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::file;
use crate::promotion;
use crate::rollout;
use crate::table::count;
use clap::Args;
use difference::{Difference, difference};
use fettle_model::config_file::{self, Diagnostic, KnownPlaybook, MAX_FILE_BYTES, Source};
use fettle_model::configuration::Declared;
use fettle_model::counter::{ConfigurationGeneration, LogPosition};
use fettle_model::name::PlaybookName;
use fettle_proto::operator::{Command, CommandReply, PlaybookRow, Query, QueryReply, RolloutProgress};
use raised::{Raised, raised};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Most files of one configuration; each has at most 4 MiB.
const MAX_FILES: usize = 100;

/// What to apply.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// TOML files with services and remediations. Together they replace the whole configuration.
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Change nothing: say what is wrong, or what would change. Without a profile only the files are
    /// looked at, not the playbooks that they name.
    #[arg(long)]
    check: bool,
}

/// The configuration that a control plane has.
pub(crate) struct Current {
    generation: ConfigurationGeneration,
    pub(crate) declared: Box<Declared>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
enum Outcome {
    /// Only the files were looked at.
    FilesAreSound { services: usize, remediations: usize },
    /// What would change.
    WouldChange { replaces: ConfigurationGeneration, difference: Difference, raised: Vec<Raised> },
    /// It is so already.
    Unchanged { generation: ConfigurationGeneration },
    /// It was set.
    Applied {
        replaces: ConfigurationGeneration,
        position: LogPosition,
        difference: Difference,
        raised: Vec<Raised>,
        /// Its rollout; none where it is everywhere at once.
        rollout: Option<Box<RolloutProgress>>,
    },
}

/// Carries the command out.
///
/// # Errors
/// With every diagnostic, or as the control plane and the connection say.
pub(crate) async fn run(apply: Apply, context: &Context) -> Result<Answer, Failure> {
    let texts = read(&apply.files)?;
    let parsed = config_file::parse(&sources(&texts)).map_err(|found| complaints(&found))?;
    if apply.check && !context.has_profile() {
        let (services, remediations) = (parsed.services().len(), parsed.answered_checks().count());
        let text = format!(
            "the files are sound: {}, {}; playbooks and parameters were not looked at, since there is no profile\n",
            count_of(services, "service"),
            count_of(remediations, "remediation"),
        );
        return Answer::new(&Outcome::FilesAreSound { services, remediations }, text);
    }
    let mut connection = context.connect().await?;
    let current = current(&mut connection).await?;
    let known = known_playbooks(&mut connection).await?;
    let declared = parsed.resolve(&known).map_err(|found| complaints(&found))?;
    let difference = difference(&current.declared, &declared);
    let replaces = current.generation;
    if difference.is_empty() {
        let text = format!("nothing changes: the configuration {replaces} says the same\n");
        return Answer::new(&Outcome::Unchanged { generation: replaces }, text);
    }
    let mut raises = raised(&current.declared, &declared, &[]);
    if !raises.is_empty() {
        let earned = promotion::promotions(&mut connection).await?;
        raises = raised(&current.declared, &declared, &earned);
    }
    let raised = raises;
    let lines = format!("{difference}{}", raised::told(&raised));
    if apply.check {
        let text = format!("{lines}nothing was changed (--check)\n");
        return Answer::new(&Outcome::WouldChange { replaces, difference, raised }, text);
    }
    let reply = connection.execute(&Command::SetConfiguration { declared: Box::new(declared), replaces }).await?;
    let CommandReply::Done { position } = reply else { return unexpected("a log position") };
    let set = replaces.next();
    // It is set, whatever becomes of the question how it goes on.
    let (rollout, how) = match rollout::rollout(&mut connection).await {
        Ok(view) if view.generation == set => {
            let how = view.rollout.as_ref().map(|progress| {
                let previous = progress.previous;
                format!("it is rolled out ring by ring, and hosts beyond keep {previous}: fettle rollout show\n")
            });
            (view.rollout, how.unwrap_or_default())
        }
        Ok(_) | Err(_) => (None, "see how it reaches the hosts: fettle rollout show\n".to_owned()),
    };
    let text = format!("{lines}the configuration {set} is set; log position {position}\n{how}");
    Answer::new(&Outcome::Applied { replaces, position, difference, raised, rollout }, text)
}

fn count_of(number: usize, noun: &str) -> String {
    count(u64::try_from(number).unwrap_or(u64::MAX), noun)
}

/// A file's name and text.
pub(crate) type Text = (String, String);

/// Reads the files of one configuration.
///
/// # Errors
/// When there are too many, or one cannot be read.
pub(crate) fn read(files: &[PathBuf]) -> Result<Vec<Text>, Failure> {
    if files.len() > MAX_FILES {
        let message = format!("{} files are more than the {MAX_FILES} that make a configuration", files.len());
        return Err(Failure::new(Exit::Usage, message, "name fewer files"));
    }
    let mut texts = Vec::with_capacity(files.len());
    for path in files {
        texts.push((path.display().to_string(), file::read_text(path, MAX_FILE_BYTES)?));
    }
    Ok(texts)
}

pub(crate) fn sources(texts: &[Text]) -> Vec<Source<'_>> {
    texts.iter().map(|(file, text)| Source { file, text }).collect()
}

fn complaints(found: &[Diagnostic]) -> Failure {
    let remedy = "the configuration is as it was; correct the files and apply them again";
    all_complaints("the files are not applied", found, remedy)
}

/// All diagnostics as one failure; each has its own remedy beside it.
pub(crate) fn all_complaints(heading: &str, found: &[Diagnostic], remedy: &str) -> Failure {
    let all: Vec<String> = found.iter().map(ToString::to_string).collect();
    let heading = match found.len() {
        1 => heading.to_owned(),
        number => format!("{heading}: {number} things are wrong"),
    };
    Failure::new(Exit::Invalid, format!("{heading}\n{}", all.join("\n")), remedy)
}

/// The configuration in force.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn current(connection: &mut Connection) -> Result<Current, Failure> {
    let reply = connection.query(&Query::Configuration).await?;
    let QueryReply::Configuration { generation, declared } = reply else {
        return unexpected("the configuration");
    };
    Ok(Current { generation, declared })
}

/// The version that the name of each admitted playbook stands for.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn known_playbooks(
    connection: &mut Connection,
) -> Result<BTreeMap<PlaybookName, KnownPlaybook>, Failure> {
    let QueryReply::Playbooks { playbooks } = connection.query(&Query::Playbooks).await? else {
        return unexpected("playbooks");
    };
    Ok(newest(playbooks))
}

/// The version that each name stands for. The control plane lists the newest of a name first.
fn newest(rows: Vec<PlaybookRow>) -> BTreeMap<PlaybookName, KnownPlaybook> {
    let mut known = BTreeMap::new();
    for PlaybookRow { digest, manifest, .. } in rows {
        known.entry(manifest.playbook.name.clone()).or_insert(KnownPlaybook { digest, manifest });
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_complaint_is_in_the_failure_with_file_line_and_remedy() {
        let diagnostic = |line, message: &str| Diagnostic {
            file: "web.toml".to_owned(),
            line,
            message: message.to_owned(),
            remedy: "mend it".to_owned(),
        };
        let failure = complaints(&[diagnostic(3, "unknown field `intervall`"), diagnostic(9, "an empty selector")]);
        assert_eq!(failure.exit, Exit::Invalid);
        insta::assert_snapshot!(failure, @r"
        error: the files are not applied: 2 things are wrong
        web.toml:3: unknown field `intervall`
          remedy: mend it
        web.toml:9: an empty selector
          remedy: mend it
        remedy: the configuration is as it was; correct the files and apply them again
        ");
    }
}
