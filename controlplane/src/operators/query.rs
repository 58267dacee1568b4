//! Questions: each is one look at one moment of the log.

use super::problem::not_found;
use super::{broken_glass, rollouts, rows, summary};
use crate::authority::{Authority, Reading};
use crate::core::{Stamp, State, Wondering, coverage, views};
use crate::gateway::switchboard::{Standing, Switchboard};
use crate::gateway::{Shared, gone, internal};
use crate::leader::{ShowError, View};
use fettle_audit::leaf::Leaf;
use fettle_model::actor::actor;
use fettle_model::check::CheckRef;
use fettle_model::counter::LogPosition;
use fettle_model::host::HostState;
use fettle_model::id::{HostId, RunId};
use fettle_model::name::HostName;
use fettle_model::permit::Purpose;
use fettle_model::record::{Body, Record};
use fettle_model::time::UnixMillis;
use fettle_proto::operator::{
    Connection, HostRow, LogRow, MAX_ROWS, Query, QueryReply, RunDetail, WhyCheck, WhyDecision,
};
use std::sync::Arc;
use tonic::Status;

/// Records read at once for a list: their envelopes, which a list does not show, are not all held together.
const LOG_PAGE: usize = 32;

/// Hosts judged in one look, during which nothing else is decided: each takes Cedar and the rules half a millisecond.
const WONDERED_AT_ONCE: usize = 64;

/// What a question reads.
pub(super) const fn reading(query: &Query) -> Reading {
    match query {
        // Whoever may read the log may read the configuration too.
        Query::Log { .. } | Query::Record { .. } | Query::Simulate { .. } => Reading::Log,
        Query::Hosts
        | Query::Services
        | Query::Configuration
        | Query::Playbooks
        | Query::Runs { .. }
        | Query::Run { .. }
        | Query::WhyCheck { .. }
        | Query::WhyNot { .. }
        | Query::Breakers
        | Query::Freezes
        | Query::Mutes
        | Query::Schedules
        | Query::Rollout
        | Query::Promotions
        | Query::Policy
        | Query::Drill { .. }
        | Query::Coverage
        | Query::Incidents
        | Query::BreakGlass
        | Query::Proposals
        | Query::Proposal { .. } => Reading::State,
    }
}

/// Answers a question.
pub(super) async fn query(shared: &Shared, query: Query) -> Result<QueryReply, Status> {
    let (board, policies, now) = (shared.switchboard.clone(), Arc::clone(&shared.policies), shared.clocks.now());
    let wall = now.wall;
    let answer = shared.leader.inspect(move |view| {
        let state = view.core.state();
        Ok(match query {
            Query::Hosts => QueryReply::Hosts { hosts: hosts(state, &board) },
            Query::Services => QueryReply::Services { services: rows::services(state) },
            Query::Configuration => {
                let configuration = state.configuration();
                QueryReply::Configuration {
                    generation: configuration.generation(),
                    declared: Box::new(configuration.declared()),
                }
            }
            Query::Playbooks => QueryReply::Playbooks { playbooks: rows::playbooks(state) },
            Query::Runs { limit } => {
                let runs = views::runs(state, bounded(limit));
                QueryReply::Runs { runs: runs.into_iter().filter_map(|run| rows::run(state, run)).collect() }
            }
            Query::Run { run } => QueryReply::Run { run: Box::new(run_detail(view, run)?) },
            Query::WhyCheck { check, host } => {
                let host = named(state, &host)?;
                QueryReply::Why { why: Box::new(why(view, host, &check, wall)?) }
            }
            Query::Schedules => QueryReply::Schedules { schedules: rows::schedules(state, wall) },
            Query::Rollout => QueryReply::Rollout { rollout: Box::new(rollouts::view(state, &board.held(), now)) },
            Query::Promotions => {
                let promotions = views::promotions(state, wall).into_iter().take(MAX_ROWS).collect();
                QueryReply::Promotions { promotions }
            }
            Query::Freezes => QueryReply::Freezes { freezes: rows::freezes(state, wall) },
            Query::Mutes => QueryReply::Mutes { mutes: rows::mutes(state, wall) },
            Query::WhyNot { playbook, service, after } => {
                let wondering = Wondering {
                    playbook: &playbook,
                    service: &service,
                    after: after.as_ref(),
                    hosts: WONDERED_AT_ONCE,
                    policies: Authority::digest(),
                };
                let foreseen =
                    view.core.foresee(now, &|facts| policies.permit(facts), &wondering).ok_or_else(|| {
                        not_found(format!("no service {service} is configured"), "see: fettle service list")
                    })?;
                QueryReply::WhyNot { hosts: foreseen.rows, more_after: foreseen.more_after }
            }
            Query::Breakers => QueryReply::Breakers { breakers: rows::breakers(state, wall) },
            Query::Log { from, limit } => log(view, from, bounded(limit))?,
            Query::Record { position } => whole(view, position)?,
            Query::Policy => QueryReply::Policy { policy: policy(state)? },
            Query::Drill { drill } => {
                let found = rows::drill(state, drill)
                    .ok_or_else(|| not_found(format!("no drill {drill} is known"), "see: fettle log list"))?;
                QueryReply::Drill { drill: Box::new(found) }
            }
            Query::Coverage => {
                QueryReply::Coverage { coverage: coverage(state, wall).into_iter().take(MAX_ROWS).collect() }
            }
            Query::Proposals => QueryReply::Proposals { proposals: rows::proposals(state) },
            Query::Proposal { proposal } => {
                let found = rows::proposal(state, proposal).ok_or_else(|| {
                    not_found(format!("no proposal {proposal} is known"), "see: fettle proposal list")
                })?;
                QueryReply::Proposal { proposal: Box::new(found) }
            }
            Query::BreakGlass => QueryReply::BreakGlass { asks: broken_glass::asks(view, wall)? },
            Query::Simulate { .. } => return Err(internal(anyhow::anyhow!("a simulation is no look at one moment"))),
            Query::Incidents => QueryReply::Incidents { incidents: rows::incidents(state, wall) },
        })
    });
    answer.await.map_err(gone)?
}

fn bounded(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(MAX_ROWS).min(MAX_ROWS)
}

fn named(state: &State, name: &HostName) -> Result<HostId, Status> {
    let hosts = state.hosts().filter(|host| &host.name == name);
    let found = hosts.min_by_key(|host| host.state == HostState::Revoked).map(|host| host.id);
    found.ok_or_else(|| not_found(format!("no host is named {name}"), "see: fettle host list"))
}

fn hosts(state: &State, board: &Switchboard) -> Vec<HostRow> {
    let rows = views::hosts(state).into_iter().take(MAX_ROWS);
    rows.map(|row| HostRow {
        host: row.host,
        name: row.name,
        environment: row.environment,
        state: row.state,
        connection: match board.standing(row.host) {
            Standing::Connected => Connection::Connected,
            Standing::LastHeard(at) => Connection::LastHeard { at },
            Standing::Never => Connection::NotSinceStart,
        },
        description: state.host(row.host).and_then(|host| host.description.clone()),
        sequence: row.records,
        running: row.run,
    })
    .collect()
}

fn run_detail(view: &View<'_>, run: RunId) -> Result<RunDetail, Status> {
    let state = view.core.state();
    let (row, known) = views::run(state, run)
        .ok_or_else(|| not_found(format!("no run {run} is known"), "older ones are in the exported log"))?;
    let ended_position = match &row.standing {
        views::RunStanding::Ended { stamp, .. } => Some(stamp.position),
        views::RunStanding::InFlight
        | views::RunStanding::Rejected { .. }
        | views::RunStanding::Unresolved { .. }
        | views::RunStanding::Returned { .. }
        | views::RunStanding::Expired { .. } => None,
    };
    let record = match ended_position.map(|position| record(view, position)).transpose()?.map(|record| record.body) {
        Some(Body::RunEnded(ended)) => Some(*ended),
        Some(_) | None => None,
    };
    let (permit, granted_position) = (known.permit.clone(), known.granted.position);
    let row = rows::run(state, row).ok_or_else(|| internal(anyhow::anyhow!("a run's host is not known")))?;
    Ok(RunDetail { row, permit, granted_position, record, ended_position })
}

fn why(view: &View<'_>, host: HostId, check: &CheckRef, wall: UnixMillis) -> Result<WhyCheck, Status> {
    let state = view.core.state();
    let row = rows::check(state, host, check)
        .ok_or_else(|| not_found(format!("no check {check} is configured"), "see: fettle service list"))?;
    let environment = &row.environment;
    let remediation =
        state.configuration().answer_to(check).map(|answer| (answer.name.clone(), answer.mode_in(environment)));
    let known = views::why(state, host, Some(check));
    // A budget given in advance is no decision about a fault; what ran under it is.
    let decided = |run: &views::RunRow| match (&run.purpose, &run.standing) {
        (Purpose::Offline { .. }, views::RunStanding::Ended { .. }) => true,
        (Purpose::Offline { .. }, _) => false,
        (Purpose::Remediate { .. } | Purpose::InjectFault { .. } | Purpose::Repeat { .. }, _) => true,
    };
    let runs = views::runs(state, usize::MAX).into_iter();
    let newest_run = runs.filter(decided).find(|run| run.host == host && &run.check == check);
    let granted = newest_run.and_then(|run| {
        let (permit, position) = (run.permit, run.granted.position);
        rows::run(state, run).map(|run| (position, WhyDecision::Granted { permit, run: Box::new(run), position }))
    });
    let refused = known.refusals.into_iter().next().map(|(stamp, refusal)| {
        (stamp.position, WhyDecision::Refused { refusal, position: stamp.position, at: stamp.at })
    });
    let withheld = known.withheld.map(|(stamp, withheld)| {
        let withheld = Box::new(withheld);
        (stamp.position, WhyDecision::Withheld { withheld, position: stamp.position, at: stamp.at })
    });
    let newest = [granted, refused, withheld].into_iter().flatten().max_by_key(|(position, _)| *position);
    let decision = newest.map(|(_, decision)| decision);
    let plan = match known.plan.map(|(position, _)| record(view, position)).transpose()?.map(|record| record.body) {
        Some(Body::PlanMade(plan)) => Some(*plan),
        Some(_) | None => None,
    };
    let budget = rows::budget(state, host);
    let running = known.in_flight.filter(|_| budget.is_none()).map(|run| run.run);
    let rungs = views::rungs(state, host, check, wall);
    let owner = state.configuration().service(&check.service).map(|service| &service.owner);
    let broken_glass = broken_glass::open_for(view, owner, wall)?;
    Ok(WhyCheck { check: row, remediation, rungs, decision, plan, running, budget, broken_glass })
}

fn record(view: &View<'_>, position: LogPosition) -> Result<Record, Status> {
    let row = view.rows(position, 1).map_err(internal)?.pop();
    let row = row.ok_or_else(|| internal(anyhow::anyhow!("the log has no record {position}")))?;
    parsed(row.envelope).map(|(record, _)| record)
}

/// A record of our own journal: its signature was verified before it was appended.
fn parsed(envelope: Vec<u8>) -> Result<(Record, fettle_model::digest::EnvelopeDigest), Status> {
    let envelope = fettle_audit::envelope::Envelope::parse(envelope).map_err(internal)?;
    let record = serde_json::from_slice(envelope.unverified_payload()).map_err(internal)?;
    Ok((record, envelope.digest()))
}

fn log(view: &View<'_>, from: Option<LogPosition>, limit: usize) -> Result<QueryReply, Status> {
    let size = view.size().0;
    let limit_as_size = u64::try_from(limit).unwrap_or(u64::MAX);
    let mut from = from.map_or_else(|| size.saturating_sub(limit_as_size), |from| from.0);
    let until = size.min(from.saturating_add(limit_as_size));
    let mut records = Vec::new();
    while from < until {
        let page = usize::try_from(until - from).unwrap_or(LOG_PAGE).min(LOG_PAGE);
        let rows = view.rows(LogPosition(from), page).map_err(internal)?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            records.push(log_row(view.core.state(), LogPosition(from), &row.leaf, row.envelope)?);
            from += 1;
        }
    }
    Ok(QueryReply::Log { size, records })
}

fn log_row(state: &State, position: LogPosition, leaf: &[u8], envelope: Vec<u8>) -> Result<LogRow, Status> {
    let (record, digest) = parsed(envelope)?;
    let at = Leaf::decode(leaf).map_err(internal)?.received_at;
    let broken_glass = actor(&record).and_then(|person| state.glass_at(person, Stamp { position, at }));
    Ok(LogRow {
        position,
        kind: record.body.kind(),
        at: record.at,
        author: summary::author(state, &record.author),
        summary: summary::of(state, &record.body),
        digest,
        broken_glass,
    })
}

fn whole(view: &View<'_>, position: LogPosition) -> Result<QueryReply, Status> {
    let size = view.size().0;
    let published = view.published(position).map_err(|error| match error {
        ShowError::NoRecord(_) => not_found(
            format!("there is no record at position {position}: the log has {size} records"),
            "see: fettle log list",
        ),
        ShowError::Journal(_) | ShowError::Log(_) => internal(error),
    })?;
    let row = log_row(view.core.state(), position, &published.leaf, published.envelope.clone())?;
    let published = serde_json::to_string(&published).map_err(internal)?;
    Ok(QueryReply::Record { row, published })
}

/// The keys that an auditor pins. No witness signs yet, and the policy says so.
fn policy(state: &State) -> Result<String, Status> {
    let opened = state.log().ok_or_else(|| internal(anyhow::anyhow!("the log is not open")))?;
    Ok(format!(
        "# The log of {}. Keep this file apart from the log.\nlog {}\npermit-key {}\nquorum none\n",
        opened.trust_domain, opened.log_key, opened.permit_key
    ))
}
