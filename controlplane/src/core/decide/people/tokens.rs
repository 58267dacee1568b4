//! Join tokens: how long one is good, and how many are open. Called for [`super::PersonRequest::CreateToken`].

use super::PersonRefusal;
use crate::core::now::Now;
use crate::core::state::State;
use fettle_model::id::TokenId;
use fettle_model::name::{EnvironmentName, HostName, PersonName};
use fettle_model::record::{Body, TokenCreated};
use std::time::Duration;

/// Longest a join token is valid: an installation that is prepared on a Monday is done by Sunday.
pub const MAX_TOKEN_VALIDITY: Duration = Duration::from_hours(7 * 24);

/// Most join tokens that are open at once: a fleet of 10 000 hosts prepared in one go, and as many again.
pub const MAX_OPEN_TOKENS: usize = 20_000;

pub(super) fn create(
    state: &State,
    now: Now,
    by: &PersonName,
    token: TokenId,
    environment: &EnvironmentName,
    host: Option<&HostName>,
    valid_for: Duration,
) -> Result<Vec<Body>, PersonRefusal> {
    if valid_for.is_zero() || valid_for > MAX_TOKEN_VALIDITY {
        return Err(PersonRefusal::TokenValidity);
    }
    if state.token(token).is_some() {
        return Err(PersonRefusal::TokenKnown(token));
    }
    let open = state.people.open_tokens(now.wall);
    if let Some(clears_at) = open.first_expiry.filter(|_| open.count >= MAX_OPEN_TOKENS) {
        return Err(PersonRefusal::TokensOpen { clears_at });
    }
    let created = TokenCreated {
        token,
        environment: environment.clone(),
        host: host.cloned(),
        expires_at: now.wall.plus(valid_for),
        by: by.clone(),
    };
    Ok(vec![Body::TokenCreated(Box::new(created))])
}
