//! `fettle stop`, `fettle resume` and `fettle status`: what holds automation back, and who is called.

mod show;

pub(crate) use show::{clears_at, open_reason};

use crate::answer::Answer;
use crate::break_glass::asks;
use crate::connection::{Connection, unexpected};
use crate::context::Context;
use crate::failure::Failure;
use crate::freeze::freezes;
use crate::mute::mutes;
use clap::Args;
use fettle_model::breaker::Scope;
use fettle_proto::operator::{
    BreakGlassRow, BreakGlassStanding, BreakerRow, Command, FreezeRow, FreezeStanding, HostRow, IncidentRow, MuteRow,
    Query, QueryReply,
};
use serde::Serialize;

/// A scope, and why.
#[derive(Debug, Args)]
pub(crate) struct Order {
    /// global, environment:NAME, service:NAME or playbook:NAME.
    scope: Scope,
    /// Why; one line that goes into the log.
    #[arg(long)]
    why: String,
}

/// How things stand.
#[derive(Debug, Serialize)]
struct Standing {
    breakers: Vec<BreakerRow>,
    frozen: Vec<FreezeRow>,
    broken_glass: Vec<BreakGlassRow>,
    incidents: Vec<IncidentRow>,
    muted: Vec<MuteRow>,
    hosts: Vec<HostRow>,
}

/// Stops automation.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn stop(order: Order, context: &Context) -> Result<Answer, Failure> {
    let Order { scope, why } = order;
    let text = format!("automation is stopped: {scope}; `fettle resume {scope} --why …` lets it go on");
    context.connect().await?.carry_out(&Command::Stop { scope, why }, &text).await
}

/// Lets automation go on.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn resume(order: Order, context: &Context) -> Result<Answer, Failure> {
    let Order { scope, why } = order;
    let text = format!("automation goes on: {scope}");
    context.connect().await?.carry_out(&Command::Resume { scope, why }, &text).await
}

/// Shows breakers, stop orders, freezes that hold, broken glass, incidents, mutes and a count of hosts.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn status(context: &Context) -> Result<Answer, Failure> {
    let mut connection = context.connect().await?;
    let QueryReply::Breakers { breakers } = connection.query(&Query::Breakers).await? else {
        return unexpected("breakers");
    };
    let mut frozen = freezes(&mut connection).await?;
    frozen.retain(|row| row.standing != FreezeStanding::Open);
    let mut broken_glass = asks(&mut connection).await?;
    broken_glass.retain(|row| matches!(row.standing, BreakGlassStanding::Open { .. }));
    let incidents = incidents(&mut connection).await?;
    let muted = mutes(&mut connection).await?;
    let QueryReply::Hosts { hosts } = connection.query(&Query::Hosts).await? else { return unexpected("hosts") };
    let text = show::status(&breakers, &frozen, &broken_glass, &incidents, &muted, &hosts, context.now);
    Answer::new(&Standing { breakers, frozen, broken_glass, incidents, muted, hosts }, text)
}

async fn incidents(connection: &mut Connection) -> Result<Vec<IncidentRow>, Failure> {
    let QueryReply::Incidents { incidents } = connection.query(&Query::Incidents).await? else {
        return unexpected("incidents");
    };
    Ok(incidents)
}
