//! Hosts with their checks, and services with their groups.

use crate::core::entry::Stamp;
use crate::core::groups::Group;
use crate::core::hosts::Host;
use crate::core::state::State;
use fettle_model::check::{CheckRef, Status};
use fettle_model::counter::{AgentSequence, CertificateGeneration, TransitionEpoch};
use fettle_model::guard::Guard;
use fettle_model::host::{DrillConsent, HostState, Isolation, OperatingSystem};
use fettle_model::id::{DrillId, HostId, RunId};
use fettle_model::name::{EnvironmentName, HostName, RemediationName, ServiceName, TeamName};
use fettle_model::remediation::{Mode, PlaybookVersion};
use fettle_model::service::Tier;
use fettle_model::time::UnixMillis;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostRow {
    /// Its identity.
    pub host: HostId,
    /// Its name.
    pub name: HostName,
    /// Its environment, as enrolled.
    pub environment: EnvironmentName,
    /// Where it stands.
    pub state: HostState,
    /// When it was enrolled.
    pub enrolled: Stamp,
    /// Its newest certificate.
    pub certificate: CertificateGeneration,
    /// Its agent's version; `None` before the first description.
    pub agent_version: Option<String>,
    /// Its operating system.
    pub os: Option<OperatingSystem>,
    /// The services that it carries.
    pub services: Vec<ServiceName>,
    /// Whether its owner allows drills.
    pub drills: Option<DrillConsent>,
    /// How much its agent's processes are separated.
    pub isolation: Option<Isolation>,
    /// Its checks.
    pub checks: Vec<CheckRow>,
    /// The run whose effects may be in progress.
    pub run: Option<RunId>,
    /// The drill that runs there.
    pub drill: Option<DrillId>,
    /// Number of its records.
    pub records: AgentSequence,
    /// Its last record.
    pub last_record: Option<Stamp>,
    /// When its agent reported two contradicting logs.
    pub fork_seen: Option<Stamp>,
}

/// The newest status of one check on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckRow {
    /// The check.
    pub check: CheckRef,
    /// Its status.
    pub status: Status,
    /// The transition's epoch.
    pub epoch: TransitionEpoch,
    /// When the agent saw it, on its clock.
    pub since: UnixMillis,
    /// The probe's line.
    pub reason: String,
    /// The transition's record.
    pub seen: Stamp,
    /// Runs for the present problem.
    pub attempts: u32,
}

/// All hosts, by name.
#[must_use]
pub fn hosts(state: &State) -> Vec<HostRow> {
    let mut rows: Vec<HostRow> = state.hosts().map(|host| host_row(state, host)).collect();
    rows.sort_by(|a, b| (&a.environment, &a.name, a.host).cmp(&(&b.environment, &b.name, b.host)));
    rows
}

fn host_row(state: &State, host: &Host) -> HostRow {
    let description = host.description.as_ref();
    HostRow {
        host: host.id,
        name: host.name.clone(),
        environment: host.environment.clone(),
        state: host.state,
        enrolled: host.enrolled,
        certificate: host.certificates.newest,
        agent_version: description.map(|description| description.agent_version.clone()),
        os: description.map(|description| description.os.clone()),
        services: description
            .map(|description| description.services.iter().map(|carried| carried.name.clone()).collect())
            .unwrap_or_default(),
        drills: description.map(|description| description.drills),
        isolation: description.map(|description| description.isolation.clone()),
        checks: check_rows(state, host),
        run: state.runs.on_host(host.id).map(|run| run.permit.run),
        drill: state.drills.on_host(host.id).map(|running| running.drill.drill),
        records: host.head.sequence,
        last_record: host.last_record,
        fork_seen: host.fork_seen,
    }
}

fn check_rows(state: &State, host: &Host) -> Vec<CheckRow> {
    host.checks
        .iter()
        .map(|known| CheckRow {
            check: known.transition.of.clone(),
            status: known.transition.to,
            epoch: known.transition.epoch,
            since: known.transition.at,
            reason: known.transition.reason.clone(),
            seen: known.seen,
            attempts: state.attempts(host.id, &known.transition.of).count,
        })
        .collect()
}

/// One service in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceRow {
    /// The service.
    pub service: ServiceName,
    /// Who owns it.
    pub owner: TeamName,
    /// How much it matters.
    pub tier: Tier,
    /// The environment; `None` where no host carries it.
    pub environment: Option<EnvironmentName>,
    /// The hosts of the group.
    pub hosts: Vec<HostId>,
    /// How many of them are healthy and hold no permit.
    pub healthy: u32,
    /// Permits whose effects may be in progress.
    pub in_flight: u32,
    /// How many checks of the service, over the group, have each status; those that never reported
    /// count as unknown.
    pub checks: BTreeMap<Status, u32>,
    /// What answers its checks.
    pub remediations: Vec<RemediationRow>,
}

/// One remediation in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RemediationRow {
    /// Its name.
    pub remediation: RemediationName,
    /// The check that it answers.
    pub check: CheckRef,
    /// The version.
    pub playbook: PlaybookVersion,
    /// How far it is trusted there.
    pub mode: Mode,
    /// Its limits.
    pub guard: Guard,
}

/// All services, one row per environment in which a host carries them.
#[must_use]
pub fn services(state: &State) -> Vec<ServiceRow> {
    let environments: BTreeSet<&EnvironmentName> = state.hosts().map(|host| &host.environment).collect();
    let mut rows = Vec::new();
    for service in state.configuration().services() {
        let before = rows.len();
        for environment in &environments {
            let group = Group::of(state, service, environment);
            if group.size() > 0 {
                rows.push(service_row(state, service, Some(environment), Some(&group)));
            }
        }
        if rows.len() == before {
            rows.push(service_row(state, service, None, None));
        }
    }
    rows
}

fn service_row(
    state: &State,
    service: &fettle_model::service::Service,
    environment: Option<&EnvironmentName>,
    group: Option<&Group<'_>>,
) -> ServiceRow {
    let members: Vec<_> = group.map(|group| group.members().collect()).unwrap_or_default();
    let mut checks = BTreeMap::new();
    for host in &members {
        for check in &service.checks {
            let status =
                host.checks.of(&service.name, &check.name).map_or(Status::Unknown, |known| known.transition.to);
            *checks.entry(status).or_insert(0) += 1;
        }
    }
    let answers = state.configuration().remediations().iter().filter(|answer| answer.service == service.name);
    let remediations = answers.map(|answer| RemediationRow {
        remediation: answer.name.clone(),
        check: CheckRef { service: answer.service.clone(), check: answer.check.clone() },
        playbook: answer.playbook.clone(),
        mode: environment.map_or(Mode::Observe, |environment| answer.mode_in(environment)),
        guard: answer.guard.clone(),
    });
    ServiceRow {
        service: service.name.clone(),
        owner: service.owner.clone(),
        tier: service.tier,
        environment: environment.cloned(),
        hosts: members.iter().map(|host| host.id).collect(),
        healthy: group.map_or(0, Group::healthy),
        in_flight: group.map_or(0, Group::in_flight),
        checks,
        remediations: remediations.collect(),
    }
}
