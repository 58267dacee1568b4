//! What an ID token proves, and whether it proves what is wanted.
//!
//! Called by the control plane for every login. Reads no clock and fetches nothing: keys and instant are
//! arguments. Only signatures with a provider's private key count; what a public client could have made itself
//! (`none`, HMAC) is refused by the verifier.

use chrono::{DateTime, Utc};
use fettle_model::digest::DocumentDigest;
use fettle_model::login::{InvalidSubject, Issuer, OidcIdentity};
use fettle_model::time::UnixMillis;
use openidconnect::core::{
    CoreIdToken, CoreIdTokenClaims, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm,
};
use openidconnect::{ClaimsVerificationError, ClientId, IssuerUrl, Nonce, SignatureVerificationError};
use std::time::Duration;

/// Largest ID token that is looked at: ours have 1 KiB, some providers add groups and a picture's address.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Longest `acr` that is kept: the known ones are URNs of 60 characters.
const MAX_CONTEXT_BYTES: usize = 256;
/// The signature algorithms that are accepted: each needs the provider's private key.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 5] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// What a token must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Who issued it.
    pub issuer: Issuer,
    /// For which client.
    pub client_id: String,
    /// How the person was authenticated: one of these; anyhow, where there is none.
    pub contexts: Vec<String>,
    /// How long ago the person was authenticated at most; `None`: it does not matter.
    pub max_authentication_age: Option<Duration>,
}

/// What a token proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Whose it is.
    pub identity: OidcIdentity,
    /// SHA-256 of what the provider signed, so that nobody can make a second name for the same token.
    pub token: DocumentDigest,
    /// When it was issued.
    pub issued_at: UnixMillis,
    /// When the person was authenticated, where it says so.
    pub authenticated_at: Option<UnixMillis>,
    /// How, where it says so.
    pub context: Option<String>,
}

/// A token does not prove what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// More bytes than are looked at.
    #[error("the ID token has {bytes} bytes, more than {MAX_TOKEN_BYTES}")]
    TooLong {
        /// How many.
        bytes: usize,
    },
    /// It is no ID token.
    #[error("the ID token is malformed")]
    Malformed,
    /// None of the known keys signed it. There may be new ones.
    #[error("the ID token is signed by a key that the provider did not publish")]
    UnknownKey,
    /// It is not signed, in a way that proves nothing, or the signature is wrong.
    #[error("the ID token's signature is not the provider's")]
    Signature,
    /// Another provider issued it.
    #[error("the ID token was issued by another provider than {wanted}")]
    Issuer {
        /// The provider that counts.
        wanted: Issuer,
    },
    /// It is for another client, or for others too.
    #[error("the ID token is not for the client {wanted:?} alone")]
    Audience {
        /// The client that counts.
        wanted: String,
    },
    /// It is bound to another key, or to none.
    #[error("the ID token is not bound to the key of this certificate request")]
    OtherKey,
    /// It has expired.
    #[error("the ID token has expired")]
    Expired,
    /// The person was not authenticated as is wanted.
    #[error("the provider did not authenticate by any of: {}", wanted.join(", "))]
    Context {
        /// What is wanted.
        wanted: Vec<String>,
    },
    /// The person was authenticated too long ago, or the token does not say when.
    #[error("the provider authenticated more than {max_age:?} ago, or does not say when")]
    AuthenticationAge {
        /// How long it may be.
        max_age: Duration,
    },
    /// The subject is none.
    #[error("the ID token's subject cannot be used")]
    Subject(#[source] InvalidSubject),
    /// Another part of it is wrong.
    #[error("the ID token is not acceptable: {what}")]
    Other {
        /// Which.
        what: String,
    },
}

/// Verifies a token.
///
/// # Errors
/// [`TokenRefused`]; after [`TokenRefused::UnknownKey`] it may be worth looking for new keys.
pub fn verify(
    token: &str,
    keys: &CoreJsonWebKeySet,
    expected: &Expected,
    nonce: &Nonce,
    now: UnixMillis,
) -> Result<Proven, TokenRefused> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenRefused::TooLong { bytes: token.len() });
    }
    let parsed: CoreIdToken = token.parse().map_err(|_| TokenRefused::Malformed)?;
    // The signature covers everything before the last dot, so that has one spelling only.
    let (signed, _signature) = token.rsplit_once('.').ok_or(TokenRefused::Malformed)?;
    let issuer = IssuerUrl::new(expected.issuer.to_string())
        .map_err(|_| TokenRefused::Issuer { wanted: expected.issuer.clone() })?;
    let instant = calendar(now).ok_or_else(|| TokenRefused::Other { what: "the clock here is off".to_owned() })?;
    let client = ClientId::new(expected.client_id.clone());
    let verifier = CoreIdTokenVerifier::new_public_client(client, issuer, keys.clone())
        .set_allowed_algs(ALGORITHMS)
        .set_time_fn(move || instant);
    let claims = parsed.claims(&verifier, nonce).map_err(|error| refused(error, expected))?;
    let context = check_context(claims, &expected.contexts)?;
    let authenticated_at = check_age(claims, expected.max_authentication_age, now)?;
    let issued_at = millis(claims.issue_time()).ok_or(TokenRefused::Malformed)?;
    let subject = claims.subject().as_str().parse().map_err(TokenRefused::Subject)?;
    let identity = OidcIdentity { issuer: expected.issuer.clone(), subject };
    let token = DocumentDigest::of(signed.as_bytes());
    Ok(Proven { identity, token, issued_at, authenticated_at, context })
}

fn check_context(claims: &CoreIdTokenClaims, wanted: &[String]) -> Result<Option<String>, TokenRefused> {
    let context = claims.auth_context_ref().map(|context| context.as_str());
    if !wanted.is_empty() && !wanted.iter().any(|wanted| context == Some(wanted)) {
        return Err(TokenRefused::Context { wanted: wanted.to_vec() });
    }
    Ok(context.filter(|context| context.len() <= MAX_CONTEXT_BYTES).map(ToOwned::to_owned))
}

fn check_age(
    claims: &CoreIdTokenClaims,
    max_age: Option<Duration>,
    now: UnixMillis,
) -> Result<Option<UnixMillis>, TokenRefused> {
    let at = claims.auth_time().and_then(millis);
    match (max_age, at) {
        (None, at) => Ok(at),
        (Some(max_age), Some(at)) if now.since(at) <= max_age => Ok(Some(at)),
        (Some(max_age), Some(_) | None) => Err(TokenRefused::AuthenticationAge { max_age }),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enums may grow; what is new is a refusal too")]
fn refused(error: ClaimsVerificationError, expected: &Expected) -> TokenRefused {
    /// Most that is told of the library's own words.
    const MAX_SAID: usize = 200;
    match error {
        ClaimsVerificationError::Expired(_) => TokenRefused::Expired,
        ClaimsVerificationError::InvalidAudience(_) => TokenRefused::Audience { wanted: expected.client_id.clone() },
        ClaimsVerificationError::InvalidIssuer(_) => TokenRefused::Issuer { wanted: expected.issuer.clone() },
        ClaimsVerificationError::InvalidNonce(_) => TokenRefused::OtherKey,
        ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey) => {
            TokenRefused::UnknownKey
        }
        ClaimsVerificationError::SignatureVerification(_) => TokenRefused::Signature,
        other => TokenRefused::Other { what: other.to_string().chars().take(MAX_SAID).collect() },
    }
}

fn calendar(at: UnixMillis) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(i64::try_from(at.0).ok()?)
}

fn millis(at: DateTime<Utc>) -> Option<UnixMillis> {
    u64::try_from(at.timestamp_millis()).ok().map(UnixMillis)
}

#[cfg(test)]
mod tests;
