//! Join tokens: the single-use secret that lets one agent enrol.
//!
//! The operator gets the token's text once, for the install command. The agent never sends it: it
//! proves it with a MAC under a key derived from it ([`TokenVerifier`]), and the server keeps only
//! that key. What is stolen with the server's database is therefore not the token's text, but it is
//! as good as the token while the token is unused and not expired: whoever has the verifier can
//! enrol one host in its place, which is logged. So the server deletes a verifier [`REPEAT_WINDOW`]
//! after the token was used, and when it expires.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fettle_model::digest::DocumentDigest;
use fettle_model::id::TokenId;
use fettle_model::time::UnixMillis;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use zeroize::{Zeroize as _, Zeroizing};

/// How long after its use a token answers the same request again, for an agent that lost the answer.
pub const REPEAT_WINDOW: Duration = Duration::from_secs(5 * 60);

const PREFIX: &str = "fettle-join-";
const VERIFIER_CONTEXT: &[u8] = b"fettle enrol verifier v1";
/// A hyphenated UUID.
const ID_CHARS: usize = 36;
/// 32 bytes in base64 without padding.
const SECRET_CHARS: usize = 43;

/// A join token as a person gets it: `fettle-join-<uuid>-<secret>`.
#[derive(Clone)]
pub struct JoinToken {
    id: TokenId,
    secret: Zeroizing<[u8; 32]>,
}

/// The text is not a join token. It is not repeated here: it may be one with a typing error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a join token must be 'fettle-join-', a UUID, '-' and 43 characters of base64url")]
pub struct InvalidToken;

impl JoinToken {
    /// Makes a token of 32 random bytes.
    #[must_use]
    pub fn from_random(id: TokenId, mut secret: [u8; 32]) -> Self {
        let token = Self { id, secret: Zeroizing::new(secret) };
        secret.zeroize();
        token
    }

    /// The token's public name.
    #[must_use]
    pub const fn id(&self) -> TokenId {
        self.id
    }

    /// The text with the secret, for the person who asked for the token and nobody else.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + ID_CHARS + 1 + SECRET_CHARS));
        text.push_str(PREFIX);
        text.push_str(&self.id.to_string());
        text.push('-');
        URL_SAFE_NO_PAD.encode_string(self.secret.as_slice(), &mut text);
        text
    }

    /// What the server keeps of the token.
    #[must_use]
    pub fn verifier(&self) -> TokenVerifier {
        TokenVerifier(Zeroizing::new(hmac_sha256(self.secret.as_slice(), VERIFIER_CONTEXT)))
    }
}

impl FromStr for JoinToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let rest = text.strip_prefix(PREFIX).ok_or(InvalidToken)?;
        let (id, rest) = rest.split_at_checked(ID_CHARS).ok_or(InvalidToken)?;
        let encoded = rest.strip_prefix('-').filter(|rest| rest.len() == SECRET_CHARS).ok_or(InvalidToken)?;
        let mut secret = Zeroizing::new([0_u8; 32]);
        let length = URL_SAFE_NO_PAD.decode_slice(encoded, secret.as_mut_slice()).map_err(|_| InvalidToken)?;
        if length == secret.len() {
            Ok(Self { id: id.parse().map_err(|_| InvalidToken)?, secret })
        } else {
            Err(InvalidToken)
        }
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("id", &self.id).field("secret", &"hidden").finish()
    }
}

/// The key that both sides derive from a token: `HMAC-SHA-256(secret, "fettle enrol verifier v1")`.
#[derive(Clone)]
pub struct TokenVerifier(Zeroizing<[u8; 32]>);

impl TokenVerifier {
    /// Reads back what the server stored.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// What the server stores: a secret until the token is used up.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The MAC of a message.
    pub(crate) fn mac(&self, message: &[u8]) -> [u8; 32] {
        hmac_sha256(self.0.as_slice(), message)
    }

    /// Checks a MAC in constant time.
    pub(crate) fn holds(&self, message: &[u8], mac: &[u8; 32]) -> bool {
        keyed(self.0.as_slice()).is_some_and(|mut state| {
            state.update(message);
            state.verify_slice(mac).is_ok()
        })
    }
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenVerifier(hidden)")
    }
}

/// How a token was used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenUse {
    /// When.
    pub at: UnixMillis,
    /// [`crate::enrol::EnrolRequest::digest`] of the request that used it.
    pub request: DocumentDigest,
}

/// What a valid request for a token gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redemption {
    /// A new identity; the token is used up from now on.
    First,
    /// The certificate that the first request got: its answer was lost.
    Again,
}

/// A token does not enrol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// It was never used and has expired.
    #[error("the join token has expired")]
    Expired,
    /// Another request used it up: two parties have the token. People must be told.
    #[error("the join token was used by another host")]
    UsedByAnother {
        /// When.
        at: UnixMillis,
    },
    /// The same request used it up, too long ago to be answered again.
    #[error("the join token was used up")]
    UsedUp {
        /// When.
        at: UnixMillis,
    },
}

/// Decides whether a token enrols the sender of a request whose MAC was checked.
///
/// # Errors
/// [`TokenRefused`].
pub fn redeem(
    expires_at: UnixMillis,
    used: Option<&TokenUse>,
    now: UnixMillis,
    request: DocumentDigest,
) -> Result<Redemption, TokenRefused> {
    match used {
        None if now < expires_at => Ok(Redemption::First),
        None => Err(TokenRefused::Expired),
        Some(used) if used.request != request => Err(TokenRefused::UsedByAnother { at: used.at }),
        Some(used) if now.since(used.at) <= REPEAT_WINDOW => Ok(Redemption::Again),
        Some(used) => Err(TokenRefused::UsedUp { at: used.at }),
    }
}

fn keyed(key: &[u8]) -> Option<Hmac<Sha256>> {
    // HMAC takes keys of every length; the error is that of a trait for ciphers too.
    Hmac::new_from_slice(key).ok()
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut state = keyed(key).expect("HMAC takes keys of every length");
    state.update(message);
    state.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(secret: [u8; 32]) -> JoinToken {
        JoinToken::from_random(TokenId::from_uuid(uuid::Uuid::from_u128(7)), secret)
    }

    proptest! {
        #[test]
        fn a_token_is_read_back_from_its_text(id: u128, secret: [u8; 32]) {
            let token = JoinToken::from_random(TokenId::from_uuid(uuid::Uuid::from_u128(id)), secret);
            let again: JoinToken = token.expose().parse().expect("its own text");
            prop_assert_eq!(again.id(), token.id());
            prop_assert_eq!(*again.secret, secret);
        }
    }

    #[track_caller]
    fn refused(text: &str) {
        assert_eq!(text.parse::<JoinToken>().err(), Some(InvalidToken), "{text:?}");
    }

    #[test]
    fn a_token_has_one_spelling() {
        let text = token([0xff; 32]).expose().to_string();
        assert_eq!(text.len(), 12 + 36 + 1 + 43);
        refused("");
        refused("fettle-join-");
        refused(&text[..text.len() - 1]);
        refused(&format!("{text}A"));
        refused(&format!("{text}="));
        refused(&format!("{text}\n"));
        refused(&text.to_uppercase());
        refused(&text.replacen("00000007-", "00000007_", 1));
        refused(&text.replacen("fettle-join-0", "fettle-join-é", 1));
        // The last character carries two bits that mean nothing and must be zero.
        refused(&format!("{}9", &text[..text.len() - 1]));
    }

    #[test]
    fn neither_the_secret_nor_the_verifier_is_printed() {
        let token = token([0xab; 32]);
        let secret = URL_SAFE_NO_PAD.encode([0xab; 32]);
        for shown in [format!("{token:?}"), format!("{:?}", token.verifier())] {
            assert!(shown.contains("hidden"), "{shown}");
            assert!(!shown.contains(&secret) && !shown.contains("171") && !shown.contains("ab, ab"), "{shown}");
        }
    }

    #[test]
    fn the_verifier_is_the_hmac_of_its_context_under_the_secret() {
        // Computed with `printf 'fettle enrol verifier v1' | openssl dgst -sha256 -mac HMAC -macopt hexkey:00..1f`.
        let secret: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).expect("below 32"));
        let hex: String = token(secret).verifier().as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "f7e17d3fa67ce067362dbb305e2529082b9b5d1b07e78906b3122f4f3f8a0a7b");
    }

    #[track_caller]
    fn check(used_at: Option<u64>, same: Same, now: u64, expected: &Result<Redemption, TokenRefused>) {
        let request = DocumentDigest::of(b"request");
        let earlier = match same {
            Same::Request => request,
            Same::Nothing => DocumentDigest::of(b"other"),
        };
        let used = used_at.map(|at| TokenUse { at: UnixMillis(at), request: earlier });
        assert_eq!(redeem(UnixMillis(600_000), used.as_ref(), UnixMillis(now), request), *expected);
    }

    #[derive(Clone, Copy)]
    enum Same {
        Request,
        Nothing,
    }

    #[test]
    fn a_token_enrols_once_and_repeats_its_answer_for_five_minutes() {
        let at = UnixMillis(599_000);
        check(None, Same::Request, 599_999, &Ok(Redemption::First));
        check(None, Same::Request, 600_000, &Err(TokenRefused::Expired));
        check(Some(599_000), Same::Request, 599_000, &Ok(Redemption::Again));
        check(Some(599_000), Same::Request, 899_000, &Ok(Redemption::Again));
        check(Some(599_000), Same::Request, 899_001, &Err(TokenRefused::UsedUp { at }));
        check(Some(599_000), Same::Nothing, 599_000, &Err(TokenRefused::UsedByAnother { at }));
        check(Some(599_000), Same::Nothing, 999_000, &Err(TokenRefused::UsedByAnother { at }));
    }
}
