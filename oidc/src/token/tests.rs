//! What a token must say to be believed, each point wrong on its own.

use super::*;
use crate::binding::nonce;
use openidconnect::core::{CoreEdDsaPrivateSigningKey, CoreJsonWebKey};
use openidconnect::{
    Audience, AuthenticationContextClass, EmptyAdditionalClaims, JsonWebKeyId, PrivateSigningKey as _, StandardClaims,
    SubjectIdentifier,
};

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIOUACvk+5fGTlUGy46GOgTwBa65IO2tbuBjTP0x92frY\n-----END PRIVATE KEY-----\n";
const OTHER_KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIExtLoRMaM+4iX2RhzbibKxAHF36F849ioiJKkqpnzt9\n-----END PRIVATE KEY-----\n";
const NOW: UnixMillis = UnixMillis(1_795_000_000_000);
const ISSUER: &str = "https://login.example.org";
const PUBLIC_KEY: &[u8] = b"the key that is to be certified";

/// What a token says. The default is acceptable.
struct Said {
    key: &'static str,
    key_id: &'static str,
    issuer: &'static str,
    audience: Vec<&'static str>,
    expires: i64,
    bound_to: &'static [u8],
    context: Option<&'static str>,
    authenticated: Option<i64>,
}

impl Default for Said {
    fn default() -> Self {
        Self {
            key: KEY,
            key_id: "first",
            issuer: ISSUER,
            audience: vec!["fettle"],
            expires: 60,
            bound_to: PUBLIC_KEY,
            context: None,
            authenticated: None,
        }
    }
}

fn after(seconds: i64) -> DateTime<Utc> {
    calendar(NOW).expect("an instant") + chrono::TimeDelta::seconds(seconds)
}

fn signing_key(pem: &str, id: &str) -> CoreEdDsaPrivateSigningKey {
    CoreEdDsaPrivateSigningKey::from_ed25519_pem(pem, Some(JsonWebKeyId::new(id.to_owned()))).expect("a key")
}

fn published() -> CoreJsonWebKeySet {
    let key: CoreJsonWebKey = signing_key(KEY, "first").as_verification_key();
    CoreJsonWebKeySet::new(vec![key])
}

fn token(said: &Said) -> String {
    let audience = said.audience.iter().map(|audience| Audience::new((*audience).to_owned())).collect();
    let subject = StandardClaims::new(SubjectIdentifier::new("s-1".to_owned()));
    let issuer = IssuerUrl::new(said.issuer.to_owned()).expect("an address");
    let claims =
        CoreIdTokenClaims::new(issuer, audience, after(said.expires), after(-5), subject, EmptyAdditionalClaims {})
            .set_nonce(Some(nonce(said.bound_to)))
            .set_auth_context_ref(said.context.map(|context| AuthenticationContextClass::new(context.to_owned())))
            .set_auth_time(said.authenticated.map(after));
    let key = signing_key(said.key, said.key_id);
    CoreIdToken::new(claims, &key, CoreJwsSigningAlgorithm::EdDsa, None, None).expect("signed").to_string()
}

fn expected() -> Expected {
    Expected {
        issuer: ISSUER.parse().expect("an issuer"),
        client_id: "fettle".to_owned(),
        contexts: Vec::new(),
        max_authentication_age: None,
    }
}

fn checked(token: &str, expected: &Expected) -> Result<Proven, TokenRefused> {
    verify(token, &published(), expected, &nonce(PUBLIC_KEY), NOW)
}

#[test]
fn a_token_that_says_what_is_wanted_proves_who_it_is() {
    let text = token(&Said::default());
    let proven = checked(&text, &expected()).expect("accepted");
    assert_eq!(proven.identity.to_string(), "s-1 of https://login.example.org");
    assert_eq!(proven.issued_at, UnixMillis(NOW.0 - 5_000));
    let signed = text.rsplit_once('.').expect("three parts").0;
    assert_eq!(proven.token, DocumentDigest::of(signed.as_bytes()));
}

#[test]
fn each_thing_that_a_token_says_wrong_is_refused_by_its_name() {
    let wanted = || expected().issuer;
    for (said, refused) in [
        (Said { issuer: "https://login.example.net", ..Said::default() }, TokenRefused::Issuer { wanted: wanted() }),
        (Said { audience: vec!["other"], ..Said::default() }, TokenRefused::Audience { wanted: "fettle".to_owned() }),
        (
            Said { audience: vec!["fettle", "other"], ..Said::default() },
            TokenRefused::Audience { wanted: "fettle".to_owned() },
        ),
        (Said { expires: -1, ..Said::default() }, TokenRefused::Expired),
        (Said { bound_to: b"another key", ..Said::default() }, TokenRefused::OtherKey),
        (Said { key: OTHER_KEY, ..Said::default() }, TokenRefused::Signature),
        (Said { key: OTHER_KEY, key_id: "second", ..Said::default() }, TokenRefused::UnknownKey),
    ] {
        assert_eq!(checked(&token(&said), &expected()), Err(refused));
    }
}

#[test]
fn how_and_when_the_person_was_authenticated_counts_where_it_is_wanted() {
    let max_age = Duration::from_hours(1);
    let strict = Expected {
        contexts: vec!["urn:mfa".to_owned(), "urn:key".to_owned()],
        max_authentication_age: Some(max_age),
        ..expected()
    };
    let said = |context, authenticated| token(&Said { context, authenticated, ..Said::default() });
    let proven = checked(&said(Some("urn:key"), Some(-3_600)), &strict).expect("accepted");
    assert_eq!(proven.context.as_deref(), Some("urn:key"));
    assert_eq!(proven.authenticated_at, Some(UnixMillis(NOW.0 - 3_600_000)));
    for context in [None, Some("urn:password")] {
        let refused = TokenRefused::Context { wanted: strict.contexts.clone() };
        assert_eq!(checked(&said(context, Some(-1)), &strict), Err(refused));
    }
    for authenticated in [None, Some(-3_601)] {
        let refused = TokenRefused::AuthenticationAge { max_age };
        assert_eq!(checked(&said(Some("urn:mfa"), authenticated), &strict), Err(refused));
    }
}

#[test]
fn what_anybody_could_have_made_is_refused() {
    let good = token(&Said::default());
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let (_, payload) = signed.split_once('.').expect("three parts");
    let headed = |header: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header)
    };
    for forged in [
        format!("{}.{payload}.", headed(r#"{"alg":"none"}"#)),
        format!("{}.{payload}.{signature}", headed(r#"{"alg":"HS256"}"#)),
        format!("{signed}."),
        format!("{signed}.AAAA"),
        format!("{signed}x.{signature}"),
        format!("{signed}.{signature}."),
        signed.to_owned(),
        String::new(),
    ] {
        assert!(checked(&forged, &expected()).is_err(), "{forged}");
    }
    let refused = Err(TokenRefused::TooLong { bytes: MAX_TOKEN_BYTES + 1 });
    assert_eq!(checked(&"x".repeat(MAX_TOKEN_BYTES + 1), &expected()), refused);
}

#[test]
fn a_token_with_absurd_instants_is_refused_and_harms_nothing() {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let header = engine.encode(r#"{"alg":"EdDSA","kid":"first"}"#);
    for instant in ["1e300", "-1e300", "9223372036854775807", "-9223372036854775808", "null", "\"x\"", "0.5"] {
        let payload = format!(
            r#"{{"iss":"{ISSUER}","aud":"fettle","sub":"s","exp":{instant},"iat":{instant},"auth_time":{instant}}}"#
        );
        let forged = format!("{header}.{}.{}", engine.encode(payload), engine.encode([0_u8; 64]));
        assert!(checked(&forged, &expected()).is_err(), "{instant}");
    }
}
