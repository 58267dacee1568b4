//! Floors by fact, and what an error does.

use super::*;
use crate::core::{FLOOR_APPROVED, PlaybookFacts};
use fettle_model::digest::PlaybookDigest;
use fettle_model::identity::HeldRole;
use fettle_model::playbook::Action;
use fettle_model::remediation::Mode;

fn authority() -> Authority {
    Authority::new().expect("the compiled-in policies are sound")
}

fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a name")
}

#[test]
fn a_revoked_agent_may_do_nothing() {
    let authority = authority();
    let host = name("00000000-0000-4000-8000-000000000001");
    for action in [AgentAction::OpenSession, AgentAction::FetchPlaybook, AgentAction::RotateCertificate] {
        assert_eq!(authority.agent(host, HostState::Active, action), Authorisation::Allowed);
        assert_eq!(authority.agent(host, HostState::Quarantined, action), Authorisation::Allowed);
        let expected = Authorisation::Denied { policies: vec!["floor-agent-not-revoked".to_owned()] };
        assert_eq!(authority.agent(host, HostState::Revoked, action), expected);
    }
}

fn facts() -> AuthorisationFacts {
    AuthorisationFacts {
        host: name("00000000-0000-4000-8000-000000000001"),
        host_state: Some(HostState::Active),
        environment: Some(name("production")),
        purpose: PurposeKind::Remediate,
        service: Some(name("web")),
        tier: None,
        owner: None,
        playbook: Some(PlaybookFacts {
            name: name("restart-service"),
            digest: PlaybookDigest::of(b"package"),
            publisher: name("fettle"),
            actions: BTreeSet::from([Action::Restart]),
        }),
        mode: Some(Mode::Auto),
        drill: None,
        drill_by: None,
        group_size: 2,
        healthy_besides: 1,
        in_flight: 0,
        attempts: 0,
        approvals: 0,
        approvals_required: 1,
    }
}

/// A budget given in advance, for what does this.
fn offline(action: Action, mode: Mode) -> AuthorisationFacts {
    let playbook = facts().playbook.map(|playbook| PlaybookFacts { actions: BTreeSet::from([action]), ..playbook });
    AuthorisationFacts { purpose: PurposeKind::Offline, mode: Some(mode), playbook, ..facts() }
}

#[test]
fn a_permit_is_allowed_until_a_floor_forbids_it() {
    let authority = authority();
    let drill = Some(name("00000000-0000-4000-8000-000000000002"));
    let fault = AuthorisationFacts { purpose: PurposeKind::InjectFault, drill, ..facts() };
    let staging = Some(name("staging"));
    for (facts, expected) in [
        (facts(), None),
        (AuthorisationFacts { host_state: Some(HostState::Quarantined), ..facts() }, Some("floor-host-active")),
        (AuthorisationFacts { host_state: None, ..facts() }, Some("floor-host-active")),
        (AuthorisationFacts { group_size: 0, ..facts() }, Some("floor-known-group")),
        (AuthorisationFacts { mode: None, ..facts() }, Some("floor-known-remediation")),
        (AuthorisationFacts { mode: Some(Mode::Approve), ..facts() }, Some(FLOOR_APPROVED)),
        (AuthorisationFacts { mode: Some(Mode::Approve), approvals: 1, ..facts() }, None),
        (
            AuthorisationFacts { mode: Some(Mode::Approve), approvals: 1, approvals_required: 2, ..facts() },
            Some(FLOOR_APPROVED),
        ),
        (offline(Action::Activate, Mode::Auto), None),
        (offline(Action::Restart, Mode::Auto), Some("floor-offline-only-what-can-be-undone")),
        (offline(Action::Reload, Mode::Auto), Some("floor-offline-only-what-can-be-undone")),
        (offline(Action::Activate, Mode::Observe), Some("floor-offline-only-where-nobody-decides")),
        (fault.clone(), Some("floor-faults-only-in-staging")),
        (AuthorisationFacts { environment: staging.clone(), ..fault.clone() }, None),
        (AuthorisationFacts { environment: staging, drill: None, ..fault }, Some("floor-faults-only-in-staging")),
    ] {
        let expected =
            expected.map_or(Authorisation::Allowed, |id| Authorisation::Denied { policies: vec![id.to_owned()] });
        assert_eq!(authority.permit(&facts), expected);
    }
    assert_ne!(authority.permit(&AuthorisationFacts { playbook: None, ..facts() }), Authorisation::Allowed);
}

#[test]
fn what_the_schema_does_not_know_is_denied() {
    let denied = authority().person_action(
        &name("alice"),
        &Holding { roles: BTreeSet::from([HeldRole::from(Role::Operator)]), glass: Glass::Whole },
        "host.reboot",
        &Resource::Installation,
    );
    assert!(matches!(denied, Authorisation::Denied { policies } if policies[0].starts_with("evaluation error: ")));
}
