//! The end of broken glass by hand, and of an ask that waits. Called for [`super::PersonRequest::CloseBreakGlass`].

use super::{PersonRefusal, sound};
use crate::core::break_glass::GlassStanding;
use crate::core::now::Now;
use crate::core::state::State;
use fettle_model::break_glass::BreakGlassClosed;
use fettle_model::id::BreakGlassId;
use fettle_model::name::PersonName;
use fettle_model::record::Body;

/// The body to append; none when it has ended already.
pub(super) fn close(
    state: &State,
    now: Now,
    by: &PersonName,
    ask: BreakGlassId,
    why: &str,
) -> Result<Vec<Body>, PersonRefusal> {
    let why = sound(why)?;
    let known = state.glass(ask).ok_or(PersonRefusal::UnknownAsk(ask))?;
    match state.glass_standing(known, now.wall) {
        GlassStanding::Waiting | GlassStanding::Open { .. } => {
            Ok(vec![Body::BreakGlassClosed(Box::new(BreakGlassClosed { ask, by: by.clone(), why }))])
        }
        GlassStanding::Expired | GlassStanding::Over | GlassStanding::Closed => Ok(Vec::new()),
    }
}
