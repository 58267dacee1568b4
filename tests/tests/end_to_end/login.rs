//! People log in at a real OpenID provider, and what a token of it, or none of it, is worth here.

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_certs::csr::{ProvenKey, certificate_request};
use fettle_certs::key::PrivateKey;
use fettle_cli::connection::Door;
use fettle_model::digest::CaPin;
use fettle_model::record::Body;
use fettle_oidc::binding;
use fettle_proto::login::{LoginReply, LoginRequest};
use fettle_tests::control_plane::Hold;
use fettle_tests::operator::{Login, Operator};
use fettle_tests::provider::{Provider, Signer};
use fettle_tests::site::Site;
use serde_json::{Value, json};

/// Exit codes of `fettle`.
const DENIED: i32 = 7;
const UNAVAILABLE: i32 = 9;

/// A control plane that trusts a provider.
struct Scene<'a> {
    site: &'a mut Site,
    provider: Provider,
    pin: CaPin,
    enrol: String,
}

impl Scene<'_> {
    fn test(test: impl FnOnce(&mut Scene<'_>) -> anyhow::Result<()>) -> anyhow::Result<()> {
        Site::test_bare(|site| {
            let folder = site.path(".");
            let provider = Provider::start(&folder)?;
            site.control_plane.stop()?;
            site.control_plane.configure(&provider.configuration(&folder))?;
            site.control_plane.start(Hold::Never)?;
            let token = site.operator.create_token("staging", &site.path("join-token"))?;
            let enrol = site.control_plane.addresses()?.enrol.to_string();
            test(&mut Scene { pin: token.ca_pin.parse()?, enrol, provider, site })
        })
    }

    /// An administrator lets this subject in.
    fn register(&self, person: &str, role: &str, subject: &str) -> anyhow::Result<()> {
        self.site.operator.done(&["person", "add", person, "--role", role, "--oidc-subject", subject])
    }

    fn person(&self, profile: &str) -> Operator {
        Operator::new(&self.site.control_plane, &self.site.path(profile))
    }

    /// A first login in a new folder.
    fn first_login(&self, profile: &str) -> anyhow::Result<Login> {
        let pin = self.pin.to_string();
        self.person(profile).log_in(&["--control-plane", &self.enrol, "--ca-pin", &pin])
    }

    /// A login in a new folder as this account of the provider.
    fn log_in(&mut self, profile: &str, account: &str) -> anyhow::Result<(i32, String)> {
        let mut login = self.first_login(profile)?;
        let page = self.provider.browse(&login.address()?, account)?;
        ensure!(page.contains("let you in"), "{page}");
        login.end()
    }

    /// Sends a token with the request for a key to which it may be bound.
    fn send(&self, key: &Key, id_token: String) -> anyhow::Result<Result<LoginReply, String>> {
        let request = LoginRequest { csr: STANDARD.encode(&key.csr), id_token };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let door = Door::open(&self.enrol, self.pin).await;
            let mut door = door.map_err(|failure| anyhow::anyhow!("{failure}"))?;
            Ok(door.log_in(&request).await.map_err(|failure| failure.to_string()))
        })
    }

    /// Has a token made with these claims, bound to this key, and sends it.
    fn forge(&mut self, signer: Signer, key: &Key, claims: Value) -> anyhow::Result<Result<LoginReply, String>> {
        let mut all =
            serde_json::Map::from_iter([("nonce".to_owned(), json!(key.nonce)), ("sub".to_owned(), json!("s-bob"))]);
        let Value::Object(claims) = claims else { bail!("claims are an object, not {claims}") };
        all.extend(claims);
        let token = self.provider.forge(signer, &Value::Object(all))?;
        self.send(key, token)
    }
}

/// A key, its request, and the nonce of tokens that are bound to it.
struct Key {
    csr: Vec<u8>,
    nonce: String,
}

impl Key {
    fn new() -> anyhow::Result<Self> {
        let csr = certificate_request(&PrivateKey::generate()?)?;
        let nonce = binding::nonce(&ProvenKey::from_csr(&csr)?.public_key_info());
        Ok(Self { csr, nonce: nonce.secret().clone() })
    }
}

fn refused(answer: Result<LoginReply, String>, because: &str) -> anyhow::Result<()> {
    match answer {
        Ok(_) => bail!("let in, and it was to be refused because {because}"),
        Err(said) => {
            ensure!(said.contains(because) && said.contains("remedy: "), "{because}: {said}");
            Ok(())
        }
    }
}

#[test]
fn a_person_logs_in_at_the_provider_and_is_who_an_administrator_said() -> anyhow::Result<()> {
    Scene::test(|scene| {
        scene.register("bob", "operator", "s-bob")?;
        let (code, said) = scene.log_in("bob", "s-bob")?;
        ensure!(code == 0 && said.contains("\"person\": \"bob\""), "{code}: {said}");
        let bob = scene.person("bob");
        bob.done(&["stop", "global", "--why", "as bob"])?;
        let (code, said) = bob.refused(&["person", "renew"])?;
        ensure!(code > 2 && said.contains("log in again: fettle login"), "{said}");

        // From then on the profile knows where.
        let mut again = bob.log_in(&[])?;
        scene.provider.browse(&again.address()?, "s-bob")?;
        let (code, said) = again.end()?;
        ensure!(code == 0, "{code}: {said}");
        bob.done(&["resume", "global", "--why", "as bob, with another certificate"])?;

        let (code, said) = scene.log_in("mallory", "s-mallory")?;
        ensure!(code == DENIED && said.contains("nobody is let in as s-mallory of https://"), "{code}: {said}");
        ensure!(said.contains("fettle person add NAME --role ROLE --oidc-subject s-mallory"), "{said}");
        ensure!(!scene.site.path("mallory").exists(), "nothing is left of a login that failed");

        let mut given_up = scene.first_login("nobody")?;
        scene.provider.give_up(&given_up.address()?)?;
        let (code, said) = given_up.end()?;
        ensure!(code == DENIED && said.contains("access_denied"), "{code}: {said}");

        let log = scene.site.verified_log()?;
        let logins: Vec<_> = log
            .records()
            .iter()
            .filter_map(|record| if let Body::PersonLoggedIn(login) = &record.body { Some(login) } else { None })
            .collect();
        ensure!(logins.len() == 2, "{logins:?}");
        for login in logins {
            ensure!(login.person.as_str() == "bob" && login.identity.subject.as_str() == "s-bob", "{login:?}");
            ensure!(login.identity.issuer.as_str() == scene.provider.issuer(), "{login:?}");
            ensure!(login.authenticated_at.is_some(), "the provider was asked when: {login:?}");
        }
        Ok(())
    })
}

#[test]
fn a_token_that_is_not_for_this_key_this_client_and_this_time_lets_nobody_in() -> anyhow::Result<()> {
    Scene::test(|scene| {
        scene.register("bob", "operator", "s-bob")?;
        let (key, other) = (Key::new()?, Key::new()?);
        let provider = Signer::Provider;
        refused(scene.forge(provider, &key, json!({ "aud": "another" }))?, "not for the client")?;
        refused(scene.forge(provider, &key, json!({ "aud": ["fettle", "another"] }))?, "not for the client")?;
        refused(scene.forge(provider, &key, json!({ "iss": "https://login.example.net" }))?, "another provider")?;
        refused(scene.forge(provider, &key, json!({ "nonce": other.nonce }))?, "not bound to the key")?;
        refused(scene.forge(provider, &key, json!({ "nonce": null }))?, "not bound to the key")?;
        refused(scene.forge(provider, &key, json!({ "iat": 1, "exp": 2 }))?, "has expired")?;
        refused(scene.forge(provider, &key, json!({ "iat": 1 }))?, "older than 5m")?;
        refused(scene.forge(provider, &key, json!({ "auth_time": 1 }))?, "authenticated more than")?;
        refused(scene.forge(provider, &key, json!({ "sub": "s-alice" }))?, "nobody is let in as s-alice")?;
        refused(scene.forge(Signer::Imposter, &key, json!({}))?, "signature is not the provider's")?;
        refused(scene.forge(Signer::Stranger, &key, json!({}))?, "did not publish")?;
        refused(scene.send(&key, "no token".to_owned())?, "malformed")?;

        // A stolen token is worth nothing with another key, and nothing once it was used.
        let token = scene.provider.forge(provider, &json!({ "nonce": key.nonce, "sub": "s-bob" }))?;
        refused(scene.send(&other, token.clone())?, "not bound to the key")?;
        ensure!(scene.send(&key, token.clone())?.is_ok(), "and it was good");
        refused(scene.send(&key, token.clone())?, "was used before")?;
        scene.site.control_plane.kill()?;
        scene.site.control_plane.start(Hold::Never)?;
        refused(scene.send(&key, token)?, "was used before")?;

        scene.site.operator.done(&["person", "revoke", "bob", "--reason", "left"])?;
        refused(scene.forge(provider, &key, json!({}))?, "nobody is let in as s-bob")?;
        let log = scene.site.verified_log()?;
        let denials = log.records().iter().filter(|record| {
            matches!(&record.body, Body::ActionRefused(refused)
                if refused.by.as_str() == "bob" && refused.action == "person.log-in")
        });
        ensure!(denials.count() == 1, "whoever was revoked and comes again is in the log");
        let logins = log.records().iter().filter(|record| matches!(record.body, Body::PersonLoggedIn(_))).count();
        ensure!(logins == 1, "{logins} logins");
        Ok(())
    })
}

#[test]
fn a_new_key_of_the_provider_is_found_and_unknown_ones_ask_it_a_few_times_only() -> anyhow::Result<()> {
    Scene::test(|scene| {
        scene.register("bob", "operator", "s-bob")?;
        ensure!(scene.forge(Signer::Provider, &Key::new()?, json!({}))?.is_ok(), "with the first key");
        let before = scene.provider.keys_asked()?;
        ensure!(scene.forge(Signer::Provider, &Key::new()?, json!({}))?.is_ok(), "with the first key again");
        ensure!(scene.provider.keys_asked()? == before, "keys at hand are not asked for");
        let old = scene.provider.forge(Signer::Provider, &json!({ "nonce": "any", "sub": "s-bob" }))?;
        scene.provider.rotate()?;
        ensure!(scene.forge(Signer::Provider, &Key::new()?, json!({}))?.is_ok(), "with the second key");
        ensure!(scene.provider.keys_asked()? == before + 1, "it was looked for once");
        refused(scene.send(&Key::new()?, old)?, "did not publish")?;

        let mut answers = Vec::new();
        for _ in 0..20 {
            answers.push(scene.forge(Signer::Stranger, &Key::new()?, json!({}))?.err().context("refused")?);
        }
        ensure!(answers.iter().any(|said| said.contains("asked too often")), "{answers:?}");
        let asked = scene.provider.keys_asked()? - before;
        ensure!(asked <= 14, "a burst of 8 and one each 15 s, not {asked}");
        ensure!(scene.forge(Signer::Provider, &Key::new()?, json!({}))?.is_ok(), "good tokens need no question");
        Ok(())
    })
}

#[test]
fn without_its_provider_a_control_plane_serves_and_certificates_let_people_in() -> anyhow::Result<()> {
    Scene::test(|scene| {
        scene.register("bob", "operator", "s-bob")?;
        scene.provider.kill()?;
        scene.site.control_plane.kill()?;
        scene.site.control_plane.start(Hold::Never)?;
        let (code, said) = scene.first_login("bob")?.end()?;
        ensure!(code == UNAVAILABLE && said.contains("the OpenID provider cannot be asked"), "{code}: {said}");
        ensure!(said.contains("fettle-controlplane operator"), "{said}");
        scene.site.operator.done(&["stop", "global", "--why", "by certificate"])?;
        scene.provider.start_again()?;
        let (code, said) = scene.log_in("bob", "s-bob")?;
        ensure!(code == 0, "{code}: {said}");
        Ok(())
    })
}
