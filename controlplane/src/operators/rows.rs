//! Answers to questions, from the state. A row says what a person looks at.

use crate::core::{self, Handled, How, KnownProposal, State, views};
use fettle_model::check::{CheckRef, Status};
use fettle_model::counter::TransitionEpoch;
use fettle_model::freeze::Standing;
use fettle_model::host::HostState;
use fettle_model::id::{DrillId, HostId, ProposalId};
use fettle_model::mute::MuteStarted;
use fettle_model::name::HostName;
use fettle_model::permit::Purpose;
use fettle_model::time::UnixMillis;
use fettle_proto::operator::{
    ApprovalRow, BreakerRow, BudgetRow, CheckRow, DrillStageRow, DrillView, DueEnd, FreezeRow, FreezeStanding, HeldBy,
    IncidentRow, LastDue, MAX_ROWS, MuteRow, PlaybookRow, ProposalState, ProposalView, RunRow, RunState, ScheduleRow,
    ServiceRow,
};

/// Most proposals of one answer, the newest: each carries its plan, 100 steps of a line each at most.
const MAX_PROPOSALS: usize = 100;

/// A host's name; its id, should it be unknown.
pub(super) fn host_name(state: &State, host: HostId) -> Option<HostName> {
    state.host(host).map(|known| known.name.clone())
}

/// Every service with its checks on each host that carries it.
pub(super) fn services(state: &State) -> Vec<ServiceRow> {
    let mut room = MAX_ROWS;
    let mut services = Vec::new();
    for service in state.configuration().services() {
        let mut checks = Vec::new();
        for host in state.hosts().filter(|host| host.state != HostState::Revoked) {
            if !(service.hosts.selects(&host.name, &host.environment) && host.carries(&service.name)) {
                continue;
            }
            for declared in &service.checks {
                if room == 0 {
                    break;
                }
                room -= 1;
                let check = CheckRef { service: service.name.clone(), check: declared.name.clone() };
                checks.extend(self::check(state, host.id, &check));
            }
        }
        checks.sort_by(|a, b| (&a.environment, &a.host, &a.check).cmp(&(&b.environment, &b.host, &b.check)));
        services.push(ServiceRow { service: service.name.clone(), checks });
    }
    services
}

/// A configured check on a host.
pub(super) fn check(state: &State, host: HostId, check: &CheckRef) -> Option<CheckRow> {
    let host = state.host(host)?;
    state.configuration().service(&check.service)?.check(&check.check)?;
    let known = host.checks.get(check).map(|known| &known.transition);
    Some(CheckRow {
        host: host.name.clone(),
        environment: host.environment.clone(),
        check: check.check.clone(),
        status: known.map(|transition| -> Status { transition.to }),
        epoch: known.map_or(TransitionEpoch(0), |transition| transition.epoch),
        since: known.map(|transition| transition.at),
        reason: known.map(|transition| transition.reason.clone()).unwrap_or_default(),
    })
}

/// Admitted versions with their evidence.
pub(super) fn playbooks(state: &State) -> Vec<PlaybookRow> {
    let rows = views::playbooks(state, UnixMillis(0)).into_iter().take(MAX_ROWS);
    rows.filter_map(|row| {
        let admitted = state.playbook(&row.playbook.digest)?;
        Some(PlaybookRow {
            digest: row.playbook.digest,
            manifest: admitted.admission.manifest.clone(),
            publisher: row.publisher,
            imports: admitted.admission.imports.clone(),
            admitted: row.admitted.position,
            scenarios: row.scenarios,
            evidence: row.evidence.into_iter().map(|known| known.evidence).collect(),
        })
    })
    .collect()
}

/// The budget that a host holds in advance.
pub(super) fn budget(state: &State, host: HostId) -> Option<BudgetRow> {
    let held = state.in_flight().find(|run| run.permit.host == host && run.permit.is_offline())?;
    let used = held.permit.all_units().filter(|unit| state.permit(unit.permit).is_some()).count();
    Some(BudgetRow {
        check: held.check.clone(),
        units: held.permit.units.get(),
        used: u32::try_from(used).unwrap_or(u32::MAX),
        until: held.granted.at.plus(held.permit.lease),
    })
}

/// A run.
pub(super) fn run(state: &State, row: views::RunRow) -> Option<RunRow> {
    let playbook = match row.purpose {
        Purpose::Remediate { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => Some(row.playbook),
        Purpose::InjectFault { .. } => None,
    };
    let run_state = match row.standing {
        views::RunStanding::InFlight => RunState::InFlight,
        views::RunStanding::Ended { stamp, ending, .. } => RunState::Ended { ending, at: stamp.at },
        views::RunStanding::Rejected { because, .. } => RunState::Rejected { because },
        views::RunStanding::Unresolved { .. } => RunState::Unresolved,
        views::RunStanding::Returned { stamp, used } => RunState::Returned { used, at: stamp.at },
        views::RunStanding::Expired { stamp } => RunState::Expired { at: stamp.at },
    };
    Some(RunRow {
        run: row.run,
        host: host_name(state, row.host)?,
        playbook,
        check: Some(row.check),
        granted_at: row.granted.at,
        state: run_state,
    })
}

/// Breakers that are not closed, and stop orders.
pub(super) fn breakers(state: &State, wall: UnixMillis) -> Vec<BreakerRow> {
    let rows = views::breakers(state, wall).into_iter().take(MAX_ROWS);
    rows.map(|row| BreakerRow {
        scope: row.scope,
        because: row.because,
        opened_at: row.since.at,
        half_open_at: row.half_open_at,
        probe: row.probe,
    })
    .collect()
}

/// Freezes that hold now, and those by calendar that will.
pub(super) fn freezes(state: &State, wall: UnixMillis) -> Vec<FreezeRow> {
    let rows = views::freezes(state, wall).into_iter().take(MAX_ROWS);
    rows.map(|row| FreezeRow {
        scope: row.scope,
        freeze: row.freeze,
        why: row.why,
        standing: match row.standing {
            Standing::Open => FreezeStanding::Open,
            Standing::Frozen { until } => FreezeStanding::Frozen { until },
        },
    })
    .collect()
}

/// Schedules of drills; there are fewer than [`MAX_ROWS`].
pub(super) fn schedules(state: &State, wall: UnixMillis) -> Vec<ScheduleRow> {
    let rows = views::schedules(state, wall).into_iter();
    rows.map(|row| ScheduleRow {
        schedule: row.schedule,
        remediation: row.remediation,
        next: row.next,
        last: row.last.map(|Handled { due, how, .. }| LastDue {
            due,
            end: match how {
                How::Refused { reason } => DueEnd::Refused { reason },
                How::Started(drill) => {
                    let found = self::drill(state, drill);
                    let host = found.as_ref().map(|found| found.host.clone());
                    DueEnd::Drilled { drill, host, result: found.and_then(|found| found.result) }
                }
            },
        }),
    })
    .collect()
}

/// A drill that runs or ended not long ago.
pub(super) fn drill(state: &State, drill: DrillId) -> Option<DrillView> {
    let row = views::drills(state, usize::MAX).into_iter().find(|row| row.drill.drill == drill)?;
    let result = match row.standing {
        views::DrillStanding::Waiting
        | views::DrillStanding::Injecting
        | views::DrillStanding::Critical
        | views::DrillStanding::Healing
        | views::DrillStanding::Repeating => None,
        views::DrillStanding::Ended { result, .. } => Some(result),
    };
    Some(DrillView {
        drill,
        host: host_name(state, row.drill.host)?,
        playbook: row.drill.playbook.name,
        fault: row.drill.fault,
        by: row.drill.by,
        stages: row
            .stages
            .into_iter()
            .map(|(stage, at)| DrillStageRow { stage, position: at.position, at: at.at })
            .collect(),
        result,
    })
}

/// Mutes that are in force.
pub(super) fn mutes(state: &State, wall: UnixMillis) -> Vec<MuteRow> {
    let rows = views::mutes(state, wall).into_iter();
    rows.map(|MuteStarted { mute, scope, until, by, why }| MuteRow { mute, scope, until, by, why }).collect()
}

/// Incidents, newest first.
pub(super) fn incidents(state: &State, wall: UnixMillis) -> Vec<IncidentRow> {
    let rows = views::incidents(state, MAX_ROWS).into_iter();
    rows.map(|row| IncidentRow {
        held: views::held_by(state, &row.incident, wall).map(|mute| HeldBy { mute: mute.mute, until: mute.until }),
        incident: row.incident.incident,
        host: row.incident.host.and_then(|host| host_name(state, host)),
        check: row.incident.check,
        cause: row.incident.cause,
        opened_at: row.opened.at,
    })
    .collect()
}

/// The newest proposals that are known.
pub(super) fn proposals(state: &State) -> Vec<ProposalView> {
    state.proposals().into_iter().take(MAX_PROPOSALS).filter_map(|known| proposal_view(state, known)).collect()
}

pub(super) fn proposal(state: &State, id: ProposalId) -> Option<ProposalView> {
    proposal_view(state, state.proposal(id)?)
}

fn proposal_view(state: &State, known: &KnownProposal) -> Option<ProposalView> {
    let approvals = known.approvals.iter().map(|(person, given)| ApprovalRow {
        person: person.clone(),
        position: given.stamp.position,
        at: given.stamp.at,
    });
    Some(ProposalView {
        proposal: known.proposal.clone(),
        host: host_name(state, known.proposal.host)?,
        position: known.made.position,
        made_at: known.made.at,
        approvals: approvals.collect(),
        state: match &known.state {
            core::ProposalState::Open if known.has_enough() => ProposalState::Approved,
            core::ProposalState::Open => ProposalState::Waiting,
            core::ProposalState::Granted { run } => ProposalState::Granted { run: *run },
            core::ProposalState::Ended { because } => ProposalState::Ended { because: because.clone() },
        },
    })
}
