//! Services and remediations as TOML files, with file, line and remedy in every complaint.
//!
//! [`parse`] reads any number of files as one configuration, [`parse_edit`] as an edit of one that is in force;
//! [`Parsed::resolve`] and [`Parsed::resolve_edit`] turn the names of playbooks into exact versions. All return everything that is wrong, not only the first thing
//! (a file that is no TOML stops at its first error). Reading the files is the caller's business.

mod check;
mod escalation;
mod freezes;
mod offline;
mod raw;
mod schedules;
#[cfg(test)]
mod tests;

use crate::breaker_limits::BreakerLimits;
use crate::check::CheckRef;
use crate::configuration::Declared;
use crate::digest::PlaybookDigest;
use crate::freeze::Freeze;
use crate::name::{CheckName, PlaybookName, RemediationName, ServiceName};
use crate::playbook::Manifest;
use crate::promotion::PromotionLimits;
use crate::remediation::Remediation;
use crate::rollout::{MAX_SOAK, RolloutLimits};
use crate::schedule::Schedule;
use crate::service::{Selector, Service};
use crate::simulation::Edit;
use crate::time::HumanDuration;
use raw::{RawBreakers, RawFile, RawHosts, RawRemediation, RawRollout, RawService};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use toml::Spanned;

/// Largest configuration file: 500 services with 20 checks each have about 3 MiB.
pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;

/// A file's name and text.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its name, as people know it.
    pub file: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n  remedy: {}", self.file, self.line, self.message, self.remedy)
    }
}

/// Line of a byte offset, from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

/// Collects what is wrong in one file.
struct Complaints<'a> {
    source: Source<'a>,
    found: Vec<Diagnostic>,
}

impl Complaints<'_> {
    fn at(&mut self, span: std::ops::Range<usize>, message: impl Into<String>, remedy: impl Into<String>) {
        self.found.push(Diagnostic {
            file: self.source.file.to_owned(),
            line: line_of(self.source.text, span.start),
            message: message.into(),
            remedy: remedy.into(),
        });
    }
}

/// Files that are sound in themselves and among each other; playbooks are still names.
#[derive(Debug, Clone)]
pub struct Parsed {
    services: Vec<Service>,
    remediations: Vec<PendingRemediation>,
    breakers: Option<BreakerLimits>,
    freezes: Vec<Freeze>,
    schedules: Vec<Schedule>,
    rollout: RolloutLimits,
    promotion: PromotionLimits,
}

/// A remediation with the places that later complaints point at.
#[derive(Debug, Clone)]
struct PendingRemediation {
    raw: RawRemediation,
    file: String,
    playbooks: Vec<escalation::Named>,
}

/// An admitted version, as [`Parsed::resolve`] needs it.
#[derive(Debug, Clone)]
pub struct KnownPlaybook {
    /// The version.
    pub digest: PlaybookDigest,
    /// Its manifest.
    pub manifest: Manifest,
}

/// Reads files as one configuration.
///
/// # Errors
/// Everything that is wrong: TOML that does not parse, unknown keys, values out of bounds, names that
/// are not unique, empty selectors, remediations that name a check that is not there.
pub fn parse(sources: &[Source<'_>]) -> Result<Parsed, Vec<Diagnostic>> {
    parse_edit(sources, &Declared::default())
}

/// Reads files as an edit of what is in force: what that has counts as defined where the files do not define it anew.
///
/// # Errors
/// As [`parse`].
pub fn parse_edit(sources: &[Source<'_>], in_force: &Declared) -> Result<Parsed, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let mut files = Vec::new();
    for source in sources {
        match read(*source) {
            Ok(raw) => files.push((*source, raw)),
            Err(diagnostic) => found.push(diagnostic),
        }
    }
    // References into a file that does not parse would only be noise.
    if !found.is_empty() {
        return Err(found);
    }
    let mut services: Vec<Service> = Vec::new();
    for (source, raw) in &files {
        let mut complaints = Complaints { source: *source, found: Vec::new() };
        for service in &raw.service {
            add_service(service, &mut services, &mut complaints);
        }
        found.append(&mut complaints.found);
    }
    // What is written down counts as defined even where it is wrong: it has its own complaint already.
    let known = in_force.services.iter().map(|known| {
        let checks: Vec<CheckName> = known.checks.iter().map(|check| check.name.clone()).collect();
        (known.name.clone(), checks)
    });
    let written = files
        .iter()
        .flat_map(|(_, raw)| &raw.service)
        .map(|raw| (raw.name.get_ref().clone(), raw.check.iter().map(|check| check.name.get_ref().clone()).collect()));
    let defined: BTreeMap<ServiceName, Vec<CheckName>> = known.chain(written).collect();
    let known = in_force.remediations.iter().map(|known| known.name.clone());
    let written = files.iter().flat_map(|(_, raw)| &raw.remediation).map(|raw| raw.name.get_ref().clone());
    let answers: BTreeSet<RemediationName> = known.chain(written).collect();
    let mut remediations: Vec<PendingRemediation> = Vec::new();
    let mut breakers: Option<RawBreakers> = None;
    let mut rollout: Option<RolloutLimits> = None;
    let mut promotion: Option<PromotionLimits> = None;
    let (mut freezes, mut schedules) = (Vec::new(), Vec::new());
    for (source, raw) in files {
        let mut complaints = Complaints { source, found: Vec::new() };
        if let Some(table) = raw.breakers {
            let span = table.span();
            if breakers.replace(table.into_inner()).is_some() {
                complaints.at(span, "a second table [breakers]", "keep one for all files");
            }
        }
        if let Some(table) = raw.rollout {
            let (span, limits) = (table.span(), rollout_limits(table.into_inner(), &mut complaints));
            if rollout.replace(limits).is_some() {
                complaints.at(span, "a second table [rollout]", "keep one for all files");
            }
        }
        if let Some(table) = raw.promotion {
            let (span, limits) = (table.span(), table.into_inner().limits(&mut complaints));
            if promotion.replace(limits).is_some() {
                complaints.at(span, "a second table [promotion]", "keep one for all files");
            }
        }
        for remediation in raw.remediation {
            add_remediation(remediation, &defined, &mut remediations, &mut complaints);
        }
        for freeze in raw.freeze {
            freezes::add(freeze, &defined, &mut freezes, &mut complaints);
        }
        for schedule in &raw.schedule {
            schedules::add(schedule, &answers, &mut schedules, &mut complaints);
        }
        found.append(&mut complaints.found);
    }
    if found.is_empty() {
        let (breakers, rollout) = (breakers.map(BreakerLimits::from), rollout.unwrap_or_default());
        let promotion = promotion.unwrap_or_default();
        Ok(Parsed { services, remediations, breakers, freezes, schedules, rollout, promotion })
    } else {
        Err(found)
    }
}

fn rollout_limits(raw: RawRollout, complaints: &mut Complaints<'_>) -> RolloutLimits {
    let RawRollout { soak, part } = raw;
    let default = RolloutLimits::default();
    if let Some(soak) = soak.as_ref().filter(|soak| soak.get_ref().0 > MAX_SOAK) {
        let message = format!("a soak of {} is longer than {}", soak.get_ref(), HumanDuration(MAX_SOAK));
        complaints.at(soak.span(), message, "give a shorter one, and let people decide what takes longer");
    }
    RolloutLimits { soak: soak.map_or(default.soak, |soak| soak.into_inner().0), part: part.unwrap_or(default.part) }
}

fn read(source: Source<'_>) -> Result<RawFile, Diagnostic> {
    if source.text.len() > MAX_FILE_BYTES {
        return Err(Diagnostic {
            file: source.file.to_owned(),
            line: 1,
            message: format!("the file has {} bytes, more than the {MAX_FILE_BYTES} that are read", source.text.len()),
            remedy: "split it into several files".to_owned(),
        });
    }
    toml::from_str(source.text).map_err(|error| {
        let message = error.message().to_owned();
        let remedy = if message.starts_with("unknown field") {
            "remove the key or correct its spelling; a key that is not enforced does not parse"
        } else if message.starts_with("missing field") {
            "add the key"
        } else {
            "correct the value; every key is shown in deploy/services.toml.example"
        };
        Diagnostic {
            file: source.file.to_owned(),
            line: line_of(source.text, error.span().map_or(0, |span| span.start)),
            message,
            remedy: remedy.to_owned(),
        }
    })
}

/// The hosts that `whose` selects, or a complaint.
fn selected(raw: &Spanned<RawHosts>, whose: &str, complaints: &mut Complaints<'_>) -> Option<Selector> {
    let RawHosts { environments, names } = raw.get_ref();
    Selector::new(environments.clone(), names.clone())
        .map_err(|error| {
            let remedy = "write hosts = { environments = [\"staging\"] } or hosts = { names = [\"web-1\"] }";
            complaints.at(raw.span(), format!("{whose}: {error}"), remedy);
        })
        .ok()
}

fn add_service(raw: &RawService, services: &mut Vec<Service>, complaints: &mut Complaints<'_>) {
    let name = raw.name.get_ref();
    if services.iter().any(|service| &service.name == name) {
        complaints.at(raw.name.span(), format!("a second service is named {name}"), "give it another name");
        return;
    }
    let Some(hosts) = selected(&raw.hosts, &format!("service {name}"), complaints) else { return };
    let mut checks = Vec::new();
    let mut names = BTreeSet::new();
    for raw_check in &raw.check {
        let check_name = raw_check.name.get_ref();
        if !names.insert(check_name) {
            complaints.at(
                raw_check.name.span(),
                format!("service {name} has a second check named {check_name}"),
                "give it another name",
            );
        }
        checks.extend(check::convert(raw_check, complaints));
    }
    services.push(Service { name: name.clone(), owner: raw.owner.clone(), tier: raw.tier, hosts, checks });
}

fn add_remediation(
    raw: RawRemediation,
    defined: &BTreeMap<ServiceName, Vec<CheckName>>,
    remediations: &mut Vec<PendingRemediation>,
    complaints: &mut Complaints<'_>,
) {
    let name = raw.name.get_ref();
    if remediations.iter().any(|other| other.raw.name.get_ref() == name) {
        complaints.at(raw.name.span(), format!("a second remediation is named {name}"), "give it another name");
    }
    let (service, check) = (raw.service.get_ref(), raw.check.get_ref());
    match defined.get(service) {
        None => complaints.at(
            raw.service.span(),
            format!("remediation {name} names the service {service}, which is not defined"),
            list_of("define it", defined.keys()),
        ),
        Some(checks) if !checks.contains(check) => complaints.at(
            raw.check.span(),
            format!("remediation {name} names the check {check}, which service {service} does not have"),
            list_of("define it", checks.iter()),
        ),
        Some(_) => {}
    }
    raw.guard.complain(complaints);
    escalation::complain(&raw, complaints);
    offline::complain(&raw, complaints);
    let answered = remediations.iter().find(|other| {
        other.raw.service.get_ref() == raw.service.get_ref() && other.raw.check.get_ref() == raw.check.get_ref()
    });
    if let Some(other) = answered {
        complaints.at(
            raw.check.span(),
            format!(
                "remediations {} and {name} both answer the check {}",
                other.raw.name.get_ref(),
                raw.check.get_ref()
            ),
            "keep one of them; which one acts must not be chance",
        );
    }
    remediations.push(PendingRemediation {
        file: complaints.source.file.to_owned(),
        playbooks: escalation::named(&raw, complaints.source.text),
        raw,
    });
}

/// What to do about a name that is not there: the remedy, or one of the names that are.
fn list_of<T: fmt::Display>(remedy: &str, names: impl Iterator<Item = T>) -> String {
    let names: Vec<String> = names.map(|name| name.to_string()).collect();
    if names.is_empty() { remedy.to_owned() } else { format!("{remedy}, or name one of {}", names.join(", ")) }
}

impl Parsed {
    /// The services.
    #[must_use]
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The checks that a remediation answers, by its name.
    pub fn answered_checks(&self) -> impl Iterator<Item = (RemediationName, CheckRef)> {
        self.remediations.iter().map(|pending| {
            let service: &ServiceName = pending.raw.service.get_ref();
            let check = CheckRef { service: service.clone(), check: pending.raw.check.get_ref().clone() };
            (pending.raw.name.get_ref().clone(), check)
        })
    }

    /// Turns the names of playbooks into exact versions and completes their parameters. `known` gives,
    /// for every admitted playbook, the version that its name stands for: the newest admitted one.
    ///
    /// # Errors
    /// A playbook that is not admitted; parameters that its manifest does not allow.
    pub fn resolve(self, known: &BTreeMap<PlaybookName, KnownPlaybook>) -> Result<Declared, Vec<Diagnostic>> {
        let Self { services, remediations, breakers, freezes, schedules, rollout, promotion } = self;
        let remediations = resolved(remediations, known)?;
        let breakers = breakers.unwrap_or_default();
        Ok(Declared { services, remediations, breakers, freezes, schedules, rollout, promotion })
    }

    /// As [`Parsed::resolve`], for an edit. What files say about rollouts, promotions and schedules is no part of
    /// one.
    ///
    /// # Errors
    /// As [`Parsed::resolve`].
    pub fn resolve_edit(self, known: &BTreeMap<PlaybookName, KnownPlaybook>) -> Result<Edit, Vec<Diagnostic>> {
        let Self { services, remediations, breakers, freezes, schedules: _, rollout: _, promotion: _ } = self;
        Ok(Edit { services, remediations: resolved(remediations, known)?, breakers, freezes })
    }
}

fn resolved(
    all: Vec<PendingRemediation>,
    known: &BTreeMap<PlaybookName, KnownPlaybook>,
) -> Result<Vec<Remediation>, Vec<Diagnostic>> {
    let (mut found, mut remediations) = (Vec::new(), Vec::new());
    for pending in all {
        match pending.resolve(known) {
            Ok(remediation) => remediations.push(remediation),
            Err(mut diagnostics) => found.append(&mut diagnostics),
        }
    }
    if found.is_empty() { Ok(remediations) } else { Err(found) }
}

impl PendingRemediation {
    fn resolve(self, known: &BTreeMap<PlaybookName, KnownPlaybook>) -> Result<Remediation, Vec<Diagnostic>> {
        let Self { raw, file, playbooks } = self;
        let of = raw.name.get_ref().clone();
        let (mut resolved, mut found) = (Vec::new(), Vec::new());
        for named in playbooks {
            match named.resolve(&of, &file, known) {
                Ok(each) => resolved.push(each),
                Err(diagnostic) => found.push(diagnostic),
            }
        }
        let mut resolved = resolved.into_iter();
        match resolved.next() {
            Some((playbook, parameters)) if found.is_empty() => Ok(Remediation {
                name: of,
                playbook,
                parameters,
                escalation: escalation::escalation(&raw, resolved.collect()),
                offline: raw.offline.as_ref().and_then(|offline| offline.get_ref().parsed()),
                service: raw.service.into_inner(),
                check: raw.check.into_inner(),
                modes: raw.modes,
                guard: raw.guard.into(),
            }),
            Some(_) | None => Err(found),
        }
    }
}
