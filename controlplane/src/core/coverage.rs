//! Coverage: for every remediation and class of host outside staging, what has to be proved, what evidence says of
//! it, and which drill would earn it. Called by the views; the governor asks [`Admitted::proof`] itself.

use super::hosts::Host;
use super::playbooks::{Admitted, KnownEvidence, Needed, Proof};
use super::state::State;
use fettle_model::coverage::{Coverage, Difference, Earning, Finding, MAX_HOSTS_NAMED, Obstacle, Proven};
use fettle_model::evidence::{Evidence, ProvedGrant};
use fettle_model::host::{DrillConsent, HostState};
use fettle_model::name::{HostName, Label};
use fettle_model::playbook::DrillDeclaration;
use fettle_model::remediation::{Mode, Remediation};
use fettle_model::service::Service;
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that hosts outside staging need, by remediation in the configuration's order, then by class.
#[must_use]
pub fn coverage(state: &State, wall: UnixMillis) -> Vec<Coverage> {
    let configuration = state.configuration();
    let on_rungs = configuration.remediations().iter().flat_map(Remediation::rungs);
    let answers = on_rungs.filter_map(|(_, remediation)| {
        let service = configuration.service(&remediation.service)?;
        let admitted = state.playbooks.version(&remediation.playbook)?;
        Some((remediation, service, admitted))
    });
    answers
        .flat_map(|(remediation, service, admitted)| {
            let needs = needs(state, &remediation, service, admitted);
            needs.into_iter().map(move |(needed, hosts)| Coverage {
                remediation: remediation.name.clone(),
                playbook: remediation.playbook.clone(),
                admitted: admitted.stamp.position,
                scenarios: admitted.scenarios.as_ref().map(|said| said.known),
                hosts: u64::try_from(hosts.len()).unwrap_or(u64::MAX),
                named: hosts.into_iter().take(MAX_HOSTS_NAMED).cloned().collect(),
                finding: finding(state, admitted, &needed, wall),
                earning: earning(state, &remediation, service, admitted, &needed),
                class: needed.class,
                parameters: needed.parameters,
            })
        })
        .collect()
}

/// What the hosts outside staging need for one remediation, each with the hosts that do, by name.
fn needs<'a>(
    state: &'a State,
    remediation: &Remediation,
    service: &Service,
    admitted: &Admitted,
) -> BTreeMap<Needed, BTreeSet<&'a HostName>> {
    let mut needs: BTreeMap<Needed, BTreeSet<&HostName>> = BTreeMap::new();
    for host in state.hosts().filter(|host| host.state != HostState::Revoked && !host.environment.is_staging()) {
        if let Some(needed) = needed_by(host, remediation, service, admitted) {
            needs.entry(needed).or_default().insert(&host.name);
        }
    }
    needs
}

fn needed_by(host: &Host, remediation: &Remediation, service: &Service, admitted: &Admitted) -> Option<Needed> {
    Some(host)
        .filter(|host| service.hosts.selects(&host.name, &host.environment))
        .and_then(|host| Needed::by(host.description.as_ref()?, remediation, admitted))
}

fn finding(state: &State, admitted: &Admitted, needed: &Needed, wall: UnixMillis) -> Finding {
    let Some(grants) = &needed.grants else { return Finding::Unbound };
    match admitted.proof(needed, wall) {
        Proof::Covered(known) => Finding::Covered { by: proven(known) },
        Proof::Expired { by } => Finding::Expired { by: proven(by) },
        Proof::Differs { .. } | Proof::Missing { .. } => {
            let versions = state.playbooks.named(&admitted.admission.manifest.playbook.name);
            let whole = versions.flat_map(|version| version.evidence.iter()).filter(|known| known.is_whole());
            let compared = whole.map(|known| (known, differences(&known.evidence, admitted, needed, grants)));
            // The position makes the choice unique.
            let nearest = compared.min_by_key(|(known, differences)| {
                let expired = known.evidence.expires_at <= wall;
                (differences.len(), expired, std::cmp::Reverse(known.stamp.position))
            });
            nearest.map_or(Finding::Nothing, |(known, differences)| Finding::Differs {
                nearest: proven(known),
                differences,
            })
        }
    }
}

fn proven(known: &KnownEvidence) -> Proven {
    let Evidence { drill, fault, expires_at, .. } = &known.evidence;
    Proven { drill: *drill, fault: fault.clone(), position: known.stamp.position, until: *expires_at }
}

/// Every difference between evidence and what is needed.
fn differences(evidence: &Evidence, admitted: &Admitted, needed: &Needed, grants: &[ProvedGrant]) -> Vec<Difference> {
    let (class, wanted) = (&evidence.class, &needed.class);
    let mut differences = Vec::new();
    if evidence.playbook.digest != admitted.admission.digest {
        let (proved, needed) = (evidence.playbook.digest, admitted.admission.digest);
        differences.push(Difference::Version { proved, needed });
    }
    if evidence.parameters != needed.parameters {
        differences.push(Difference::Parameters { proved: evidence.parameters, needed: needed.parameters });
    }
    if class.service != wanted.service {
        let (proved, needed) = (class.service.clone(), wanted.service.clone());
        differences.push(Difference::Service { proved, needed });
    }
    if class.manager != wanted.manager {
        differences.push(Difference::Manager { proved: class.manager, needed: wanted.manager });
    }
    if class.os != wanted.os {
        differences.push(Difference::OperatingSystem { proved: class.os.clone(), needed: wanted.os.clone() });
    }
    if class.architecture != wanted.architecture {
        let (proved, needed) = (class.architecture.clone(), wanted.architecture.clone());
        differences.push(Difference::Architecture { proved, needed });
    }
    let labels: BTreeSet<&Label> = evidence.grants.iter().chain(grants).map(|grant| &grant.label).collect();
    for label in labels {
        let of = |grants: &[ProvedGrant]| grants.iter().find(|grant| &grant.label == label).cloned();
        let (proved, needed) = (of(&evidence.grants), of(grants));
        if proved != needed {
            differences.push(Difference::Grant { label: label.clone(), proved, needed });
        }
    }
    differences
}

/// The drill that would earn what is needed, or what is in its way.
fn earning(
    state: &State,
    remediation: &Remediation,
    service: &Service,
    admitted: &Admitted,
    needed: &Needed,
) -> Earning {
    let drills = &admitted.admission.manifest.drills;
    if drills.is_empty() {
        return Earning::NoDrill;
    }
    if admitted.scenarios.is_none() {
        return Earning::NoScenarios;
    }
    let staging = state.hosts().filter(|host| host.state != HostState::Revoked && host.environment.is_staging());
    let fitting = staging.filter(|host| needed_by(host, remediation, service, admitted).as_ref() == Some(needed));
    let mut outlooks: Vec<(Result<u32, Obstacle>, &HostName)> =
        fitting.map(|host| (outlook(host, remediation, drills), &host.name)).collect();
    outlooks.sort_unstable();
    match outlooks.first() {
        None => Earning::NoHost,
        Some((Ok(drill), host)) => Earning::Drill { host: (*host).clone(), drill: *drill },
        Some((Err(by), _)) => {
            let hosts = outlooks.iter().take(MAX_HOSTS_NAMED).map(|(_, name)| (*name).clone()).collect();
            Earning::Blocked { hosts, by: *by }
        }
    }
}

/// The first of the playbook's drills that a staging host can run, or what is in its way.
fn outlook(host: &Host, remediation: &Remediation, drills: &[DrillDeclaration]) -> Result<u32, Obstacle> {
    if !host.may_act() {
        return Err(Obstacle::NotActive);
    }
    let description = host.description.as_ref().ok_or(Obstacle::Consent)?;
    let allowed = drills.iter().position(|drill| match description.consents_to(drill.fault, &remediation.service) {
        DrillConsent::Allowed => true,
        DrillConsent::Refused => false,
    });
    let drill = allowed.and_then(|index| u32::try_from(index).ok()).ok_or(Obstacle::Consent)?;
    match remediation.mode_in(&host.environment) {
        Mode::Auto => Ok(drill),
        mode @ (Mode::Observe | Mode::Approve) => Err(Obstacle::Mode { mode }),
    }
}
