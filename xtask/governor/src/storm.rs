//! A storm through the leader: one check fails on every host within a second, and every agent asks.
//!
//! The records are signed before the clock starts, as they are on hosts. What is measured is Cedar, the core, the
//! journal and the published log, until the last agent has the answer to its request. No playbook has evidence
//! here, so that every answer is a refusal with all its reasons; a grant is no longer a record.

use crate::fleet;
use crate::site::{Agent, Site};
use anyhow::{Context as _, ensure};
use fettle_audit::signed_record::SignedRecord;
use fettle_controlplane::core::Outcome;
use fettle_controlplane::leader::{Done, Leader};
use fettle_model::check::Status;
use fettle_model::id::HostId;
use fettle_model::record::Body;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The time within which all transitions come.
const STORM: Duration = Duration::from_secs(1);
/// Hosts that are enrolled at once: as many as one batch of the leader takes.
const ENROLLED_AT_ONCE: usize = 256;

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    transitions: u32,
    /// Requests that have an answer.
    answered: u32,
    /// Records that the storm added to the log.
    records: u64,
    /// From the first transition to the last answer.
    seconds: f64,
}

/// What one agent says in the storm, and when.
struct Cry {
    host: HostId,
    after: Duration,
    transition: SignedRecord,
    request: SignedRecord,
}

/// Measures.
pub(crate) async fn measure(transitions: u32, folder: &Path) -> anyhow::Result<Measured> {
    ensure!(transitions > 0, "there must be transitions");
    let site = Arc::new(Site::make(folder).await?);
    site.configure(1).await?;
    let agents = fleet_of(&site, transitions).await?;
    let cries = sign(&site, agents, transitions)?;
    let size = site.leader.inspect(|view| view.size()).await?;
    let began = Instant::now();
    let mut storm = JoinSet::new();
    for cry in cries {
        storm.spawn(cry_out(site.leader.clone(), began, cry));
    }
    let mut answered = 0;
    while let Some(cried) = storm.join_next().await {
        cried.context("an agent failed")??;
        answered += 1;
    }
    let seconds = began.elapsed().as_secs_f64();
    let records = site.leader.inspect(|view| view.size()).await?.0 - size.0;
    Arc::into_inner(site).context("the site is still used")?.close()?;
    Ok(Measured { transitions, answered, records, seconds })
}

/// Enrolled hosts, described and healthy.
async fn fleet_of(site: &Arc<Site>, hosts: u32) -> anyhow::Result<Vec<Agent>> {
    let mut agents = Vec::new();
    let mut enrolling = JoinSet::new();
    for number in 0..hosts {
        if enrolling.len() >= ENROLLED_AT_ONCE {
            agents.push(enrolling.join_next().await.context("one is enrolling")?.context("an agent failed")??);
        }
        enrolling.spawn(healthy(Arc::clone(site), number));
    }
    while let Some(enrolled) = enrolling.join_next().await {
        agents.push(enrolled.context("an agent failed")??);
    }
    Ok(agents)
}

async fn healthy(site: Arc<Site>, number: u32) -> anyhow::Result<Agent> {
    let mut agent = site.enrol(number).await?;
    let description = Body::HostDescribed(Box::new(fleet::description(number, 1)?));
    let passing = fleet::transition(0, 1, Status::Passing, site.clocks.now().wall)?;
    for body in [description, Body::TransitionSeen(Box::new(passing))] {
        let record = agent.record(body, &site.clocks)?;
        let done = site.leader.submit_agent_record(agent.host, record).await?.await?;
        ensure!(done.outcome == Outcome::Done, "a record was not taken: {:?}", done.outcome);
    }
    Ok(agent)
}

fn sign(site: &Site, agents: Vec<Agent>, all: u32) -> anyhow::Result<Vec<Cry>> {
    let mut cries = Vec::new();
    for (number, mut agent) in (0_u32..).zip(agents) {
        let critical = fleet::transition(0, 2, Status::Critical, site.clocks.now().wall)?;
        let request = fleet::request(agent.host, 0, 2, agent.host.as_uuid().as_u128())?;
        cries.push(Cry {
            host: agent.host,
            after: STORM * number / all,
            transition: agent.record(Body::TransitionSeen(Box::new(critical)), &site.clocks)?,
            request: agent.record(Body::PermitRequested(Box::new(request)), &site.clocks)?,
        });
    }
    Ok(cries)
}

async fn cry_out(leader: Leader, began: Instant, cry: Cry) -> anyhow::Result<()> {
    let Cry { host, after, transition, request } = cry;
    tokio::time::sleep_until(began + after).await;
    let taken = leader.submit_agent_record(host, transition).await?;
    let answered = leader.submit_agent_record(host, request).await?;
    let Done { outcome, entries: _ } = taken.await?;
    ensure!(outcome == Outcome::Done, "a transition was not taken: {outcome:?}");
    let Done { outcome, entries } = answered.await?;
    let answer = entries.last().map(|entry| &entry.signed.record().body);
    let answers = matches!(answer, Some(Body::PermitRefused(_) | Body::PermitGranted(_)));
    ensure!(answers && matches!(outcome, Outcome::Answered { .. }), "a request was not answered: {outcome:?}");
    Ok(())
}
