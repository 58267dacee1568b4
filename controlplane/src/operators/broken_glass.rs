//! Broken glass: the list of asks, and what whoever holds a role by it is told with every answer.
//!
//! Called by the API for each call. Decides nothing.

use crate::core::{GlassStanding, KnownGlass, State};
use crate::gateway::internal;
use crate::leader::View;
use fettle_model::name::{PersonName, TeamName};
use fettle_model::time::UnixMillis;
use fettle_proto::operator::{BREAK_GLASS_HEADER, BreakGlassNotice, BreakGlassRow, BreakGlassStanding};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Response, Status};

/// Asks in one answer: a screen, and what led to it.
const MAX_ASKS: usize = 100;

/// The newest asks.
pub(super) fn asks(view: &View<'_>, wall: UnixMillis) -> Result<Vec<BreakGlassRow>, Status> {
    view.core.state().glasses().take(MAX_ASKS).map(|known| row(view, known, wall)).collect()
}

/// What is open at this time, where a service is owned by this team.
pub(super) fn open_for(
    view: &View<'_>,
    owner: Option<&TeamName>,
    wall: UnixMillis,
) -> Result<Vec<BreakGlassRow>, Status> {
    let state = view.core.state();
    let concerns = |known: &&KnownGlass| known.asked.team.is_none() || known.asked.team.as_ref() == owner;
    let open = |known: &&KnownGlass| matches!(state.glass_standing(known, wall), GlassStanding::Open { .. });
    state.glasses().filter(concerns).filter(open).take(MAX_ASKS).map(|known| row(view, known, wall)).collect()
}

fn row(view: &View<'_>, known: &KnownGlass, wall: UnixMillis) -> Result<BreakGlassRow, Status> {
    let standing = match view.core.state().glass_standing(known, wall) {
        GlassStanding::Waiting => BreakGlassStanding::Waiting { expires_at: known.asked.expires_at },
        GlassStanding::Expired => BreakGlassStanding::Expired,
        GlassStanding::Open { until } => BreakGlassStanding::Open { until },
        GlassStanding::Over => BreakGlassStanding::Over,
        GlassStanding::Closed => BreakGlassStanding::Closed,
    };
    let record = match standing {
        BreakGlassStanding::Waiting { .. } => {
            let found = view.rows(known.stamp.position, 1).map_err(internal)?.pop();
            found.map(|found| String::from_utf8(found.envelope).map_err(internal)).transpose()?
        }
        BreakGlassStanding::Expired
        | BreakGlassStanding::Open { .. }
        | BreakGlassStanding::Over
        | BreakGlassStanding::Closed => None,
    };
    Ok(BreakGlassRow {
        ask: known.asked.ask,
        person: known.by.clone(),
        role: known.asked.held(),
        why: known.asked.why.clone(),
        position: known.stamp.position,
        asked_at: known.stamp.at,
        confirmed_by: known.opened.as_ref().map(|opened| opened.by.clone()),
        standing,
        record,
    })
}

/// What a person is told, where glass is broken for them.
pub(super) fn notice(state: &State, person: &PersonName, wall: UnixMillis) -> Option<BreakGlassNotice> {
    let (known, until) = state.broken_glass(person, wall)?;
    let confirmed_by = known.opened.as_ref()?.by.clone();
    Some(BreakGlassNotice { ask: known.asked.ask, role: known.asked.held(), until, confirmed_by })
}

/// Tells it with an answer, whatever the answer is.
pub(super) fn tell<T>(
    notice: Option<&BreakGlassNotice>,
    answer: Result<Response<T>, Status>,
) -> Result<Response<T>, Status> {
    let Some(notice) = notice else { return answer };
    // Names, an id and a number: its JSON is visible ASCII.
    let json = serde_json::to_string(notice).map_err(internal)?;
    let value: MetadataValue<_> = json.parse().map_err(internal)?;
    let put = |headers: &mut MetadataMap| drop(headers.insert(BREAK_GLASS_HEADER, value));
    match answer {
        Ok(mut response) => {
            put(response.metadata_mut());
            Ok(response)
        }
        Err(mut status) => {
            put(status.metadata_mut());
            Err(status)
        }
    }
}
