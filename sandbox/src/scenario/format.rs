//! The scenario file: TOML, no unknown keys, errors with the line.

use crate::call::Verdict;
use crate::simulate::{Injection, WorldSpec};
use fettle_model::name::Label;
use fettle_model::playbook::{GrantKind, Manifest};
use fettle_model::remediation::Parameters;
use fettle_model::run::Ending;
use fettle_model::scenarios::{MAX_TITLE_BYTES, is_title};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Longest scenario file: a thousand lines.
const MAX_SCENARIO_BYTES: usize = 64 * 1024;

/// A scenario that fits its playbook's manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What it shows.
    pub title: String,
    /// What failed, for the playbook's trigger.
    pub alert: String,
    /// More about where it failed.
    pub labels: BTreeMap<String, String>,
    /// Complete and valid against the manifest.
    pub parameters: Parameters,
    /// The world at its beginning.
    pub world: WorldSpec,
    /// Errors that happen in it.
    pub faults: Vec<Injection>,
    /// What must come of it.
    pub expect: Expectation,
}

/// What must come of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// How the run ends.
    pub outcome: Ending,
    /// What was changed, in order, undone steps included: `service.restart`.
    pub changed: Vec<String>,
    /// File of the golden trace, beside the scenario.
    pub trace: Option<String>,
}

/// What is wrong with a scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct InvalidScenario {
    /// Line in the file, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    trigger: Trigger,
    #[serde(default)]
    world: WorldSpec,
    #[serde(default, rename = "fault")]
    faults: Vec<Injection>,
    expect: Expectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trigger {
    alert: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    parameters: BTreeMap<String, serde_json::Value>,
}

impl Scenario {
    /// Reads a scenario for the playbook of this manifest.
    ///
    /// # Errors
    /// With the line and what is wrong with it.
    pub fn from_toml(text: &str, manifest: &Manifest) -> Result<Self, InvalidScenario> {
        if text.len() > MAX_SCENARIO_BYTES {
            let message = format!("the file has more than {MAX_SCENARIO_BYTES} bytes");
            return Err(InvalidScenario { line: 1, message });
        }
        let file: File = toml::from_str(text).map_err(|error| InvalidScenario {
            line: line_at(text, error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        if !is_title(&file.title) {
            let message = format!("the title must be one line of 1 to {MAX_TITLE_BYTES} bytes");
            return Err(InvalidScenario { line: line_of(text, "title"), message });
        }
        let wrong = |(mentions, message): Wrong| InvalidScenario { line: line_of(text, &mentions), message };
        check_world(&file.world, manifest).map_err(wrong)?;
        check_actions(&file, manifest).map_err(wrong)?;
        let parameters = manifest
            .complete(&file.trigger.parameters)
            .map_err(|error| wrong((error.name.clone(), error.to_string())))?;
        let File { title, trigger: Trigger { alert, labels, .. }, world, faults, expect } = file;
        Ok(Self { title, alert, labels, parameters, world, faults, expect })
    }
}

/// A text of the file that is wrong, and what is wrong with it.
type Wrong = (String, String);

fn check_world(world: &WorldSpec, manifest: &Manifest) -> Result<(), Wrong> {
    let services = world.service.keys().map(|label| (label, GrantKind::Service));
    let releases = world.release.keys().map(|label| (label, GrantKind::Release));
    let flags = world.flag.keys().map(|label| (label, GrantKind::Flag));
    let checks = world.health.keys().map(|label| (label, GrantKind::Health));
    for (label, kind) in services.chain(releases).chain(flags).chain(checks) {
        if manifest.grant(label).is_none_or(|grant| grant.kind != kind) {
            return Err((label.to_string(), format!("the manifest has no grant {label} of this kind")));
        }
    }
    let confirming = &manifest.confirm.health;
    match world.health.get(confirming) {
        None => return Err(("world".to_owned(), format!("world.health.{confirming} is missing: it confirms the run"))),
        Some(check) if check.verdict == Verdict::Healthy && check.becomes.is_empty() => {
            return Err((confirming.to_string(), "the check is never unhealthy: there is nothing to do".to_owned()));
        }
        Some(_) => {}
    }
    for (label, releases) in &world.release {
        if !releases.history.iter().any(|release| release.id == releases.current) {
            let message = format!("world.release.{label}.current is not in its history");
            return Err((releases.current.clone(), message));
        }
    }
    for (label, flag) in &world.flag {
        if !flag.variants.contains(&flag.value) {
            return Err((flag.value.clone(), format!("world.flag.{label}.value is not one of its variants")));
        }
    }
    let unfit = |value: &&toml::Value| crate::simulate::is_fact(value);
    match world.fact.iter().find(|(_, value)| !unfit(value)) {
        Some((key, _)) => {
            Err((key.clone(), "a fact is text, a whole number, true or false, or a list of texts".to_owned()))
        }
        None => Ok(()),
    }
}

fn check_actions(file: &File, manifest: &Manifest) -> Result<(), Wrong> {
    let granted = |name: &str| {
        let (label, action) = name.split_once('.').unwrap_or((name, ""));
        let grant = label.parse::<Label>().ok().and_then(|label| manifest.grant(&label));
        grant.is_some_and(|grant| grant.actions.iter().any(|granted| granted.as_str() == action))
    };
    let becomes = file.world.health.values().flat_map(|check| &check.becomes);
    let followed = becomes.filter_map(|becomes| becomes.following.as_ref());
    if let Some(name) = followed.chain(&file.expect.changed).find(|name| !granted(name)) {
        return Err((name.clone(), format!("the manifest grants no action {name}")));
    }
    for fault in &file.faults {
        let (label, operation) = fault.call.split_once('.').unwrap_or((&fault.call, ""));
        let known = label == "facts" || label.parse::<Label>().is_ok_and(|label| manifest.grant(&label).is_some());
        if !known {
            return Err((fault.call.clone(), format!("the manifest has no grant for {}", fault.call)));
        }
        if fault.nth == 0 {
            return Err((fault.call.clone(), "nth counts from 1".to_owned()));
        }
        if !fault.returns.fits(operation) {
            return Err((fault.call.clone(), format!("{} cannot return this error", fault.call)));
        }
    }
    Ok(())
}

fn line_at(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|b| *b == b'\n').count() + 1
}

/// The first line with this text; the first line of all where it is not written out.
fn line_of(text: &str, mentions: &str) -> usize {
    text.lines().position(|line| line.contains(mentions)).map_or(1, |at| at + 1)
}
