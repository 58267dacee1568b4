//! `[[remediation.then]]` as it is written in files, and what is wrong with it. Called by [`super::parse`] and
//! [`super::Parsed::resolve`] alone.

use super::raw::RawRemediation;
use super::{Complaints, Diagnostic, KnownPlaybook, line_of, list_of};
use crate::escalation::{DEFAULT_TIMEOUT, Escalation, Further, MAX_RUNGS, MAX_TIMEOUT};
use crate::name::{EnvironmentName, PlaybookName, RemediationName};
use crate::remediation::{Mode, Parameters, PlaybookVersion};
use crate::time::HumanDuration;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawFurther {
    playbook: Spanned<PlaybookName>,
    #[serde(default)]
    parameters: Option<Spanned<BTreeMap<String, serde_json::Value>>>,
    modes: Option<BTreeMap<EnvironmentName, Mode>>,
    timeout: Option<Spanned<HumanDuration>>,
}

/// A playbook as a file names it, with the places that later complaints point at.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) playbook: PlaybookName,
    pub(super) parameters: BTreeMap<String, serde_json::Value>,
    playbook_line: usize,
    parameters_line: usize,
}

/// What is wrong with a remediation's list in itself.
pub(super) fn complain(raw: &RawRemediation, complaints: &mut Complaints<'_>) {
    let name = raw.name.get_ref();
    let rungs = u32::try_from(raw.then.len()).unwrap_or(u32::MAX).saturating_add(1);
    if rungs > MAX_RUNGS {
        complaints.at(
            raw.name.span(),
            format!("remediation {name} has {rungs} playbooks, more than {MAX_RUNGS}"),
            "keep those that help most; people are called after the last",
        );
    }
    if let Some(timeout) = raw.timeout.as_ref().filter(|_| raw.then.is_empty()) {
        complaints.at(
            timeout.span(),
            format!("remediation {name} has a timeout, and nothing follows it"),
            "remove the key, or add a [[remediation.then]]",
        );
    }
    for timeout in raw.timeout.iter().chain(raw.then.iter().filter_map(|further| further.timeout.as_ref())) {
        let given = timeout.get_ref().0;
        if given.is_zero() || given > MAX_TIMEOUT {
            complaints.at(
                timeout.span(),
                format!("remediation {name}: a timeout of {} is not above 0 and at most 24h", timeout.get_ref()),
                "write for example timeout = \"15m\"",
            );
        }
    }
}

/// The playbooks that a remediation names, in their order.
pub(super) fn named(raw: &RawRemediation, text: &str) -> Vec<Named> {
    let line = |span: std::ops::Range<usize>| line_of(text, span.start);
    let named = |playbook: &Spanned<PlaybookName>, parameters: Option<&Spanned<BTreeMap<_, _>>>, otherwise| Named {
        playbook: playbook.get_ref().clone(),
        parameters: parameters.map(|given| given.get_ref().clone()).unwrap_or_default(),
        playbook_line: line(playbook.span()),
        parameters_line: line(parameters.map_or(otherwise, Spanned::span)),
    };
    let further = raw.then.iter().map(|each| named(&each.playbook, each.parameters.as_ref(), each.playbook.span()));
    std::iter::once(named(&raw.playbook, raw.parameters.as_ref(), raw.name.span())).chain(further).collect()
}

impl Named {
    /// Turns the name into the exact version and completes the parameters.
    pub(super) fn resolve(
        self,
        of: &RemediationName,
        file: &str,
        known: &BTreeMap<PlaybookName, KnownPlaybook>,
    ) -> Result<(PlaybookVersion, Parameters), Diagnostic> {
        let name = self.playbook;
        let Some(playbook) = known.get(&name) else {
            return Err(Diagnostic {
                file: file.to_owned(),
                line: self.playbook_line,
                message: format!("remediation {of} names the playbook {name}, which is not admitted"),
                remedy: list_of("publish it with `fettle playbook publish`", known.keys()),
            });
        };
        let parameters = playbook.manifest.complete(&self.parameters).map_err(|error| Diagnostic {
            file: file.to_owned(),
            line: self.parameters_line,
            message: format!("remediation {of}: {error}"),
            remedy: format!("see `fettle playbook show {name}`"),
        })?;
        Ok((PlaybookVersion { name, digest: playbook.digest }, parameters))
    }
}

/// The list behind the first playbook; `resolved` are its versions and parameters in order.
pub(super) fn escalation(raw: &RawRemediation, resolved: Vec<(PlaybookVersion, Parameters)>) -> Escalation {
    let timeout = |given: Option<&Spanned<HumanDuration>>| given.map_or(DEFAULT_TIMEOUT, |given| given.get_ref().0);
    let then = raw.then.iter().zip(resolved).map(|(further, (playbook, parameters))| Further {
        playbook,
        parameters,
        modes: further.modes.clone().unwrap_or_else(|| raw.modes.clone()),
        timeout: timeout(further.timeout.as_ref()),
    });
    Escalation { timeout: timeout(raw.timeout.as_ref()), then: then.collect() }
}
