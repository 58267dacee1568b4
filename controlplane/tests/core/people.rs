//! What people ask for, enrolment and certificates.

use crate::signing_keys::signing_key;
use crate::world::{PUBLISHER_KEY, World, admit, service, version, web};
use fettle_controlplane::core::{
    Authorisation, Command, DeadCertificate, Enrol, EnrolmentRefusal, Initialise, MAX_TOKEN_VALIDITY, MAX_WHY_BYTES,
    NewCertificate, NewestCertificate, Outcome, PersonAction, PersonRefusal, PersonRequest, Resource,
    RotateCertificate, Subject,
};
use fettle_model::breaker::Scope;
use fettle_model::configuration::Declared;
use fettle_model::counter::{CertificateGeneration, ConfigurationGeneration};
use fettle_model::host::HostState;
use fettle_model::id::{HostId, TokenId};
use fettle_model::identity::{HeldRole, Reach, Role};
use fettle_model::record::{Body, Kind};
use fettle_model::remediation::{Mode, Parameters, Remediation};
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn a_log_is_opened_once() {
    let mut world = World::new();
    let opened = world.core.state().log().cloned().expect("an open log");
    let operator = "mallory".parse().expect("a name");
    let length = world.log.len();
    assert_eq!(world.run(&Command::Initialise(Initialise { opened, operator })), Outcome::AlreadyInitialised);
    assert_eq!(world.log.len(), length);
    let alice = "alice".parse().expect("a name");
    assert_eq!(
        world.core.state().roles(&alice).into_iter().collect::<Vec<_>>(),
        [Role::Operator.into(), Role::Administrator.into()]
    );
}

#[test]
fn what_cedar_denies_is_a_record_and_a_refusal() {
    let mut world = World::new();
    let policies = vec!["floor".to_owned()];
    let request = PersonRequest::GrantRole { person: "bob".parse().expect("a name"), role: Role::Auditor.into() };
    let outcome = world.person_with(request, Authorisation::Denied { policies: policies.clone() });
    let by = "alice".parse().expect("a name");
    let action = PersonAction::GrantRole;
    assert_eq!(outcome, Outcome::PersonRefused(PersonRefusal::NotAuthorised { by, action, policies }));
    let Body::ActionRefused(refused) = world.last() else { unreachable!("{:?}", world.last()) };
    assert_eq!((refused.action.as_str(), refused.resource.as_str()), ("role.grant", "person:bob/auditor"));
    assert!(world.core.state().roles(&"bob".parse().expect("a name")).is_empty());
}

#[test]
fn what_is_so_already_adds_nothing() {
    let mut world = World::new();
    let length = world.log.len();
    let alice = "alice".parse().expect("a name");
    let again = [
        PersonRequest::GrantRole { person: alice, role: Role::Operator.into() },
        PersonRequest::TrustPublisher { publisher: "acme".parse().expect("a name"), key: PUBLISHER_KEY.to_owned() },
        admit("restart-service", "1.0.0", "acme"),
    ];
    for request in again {
        assert_eq!(world.person(request), Outcome::Unchanged);
    }
    assert_eq!(world.configure(), Outcome::Unchanged);
    assert_eq!(world.log.len(), length);
}

#[test]
fn a_role_is_given_for_the_installation_or_for_a_team_where_it_is_about_services() {
    let mut world = World::new();
    let bob: fettle_model::name::PersonName = "bob".parse().expect("a name");
    for role in Role::ALL {
        let held = HeldRole { role, team: Some("team-web".parse().expect("a name")) };
        let outcome = world.person(PersonRequest::GrantRole { person: bob.clone(), role: held.clone() });
        match role.reach() {
            Reach::Team => assert_eq!(outcome, Outcome::Done),
            Reach::Installation => {
                assert_eq!(outcome, Outcome::PersonRefused(PersonRefusal::RoleHasNoTeam(role)));
                continue;
            }
        }
        let Body::RoleGranted(granted) = world.last() else { unreachable!("{:?}", world.last()) };
        assert_eq!((granted.role, &granted.team), (role, &held.team));
        let whole = PersonRequest::GrantRole { person: bob.clone(), role: role.into() };
        assert_eq!(world.person(whole), Outcome::Done, "more than a team's");
    }
    assert_eq!(world.core.state().roles(&bob).len(), 6);
    assert!(world.replayed() == *world.core.state());
}

#[test]
fn what_is_about_a_service_is_judged_by_its_owner_and_everything_else_by_the_installation() {
    let world = World::new();
    let state = world.core.state();
    let owned = Resource::Service { service: web().service, owner: service().owner };
    let host = HostId::from_uuid(uuid::Uuid::nil());
    let why = String::new;
    for (request, expected) in [
        (PersonRequest::Stop { scope: Scope::Service(web().service), why: why() }, owned.clone()),
        (PersonRequest::Resume { scope: Scope::Service(web().service), why: why() }, owned.clone()),
        (PersonRequest::WishRun { host, check: web() }, owned.clone()),
        (PersonRequest::Stop { scope: Scope::Global, why: why() }, Resource::Installation),
        (
            PersonRequest::Stop { scope: Scope::Playbook("x".parse().expect("a name")), why: why() },
            Resource::Installation,
        ),
        (
            PersonRequest::Stop { scope: Scope::Service("x".parse().expect("a name")), why: why() },
            Resource::Installation,
        ),
        (PersonRequest::SetHostState { host, state: HostState::Revoked, why: why() }, Resource::Installation),
    ] {
        assert_eq!(state.resource(&request.subject()), expected, "{request:?}");
    }
    let remediation = Subject::Remediation("restart-web".parse().expect("a name"));
    assert_eq!(state.resource(&remediation), owned);
}

#[test]
fn a_token_enrols_once_in_time_under_its_name() {
    let mut world = World::new();
    let enrol = |world: &mut World, name: &str, token| {
        let enrol = world.enrolment(name, token);
        world.run(&Command::Enrol(enrol))
    };
    let refused = |refusal| Outcome::EnrolmentRefused(refusal);
    let token = world.token("staging");
    assert_eq!(enrol(&mut world, "s0", token), Outcome::Done);
    assert_eq!(enrol(&mut world, "s1", token), refused(EnrolmentRefusal::TokenUsed(token)));
    let token = world.token("staging");
    let mut same_name = world.enrolment("s0", token);
    "another key".clone_into(&mut same_name.record_key);
    let taken = same_name.name.clone();
    assert_eq!(world.run(&Command::Enrol(same_name)), refused(EnrolmentRefusal::NameTaken(taken)));
    let mut known = world.enrolment("s1", token);
    "key of s0".clone_into(&mut known.record_key);
    assert_eq!(world.run(&Command::Enrol(known)), refused(EnrolmentRefusal::IdentityKnown));
    let mut elsewhere = world.enrolment("s1", token);
    elsewhere.environment = "production".parse().expect("a name");
    let expected = "staging".parse().expect("a name");
    assert_eq!(world.run(&Command::Enrol(elsewhere)), refused(EnrolmentRefusal::OtherEnvironment { expected }));
    world.advance(Duration::from_mins(10));
    assert_eq!(enrol(&mut world, "s1", token), refused(EnrolmentRefusal::TokenUnknown(token)));
    let named = TokenId::from_uuid(world.mint());
    let host = Some("s7".parse().expect("a name"));
    let environment = "staging".parse().expect("a name");
    world.done(PersonRequest::CreateToken { token: named, environment, host, valid_for: MAX_TOKEN_VALIDITY });
    let expected = "s7".parse().expect("a name");
    assert_eq!(enrol(&mut world, "s1", named), refused(EnrolmentRefusal::OtherName { expected }));
    assert_eq!(enrol(&mut world, "s7", named), Outcome::Done);
    assert_eq!(world.count(|body| body.kind() == Kind::HostEnrolled), 2);
}

#[test]
fn a_host_comes_back_under_a_new_token_and_stays_who_it_is() {
    let mut world = World::new();
    let host = world.host("s0", "staging");
    let before = world.core.state().host(host).cloned().expect("an enrolled host");
    let back = |world: &mut World, generation| {
        let token = world.token("staging");
        let certificate = NewCertificate { serial: format!("back {generation}"), not_after: world.now.wall };
        Enrol { host, certificate, generation: CertificateGeneration(generation), ..world.enrolment("s0", token) }
    };
    let refused = |refusal| Outcome::EnrolmentRefused(refusal);

    let overtaken = back(&mut world, 1);
    assert_eq!(world.run(&Command::Enrol(overtaken)), refused(EnrolmentRefusal::Overtaken));
    let stranger = Enrol { record_key: "another key".to_owned(), ..back(&mut world, 2) };
    assert_eq!(world.run(&Command::Enrol(stranger)), refused(EnrolmentRefusal::IdentityKnown));
    let renamed = Enrol { name: "s1".parse().expect("a name"), ..back(&mut world, 2) };
    assert_eq!(world.run(&Command::Enrol(renamed)), refused(EnrolmentRefusal::IdentityKnown));

    let enrol = back(&mut world, 2);
    assert_eq!(world.run(&Command::Enrol(enrol.clone())), Outcome::Done);
    let Body::CertificateIssued(issued) = world.last() else { unreachable!("{:?}", world.last()) };
    assert_eq!((issued.generation, issued.token), (CertificateGeneration(2), Some(enrol.token)));
    assert_eq!(world.run(&Command::Enrol(enrol.clone())), refused(EnrolmentRefusal::TokenUsed(enrol.token)));
    let mut after = world.core.state().host(host).cloned().expect("an enrolled host");
    assert_eq!(after.certificates.generation("back 2"), Some(CertificateGeneration(2)));
    after.certificates = before.certificates.clone();
    assert_eq!(after, before, "its chain, its checks and its state are what they were");
    assert_eq!(world.count(|body| body.kind() == Kind::HostEnrolled), 1);

    let state = HostState::Revoked;
    world.done(PersonRequest::SetHostState { host, state, why: "sold".to_owned() });
    let revoked = back(&mut world, 3);
    assert_eq!(world.run(&Command::Enrol(revoked)), refused(EnrolmentRefusal::Revoked(host)));
}

#[test]
fn a_token_is_valid_for_some_time_but_not_for_ever() {
    let mut world = World::new();
    for valid_for in [Duration::ZERO, MAX_TOKEN_VALIDITY + Duration::from_millis(1)] {
        let token = TokenId::from_uuid(world.mint());
        let environment = "staging".parse().expect("a name");
        let outcome = world.person(PersonRequest::CreateToken { token, environment, host: None, valid_for });
        assert_eq!(outcome, Outcome::PersonRefused(PersonRefusal::TokenValidity));
    }
}

fn rotate(host: HostId, presented: u64, newest: NewestCertificate, world: &World) -> Command {
    let serial = format!("serial after {presented}");
    let certificate = NewCertificate { serial, not_after: world.now.wall };
    Command::RotateCertificate(RotateCertificate {
        host,
        presented: CertificateGeneration(presented),
        newest,
        certificate,
    })
}

#[test]
fn certificates_are_counted_and_an_old_one_shows_a_clone() {
    let mut world = World::new();
    let host = world.host("s0", "staging");
    let state = |world: &World| world.core.state().host(host).map(|host| (host.certificates.newest.0, host.state));
    let command = rotate(host, 1, NewestCertificate::Used, &world);
    assert_eq!(world.run(&command), Outcome::Done);
    for _ in 0..3 {
        let lost_answer = rotate(host, 1, NewestCertificate::NotSeen, &world);
        assert_eq!(world.run(&lost_answer), Outcome::Done);
        assert_eq!(state(&world), Some((2, HostState::Active)), "an answer may be lost more than once");
    }
    assert_eq!(world.run(&rotate(host, 2, NewestCertificate::Used, &world)), Outcome::Done);
    let clone = rotate(host, 1, NewestCertificate::NotSeen, &world);
    let (presented, newest) = (CertificateGeneration(1), CertificateGeneration(3));
    let stale = EnrolmentRefusal::GenerationStale { presented, newest };
    assert_eq!(world.run(&clone), Outcome::EnrolmentRefused(stale));
    assert_eq!(state(&world), Some((3, HostState::Quarantined)));
    let used = rotate(host, 2, NewestCertificate::Used, &world);
    assert!(matches!(world.run(&used), Outcome::EnrolmentRefused(EnrolmentRefusal::GenerationStale { .. })));
    world.done(PersonRequest::SetHostState { host, state: HostState::Revoked, why: "a clone".to_owned() });
    let revoked = rotate(host, 3, NewestCertificate::Used, &world);
    assert_eq!(world.run(&revoked), Outcome::EnrolmentRefused(EnrolmentRefusal::Revoked(host)));
    let back = PersonRequest::SetHostState { host, state: HostState::Active, why: "it was not".to_owned() };
    assert_eq!(world.person(back), Outcome::PersonRefused(PersonRefusal::Revoked(host)));
}

#[test]
fn a_serial_number_tells_the_newest_certificate_and_the_one_before_and_no_other() {
    let mut world = World::new();
    let host = world.host("s0", "staging");
    let generation = |world: &World, serial: &str| {
        world.core.state().host(host).and_then(|host| host.certificates.generation(serial)).map(|known| known.0)
    };
    assert_eq!(generation(&world, "01"), Some(1));
    for presented in [1, 2] {
        assert_eq!(world.run(&rotate(host, presented, NewestCertificate::Used, &world)), Outcome::Done);
    }
    let known = ["01", "serial after 1", "serial after 2", ""].map(|serial| generation(&world, serial));
    assert_eq!(known, [None, Some(2), Some(3), None]);
    let dead = DeadCertificate { host, serial: "01".to_owned() };
    let refusal = EnrolmentRefusal::CertificateDead { serial: "01".to_owned() };
    for _ in 0..2 {
        assert_eq!(world.run(&Command::DeadCertificate(dead.clone())), Outcome::EnrolmentRefused(refusal.clone()));
    }
    assert_eq!(world.count(|body| body.kind() == Kind::HostStateSet), 1, "a host is quarantined once");
}

#[test]
fn a_person_who_is_added_has_a_role_and_a_counted_certificate() {
    let mut world = World::new();
    let add = |world: &mut World, serial: &str| {
        let certificate = NewCertificate { serial: serial.to_owned(), not_after: world.now.wall };
        world.done(PersonRequest::AddPerson {
            person: "bob".parse().expect("a name"),
            role: Role::Author.into(),
            certificate,
            signing_key: signing_key(serial),
        });
    };
    add(&mut world, "aa");
    add(&mut world, "bb");
    let Body::CertificateIssued(issued) = world.last() else { unreachable!("{:?}", world.last()) };
    assert_eq!((issued.serial.as_str(), issued.generation.0), ("bb", 2));
    assert!(issued.subject.to_string().ends_with("/person/bob"), "{}", issued.subject);
    let bob = "bob".parse().expect("a name");
    assert_eq!(world.core.state().roles(&bob).into_iter().collect::<Vec<_>>(), [Role::Author.into()]);
}

#[test]
fn a_renewal_is_one_record_about_whoever_asks_and_changes_no_role() {
    let mut world = World::new();
    let length = world.log.len();
    for (serial, generation) in [("aa", 1), ("bb", 2)] {
        let certificate = NewCertificate { serial: serial.to_owned(), not_after: world.now.wall };
        world.done(PersonRequest::RenewCertificate { shown: "00".to_owned(), certificate });
        let Body::CertificateIssued(issued) = world.last() else { unreachable!("{:?}", world.last()) };
        assert_eq!((issued.serial.as_str(), issued.generation.0, issued.token), (serial, generation, None));
        assert!(issued.subject.to_string().ends_with("/person/alice"), "{}", issued.subject);
    }
    assert_eq!(world.log.len(), length + 2);
    let alice = "alice".parse().expect("a name");
    assert_eq!(
        world.core.state().roles(&alice).into_iter().collect::<Vec<_>>(),
        [Role::Operator.into(), Role::Administrator.into()]
    );
}

fn remediation() -> Remediation {
    Remediation {
        name: "restart-web".parse().expect("a name"),
        service: web().service,
        check: web().check,
        playbook: version("restart-service", "1.0.0"),
        parameters: Parameters::default(),
        modes: BTreeMap::from([("production".parse().expect("a name"), Mode::Auto)]),
        guard: fettle_model::guard::Guard::default(),
        escalation: fettle_model::escalation::Escalation::default(),
        offline: None,
    }
}

#[test]
fn a_configuration_uses_admitted_versions_with_their_own_parameters_and_its_generation_grows() {
    let mut world = World::new();
    let set = |world: &mut World, remediation: Remediation| {
        let replaces = world.core.state().configuration().generation();
        let declared =
            Box::new(Declared { services: vec![service()], remediations: vec![remediation], ..Declared::default() });
        world.person(PersonRequest::SetConfiguration { declared, replaces })
    };
    let other = Remediation { playbook: version("restart-service", "2.0.0"), ..remediation() };
    let outcome = set(&mut world, other);
    assert!(matches!(outcome, Outcome::PersonRefused(PersonRefusal::PlaybookNotAdmitted { .. })), "{outcome:?}");
    let renamed = Remediation {
        playbook: fettle_model::remediation::PlaybookVersion {
            name: "other".parse().expect("a name"),
            ..version("restart-service", "1.0.0")
        },
        ..remediation()
    };
    let outcome = set(&mut world, renamed);
    assert!(matches!(outcome, Outcome::PersonRefused(PersonRefusal::PlaybookNotAdmitted { .. })), "{outcome:?}");
    let extra = Parameters(BTreeMap::from([("x".to_owned(), serde_json::Value::Bool(true))]));
    let outcome = set(&mut world, Remediation { parameters: extra, ..remediation() });
    assert!(matches!(outcome, Outcome::PersonRefused(PersonRefusal::Parameters { .. })), "{outcome:?}");
    let current = world.core.state().configuration().generation();
    let lonely = |replaces| {
        let declared = Box::new(Declared { remediations: vec![remediation()], ..Declared::default() });
        PersonRequest::SetConfiguration { declared, replaces }
    };
    let seen = ConfigurationGeneration(current.0 - 1);
    let changed = PersonRefusal::ConfigurationChanged { seen, current };
    assert_eq!(world.person(lonely(seen)), Outcome::PersonRefused(changed));
    let outcome = world.person(lonely(current));
    assert!(matches!(outcome, Outcome::PersonRefused(PersonRefusal::Configuration(_))), "{outcome:?}");
    assert_eq!(set(&mut world, remediation()), Outcome::Done);
    assert_eq!(world.core.state().configuration().generation().0, 2);
}

#[test]
fn a_playbook_needs_a_trusted_key_and_its_name_keeps_its_publisher() {
    let mut world = World::new();
    let mallory = "mallory".parse().expect("a name");
    assert_eq!(
        world.person(admit("restart-service", "2.0.0", "mallory")),
        Outcome::PersonRefused(PersonRefusal::PublisherNotTrusted(mallory))
    );
    let publisher = "mallory".parse().expect("a name");
    world.done(PersonRequest::TrustPublisher { publisher, key: PUBLISHER_KEY.to_owned() });
    let playbook = "restart-service".parse().expect("a name");
    let publisher = "acme".parse().expect("a name");
    assert_eq!(
        world.person(admit("restart-service", "2.0.0", "mallory")),
        Outcome::PersonRefused(PersonRefusal::PublisherDiffers { playbook, publisher })
    );
    world.done(admit("restart-service", "2.0.0", "acme"));
    let [.., admitted, passed] = world.log.as_slice() else { unreachable!("{:?}", world.last()) };
    let (Body::PlaybookAdmitted(admitted), Body::ScenariosPassed(passed)) =
        (&admitted.record.body, &passed.record.body)
    else {
        unreachable!("{admitted:?} {passed:?}")
    };
    assert_eq!((admitted.by.as_str(), passed.by.as_str()), ("alice", "alice"), "who asks is who is named");
}

#[test]
fn a_reason_is_one_line() {
    let mut world = World::new();
    for why in [String::new(), "  ".to_owned(), "a\nb".to_owned(), "a".repeat(MAX_WHY_BYTES + 1)] {
        let outcome = world.person(PersonRequest::Stop { scope: Scope::Global, why });
        assert_eq!(outcome, Outcome::PersonRefused(PersonRefusal::Why));
    }
    world.done(PersonRequest::Stop { scope: Scope::Global, why: "a".repeat(MAX_WHY_BYTES) });
}

#[test]
fn what_is_not_stopped_cannot_be_resumed() {
    let mut world = World::new();
    let why = || "go on".to_owned();
    let scope: Scope = "service:web".parse().expect("a scope");
    world.done(PersonRequest::Stop { scope: scope.clone(), why: why() });
    assert_eq!(
        world.person(PersonRequest::Resume { scope: Scope::Global, why: why() }),
        Outcome::PersonRefused(PersonRefusal::NotStopped(Scope::Global))
    );
    world.done(PersonRequest::Resume { scope: scope.clone(), why: why() });
    assert_eq!(
        world.person(PersonRequest::Resume { scope: scope.clone(), why: why() }),
        Outcome::PersonRefused(PersonRefusal::NotStopped(scope))
    );
}

#[test]
fn a_run_is_wished_for_an_active_host_and_a_check_that_has_an_answer() {
    let mut world = World::new();
    let host = world.host("s0", "staging");
    world.done(PersonRequest::WishRun { host, check: web() });
    assert_eq!(world.last().kind(), Kind::RunWished);
    let mut check = web();
    check.check = "other".parse().expect("a name");
    assert_eq!(
        world.person(PersonRequest::WishRun { host, check: check.clone() }),
        Outcome::PersonRefused(PersonRefusal::NoRemediation(check))
    );
    let stranger = HostId::from_uuid(world.mint());
    assert_eq!(
        world.person(PersonRequest::WishRun { host: stranger, check: web() }),
        Outcome::PersonRefused(PersonRefusal::UnknownHost(stranger))
    );
    world.done(PersonRequest::SetHostState { host, state: HostState::Quarantined, why: "odd".to_owned() });
    assert_eq!(
        world.person(PersonRequest::WishRun { host, check: web() }),
        Outcome::PersonRefused(PersonRefusal::HostNotActive(host))
    );
}
