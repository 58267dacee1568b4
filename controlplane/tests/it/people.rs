//! People: roles, denials, certificates, conflicts.

use crate::site::{Answer, Person, Site, TRUST_DOMAIN, fresh, name, service};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_audit::key::SigningKey;
use fettle_audit::person_key;
use fettle_certs::csr::certificate_request;
use fettle_certs::identity::Identity;
use fettle_certs::key::PrivateKey;
use fettle_certs::root::Root;
use fettle_model::breaker::Scope;
use fettle_model::check::{HostValue, Probe};
use fettle_model::configuration::Declared;
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::identity::Role;
use fettle_model::person_key::SigningKeyProof;
use fettle_model::record::Kind;
use fettle_proto::operator::{Command, CommandReply, ProblemCode, Query, QueryReply};

/// A fresh signing key, proven for a person of this control plane.
pub(crate) fn signing_key(person: &str) -> SigningKeyProof {
    let mut seed = [7; 32];
    seed[..16].copy_from_slice(fresh().as_bytes());
    person_key::prove(&SigningKey::from_seed(&seed), &name(TRUST_DOMAIN), &name(person))
}

pub(crate) fn request(key: &PrivateKey) -> String {
    STANDARD.encode(certificate_request(key).expect("a request"))
}

/// What a reply certifies for a key.
pub(crate) fn identity(site: &Site, key: PrivateKey, reply: CommandReply) -> Identity {
    let CommandReply::Person { chain, root } = reply else { unreachable!("another answer") };
    let root = Root::pinned_from_pem(root.as_bytes(), site.made.ca_pin).expect("the root");
    Identity::from_pem(chain.as_bytes(), key, root).expect("an identity")
}

/// Whom a certificate is for, and a connection with it.
async fn certified(site: &Site, key: PrivateKey, reply: CommandReply) -> (String, Person) {
    let identity = identity(site, key, reply);
    (identity.holder().id.to_string(), Person::connect(site.listening.operators, &identity).await)
}

/// The identity of a person whom the first operator adds.
pub(crate) async fn added_as(site: &Site, person: &str, role: Role) -> Identity {
    let key = PrivateKey::generate().expect("a key");
    let (csr, signing_key) = (request(&key), signing_key(person));
    let command = Command::AddPerson { person: name(person), role, team: None, csr, signing_key };
    let reply = site.alice().await.execute(command).await.expect("added");
    identity(site, key, reply)
}

pub(crate) async fn added(site: &Site, person: &str, role: Role) -> Person {
    let identity = added_as(site, person, role).await;
    Person::connect(site.listening.operators, &identity).await
}

pub(crate) fn stop() -> Command {
    Command::Stop { scope: Scope::Global, why: "a test".to_owned() }
}

#[track_caller]
pub(crate) fn denied<T: std::fmt::Debug>(answer: Answer<T>, action: &str) {
    let problem = answer.expect_err("denied");
    assert_eq!(problem.code, ProblemCode::Denied, "{problem:?}");
    assert!(problem.message.contains(action) && !problem.remedy.is_empty(), "{problem:?}");
}

#[tokio::test]
async fn whoever_has_no_role_may_do_nothing_and_every_denial_is_a_record() {
    let site = Site::new().await;
    let mallory = site.stranger("mallory").await;
    denied(mallory.execute(stop()).await, "automation.stop");
    denied(mallory.query(Query::Hosts).await, "state.read");
    denied(mallory.export().await, "log.export");
    denied(mallory.publish(Vec::new(), b"").await, "playbook.admit");
    let log = site.alice().await.log().await;
    let refused: Vec<&str> =
        log.iter().filter(|row| row.kind == Kind::ActionRefused).map(|row| row.summary.as_str()).collect();
    let expected = [
        "automation.stop on global",
        "state.read on installation",
        "log.export on installation",
        "playbook.admit on playbook",
    ];
    assert_eq!(refused, expected.map(|what| format!("mallory was refused {what}")));
}

#[tokio::test]
async fn a_person_who_is_added_may_do_what_their_role_says() {
    let site = Site::new().await;
    let author = added(&site, "ann", Role::Author).await;
    denied(author.execute(stop()).await, "automation.stop");
    denied(author.export().await, "log.export");
    author.query(Query::Playbooks).await.expect("an author reads the state");
    let auditor = added(&site, "audrey", Role::Auditor).await;
    denied(auditor.execute(stop()).await, "automation.stop");
    denied(auditor.publish(Vec::new(), b"").await, "playbook.admit");
    auditor.export().await.expect("an auditor takes the log");
    site.alice().await.done(Command::GrantRole { person: name("audrey"), role: Role::Operator, team: None }).await;
    auditor.execute(stop()).await.expect("an operator by now");
    denied(
        author.execute(Command::GrantRole { person: name("ann"), role: Role::Operator, team: None }).await,
        "role.grant",
    );
    let csr = STANDARD.encode(b"no request");
    let signing_key = signing_key("bob");
    let add = Command::AddPerson { person: name("bob"), role: Role::Author, team: None, csr, signing_key };
    let problem = site.alice().await.execute(add).await.expect_err("no request");
    assert_eq!(problem.code, ProblemCode::Invalid);
}

#[tokio::test]
async fn everybody_with_a_role_renews_their_own_certificate_and_gets_nothing_else() {
    let site = Site::new().await;
    for (who, role) in [("ann", Role::Author), ("audrey", Role::Auditor), ("olga", Role::Operator)] {
        let person = added(&site, who, role).await;
        let key = PrivateKey::generate().expect("a key");
        let reply = person.execute(Command::RenewCertificate { csr: request(&key) }).await.expect("renewed");
        let (holder, renewed) = certified(&site, key, reply).await;
        assert!(holder.ends_with(&format!("/person/{who}")), "{holder}");
        renewed.query(Query::Hosts).await.expect("as before");
        if role != Role::Operator {
            denied(renewed.execute(stop()).await, "automation.stop");
        }
        let log = site.alice().await.log().await;
        let last = log.last().expect("records").clone();
        let last = if last.kind == Kind::ActionRefused { log[log.len() - 2].clone() } else { last };
        assert_eq!(last.kind, Kind::CertificateIssued, "{last:?}");
        assert!(last.summary.starts_with("certificate 2 of ") && last.summary.ends_with(who), "{}", last.summary);
    }
    let mallory = site.stranger("mallory").await;
    let key = PrivateKey::generate().expect("a key");
    denied(mallory.execute(Command::RenewCertificate { csr: request(&key) }).await, "certificate.renew");
}

#[tokio::test]
async fn a_teams_operator_orders_what_is_about_its_services_and_nothing_else() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let replaces = ConfigurationGeneration(0);
    let declared = Box::new(Declared { services: vec![service()], ..Declared::default() });
    alice.done(Command::SetConfiguration { declared, replaces }).await;
    let tom = added(&site, "tom", Role::Viewer).await;
    let of = |team| Command::GrantRole { person: name("tom"), role: Role::Operator, team: Some(name(team)) };
    let stop_web = || Command::Stop { scope: Scope::Service(name("web")), why: "a test".to_owned() };
    denied(tom.execute(stop_web()).await, "automation.stop");
    alice.done(of("team-other")).await;
    denied(tom.execute(stop_web()).await, "automation.stop");
    alice.done(of("team-web")).await;
    tom.done(stop_web()).await;
    tom.done(Command::Resume { scope: Scope::Service(name("web")), why: "a test".to_owned() }).await;
    denied(tom.execute(stop()).await, "automation.stop");
    let check = fettle_model::check::CheckRef { service: name("web"), check: name("http") };
    let wish = Command::WishRun { host: name("nowhere"), check };
    let problem = tom.execute(wish).await.expect_err("no such host");
    assert_eq!(problem.code, ProblemCode::NotFound, "allowed, and then looked for: {problem:?}");
    denied(tom.export().await, "log.export");
    denied(tom.execute(of("team-web")).await, "role.grant");
}

#[tokio::test]
async fn who_administers_gives_no_role_to_themselves() {
    let site = Site::new().await;
    let grant = |team| Command::GrantRole { person: name("alice"), role: Role::Approver, team };
    for team in [None, Some(name("team-web"))] {
        denied(site.alice().await.execute(grant(team)).await, "role.grant");
    }
    let key = PrivateKey::generate().expect("a key");
    let csr = request(&key);
    let signing_key = signing_key("alice");
    let add = Command::AddPerson { person: name("alice"), role: Role::Approver, team: None, csr, signing_key };
    denied(site.alice().await.execute(add).await, "role.grant");
}

#[tokio::test]
async fn a_configuration_replaces_only_the_one_that_was_seen() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let set = |services, replaces| Command::SetConfiguration {
        declared: Box::new(Declared { services, ..Declared::default() }),
        replaces: ConfigurationGeneration(replaces),
    };
    alice.done(set(vec![service()], 0)).await;
    let problem = alice.execute(set(Vec::new(), 0)).await.expect_err("somebody was faster");
    assert_eq!(problem.code, ProblemCode::Conflict, "{problem:?}");
    let QueryReply::Configuration { generation, declared } = alice.query(Query::Configuration).await.expect("it")
    else {
        unreachable!("another answer");
    };
    assert_eq!((generation.0, declared.services), (1, vec![service()]), "the running configuration stays");
    alice.done(set(Vec::new(), 1)).await;
}

#[tokio::test]
async fn what_does_not_fit_into_a_record_is_refused_and_the_control_plane_goes_on() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let mut service = service();
    let mut check = service.checks.first().cloned().expect("a check");
    if let Probe::Http { url, .. } = &mut check.probe {
        *url = HostValue(format!("http://127.0.0.1:1/{}", "a".repeat(8_000_000)));
    }
    service.checks = vec![check];
    let set = Command::SetConfiguration {
        declared: Box::new(Declared { services: vec![service], ..Declared::default() }),
        replaces: ConfigurationGeneration(0),
    };
    let problem = alice.execute(set).await.expect_err("too large");
    assert_eq!(problem.code, ProblemCode::Invalid, "{problem:?}");
    alice.done(stop()).await;
    assert_eq!(alice.kinds().await, [Kind::LogOpened, Kind::RoleGranted, Kind::RoleGranted, Kind::AutomationStopped]);
}

#[tokio::test]
async fn what_is_not_there_or_makes_no_sense_is_said_with_a_remedy() {
    let site = Site::new().await;
    let alice = site.alice().await;
    for (command, code) in [
        (Command::Resume { scope: Scope::Global, why: "go on".to_owned() }, ProblemCode::Refused),
        (Command::Stop { scope: Scope::Global, why: String::new() }, ProblemCode::Invalid),
        (Command::TrustPublisher { publisher: name("acme"), key: "no key".to_owned() }, ProblemCode::Invalid),
        (Command::CreateToken { environment: name("staging"), host: None, ttl_ms: 0 }, ProblemCode::Invalid),
        (
            Command::WishRun {
                host: name("nowhere"),
                check: fettle_model::check::CheckRef { service: name("web"), check: name("http") },
            },
            ProblemCode::NotFound,
        ),
        (
            Command::SetHostState {
                host: name("nowhere"),
                state: fettle_model::host::HostState::Revoked,
                why: "gone".to_owned(),
            },
            ProblemCode::NotFound,
        ),
    ] {
        let problem = alice.execute(command.clone()).await.expect_err("refused");
        assert_eq!(problem.code, code, "{command:?}: {problem:?}");
        assert!(!problem.remedy.is_empty(), "{problem:?}");
    }
}
