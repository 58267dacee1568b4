//! The bound on open tokens, for which a history of that many commands would take too long to play.

use super::*;
use crate::core::entry::Stamp;
use crate::core::now::Monotonic;
use crate::core::people::Token;
use fettle_model::counter::LogPosition;
use fettle_model::id::TokenId;
use fettle_model::record::TokenCreated;
use fettle_model::time::UnixMillis;
use std::time::Duration;
use uuid::Uuid;

const NOW: UnixMillis = UnixMillis(1_000_000);

fn token(number: usize, expires_at: UnixMillis, used: Option<Stamp>) -> (TokenId, Token) {
    let token = TokenId::from_uuid(Uuid::from_u128(number as u128));
    let (environment, by) = ("staging".parse().expect("a name"), "alice".parse().expect("a name"));
    let created = TokenCreated { token, environment, host: None, expires_at, by };
    (token, Token { created, stamp: stamp(), used })
}

fn stamp() -> Stamp {
    Stamp { position: LogPosition(1), at: UnixMillis(1) }
}

fn create(state: &State) -> Result<Vec<Body>, PersonRefusal> {
    let (by, now) = ("alice".parse().expect("a name"), Now { wall: NOW, monotonic: Monotonic::default() });
    let request = PersonRequest::CreateToken {
        token: TokenId::from_uuid(Uuid::max()),
        environment: "staging".parse().expect("a name"),
        host: None,
        valid_for: Duration::from_secs(60),
    };
    accept(state, now, &by, &request)
}

#[test]
fn no_more_tokens_are_open_than_the_limit_and_used_and_expired_ones_do_not_count() {
    let mut state = State::default();
    let later = |number: usize| NOW.plus(Duration::from_secs(number as u64 + 5));
    state.people.tokens.extend((0..MAX_OPEN_TOKENS).map(|number| token(number, later(number), None)));
    assert_eq!(create(&state), Err(PersonRefusal::TokensOpen { clears_at: later(0) }));
    for (id, gone) in [token(3, later(3), Some(stamp())), token(3, NOW, None)] {
        state.people.tokens.insert(id, gone);
        assert!(create(&state).is_ok());
    }
}
