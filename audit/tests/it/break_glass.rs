//! Broken glass: two people with keys of their own, half an hour, people called, nothing lasting.

use crate::check::{check, check_valid, uuid};
use crate::log::{Log, permit_key};
use crate::story::{parsed, story};
use fettle_audit::key::SigningKey;
use fettle_audit::leaf::leaf_for;
use fettle_audit::person_key;
use fettle_audit::signed_record::SignedRecord;
use fettle_audit::verify::Rule;
use fettle_model::break_glass::{
    BREAK_GLASS_LASTS, BreakGlassAsked, BreakGlassClosed, BreakGlassOpened, MAX_ASK_WAITS,
};
use fettle_model::breaker::{ResumeOrder, Scope};
use fettle_model::digest::EnvelopeDigest;
use fettle_model::id::{BreakGlassId, IncidentId};
use fettle_model::identity::Role;
use fettle_model::incident::{IncidentCause, IncidentOpened};
use fettle_model::person_key::PersonKeySet;
use fettle_model::record::{Author, Body, PersonRevoked, Record, RoleGranted, RoleRevoked};
use fettle_model::time::UnixMillis;
use std::time::Duration;

const ASK: u128 = 91;

fn key(person: &str) -> SigningKey {
    SigningKey::from_seed(&[person.as_bytes()[0]; 32])
}

fn role(person: &str, role: Role, by: &str) -> Body {
    Body::RoleGranted(Box::new(RoleGranted { person: parsed(person), role, team: None, by: Some(parsed(by)) }))
}

/// Alice gives the role; the key is registered by somebody.
fn add(log: &mut Log, person: &str, held: Role, by: &str) {
    log.control_plane(role(person, held, "alice"));
    let signing_key = person_key::prove(&key(person), &parsed("fettle.example"), &parsed(person));
    let set = PersonKeySet { person: parsed(person), signing_key, by: parsed(by) };
    log.control_plane(Body::PersonKeySet(Box::new(set)));
}

/// A log with a viewer, an approver and a commander, whom alice added, and one whose key the viewer registered.
fn people() -> Log {
    let mut log = story();
    for (person, held, by) in [
        ("v-viewer", Role::Viewer, "alice"),
        ("approver", Role::Approver, "alice"),
        ("commander", Role::IncidentCommander, "alice"),
        ("operator", Role::Operator, "alice"),
        ("second", Role::Approver, "v-viewer"),
    ] {
        add(&mut log, person, held, by);
    }
    log
}

fn ask_with(log: &mut Log, change: impl FnOnce(&mut BreakGlassAsked)) -> EnvelopeDigest {
    let mut asked = BreakGlassAsked {
        ask: BreakGlassId::from_uuid(uuid(ASK)),
        role: Role::Operator,
        team: None,
        why: "a test".to_owned(),
        expires_at: log.now().plus(MAX_ASK_WAITS),
    };
    change(&mut asked);
    let author = Author::Person { person: parsed("v-viewer") };
    log.sealed(author, Body::BreakGlassAsked(Box::new(asked)), &key("v-viewer"))
}

fn confirm(log: &mut Log, person: &str, asked: EnvelopeDigest) {
    let opened = BreakGlassOpened { ask: BreakGlassId::from_uuid(uuid(ASK)), asked };
    log.sealed(Author::Person { person: parsed(person) }, Body::BreakGlassOpened(Box::new(opened)), &key(person));
}

/// People are called to what was opened with the record before.
fn call(log: &mut Log, confirmed_by: &str, longer: Duration) {
    let until = UnixMillis(log.now().0 - 1_000).plus(BREAK_GLASS_LASTS).plus(longer);
    let cause = IncidentCause::BrokenGlass {
        ask: BreakGlassId::from_uuid(uuid(ASK)),
        person: parsed("v-viewer"),
        role: Role::Operator.into(),
        confirmed_by: parsed(confirmed_by),
        until,
    };
    let incident = IncidentOpened { incident: IncidentId::from_uuid(uuid(92)), host: None, check: None, cause };
    log.control_plane(Body::IncidentOpened(Box::new(incident)));
}

fn open_by(log: &mut Log, person: &str) {
    let asked = ask_with(log, |_| {});
    confirm(log, person, asked);
    call(log, person, Duration::ZERO);
}

fn close(log: &mut Log) {
    let (ask, by, why) = (BreakGlassId::from_uuid(uuid(ASK)), parsed("v-viewer"), "done".to_owned());
    log.control_plane(Body::BreakGlassClosed(Box::new(BreakGlassClosed { ask, by, why })));
}

/// A record of the control plane that was sequenced so much later.
fn later(log: &mut Log, by: Duration, body: Body) {
    let at = log.now().plus(by);
    let signed = SignedRecord::seal(Record { author: Author::ControlPlane, at, body }, &permit_key()).expect("sealed");
    log.records.push((leaf_for(&signed, at), signed));
}

#[test]
fn two_people_open_it_and_either_closes_it() {
    for second in ["approver", "commander"] {
        let mut log = people();
        open_by(&mut log, second);
        check_valid(&log);
        close(&mut log);
        check_valid(&log);
        close(&mut log);
        check(&log, Rule::BreakGlass);
    }
}

#[test]
fn the_second_person_is_another_one_with_a_role_that_decides() {
    for nobody in ["v-viewer", "second", "operator"] {
        let mut log = people();
        open_by(&mut log, nobody);
        check(&log, Rule::BreakGlass);
    }
}

#[test]
fn a_confirmation_is_of_what_was_asked_once_and_in_time() {
    let mut other = people();
    ask_with(&mut other, |_| {});
    confirm(&mut other, "approver", EnvelopeDigest::of(b"another ask"));
    check(&other, Rule::BreakGlass);

    let mut twice = people();
    let asked = ask_with(&mut twice, |_| {});
    confirm(&mut twice, "approver", asked);
    call(&mut twice, "approver", Duration::ZERO);
    confirm(&mut twice, "commander", asked);
    check(&twice, Rule::BreakGlass);

    let mut nothing = people();
    confirm(&mut nothing, "approver", EnvelopeDigest::of(b"nothing"));
    check(&nothing, Rule::BreakGlass);

    let mut late = people();
    let asked = ask_with(&mut late, |_| {});
    later(&mut late, MAX_ASK_WAITS, role("somebody", Role::Viewer, "alice"));
    confirm(&mut late, "approver", asked);
    check(&late, Rule::BreakGlass);

    let mut closed = people();
    let asked = ask_with(&mut closed, |_| {});
    close(&mut closed);
    confirm(&mut closed, "approver", asked);
    check(&closed, Rule::BreakGlass);
}

#[test]
fn whoever_lost_the_role_or_was_revoked_before_the_confirmation_opens_nothing() {
    let mut roleless = people();
    let asked = ask_with(&mut roleless, |_| {});
    let (person, by, why) = (parsed("v-viewer"), parsed("alice"), "left".to_owned());
    let ended = RoleRevoked { person, role: Role::Viewer, team: None, by, why };
    roleless.control_plane(Body::RoleRevoked(Box::new(ended)));
    confirm(&mut roleless, "approver", asked);
    check(&roleless, Rule::BreakGlass);

    let mut revoked = people();
    let asked = ask_with(&mut revoked, |_| {});
    let gone = PersonRevoked { person: parsed("v-viewer"), by: parsed("alice"), why: "left".to_owned() };
    revoked.control_plane(Body::PersonRevoked(Box::new(gone)));
    confirm(&mut revoked, "approver", asked);
    check(&revoked, Rule::BreakGlass);
}

#[test]
fn an_ask_is_for_a_role_that_is_not_held_waits_for_a_while_and_is_alone() {
    let asks: [fn(&mut BreakGlassAsked); 4] = [
        |asked| asked.role = Role::Viewer,
        |asked| (asked.role, asked.team) = (Role::Auditor, Some(parsed("shop"))),
        |asked| asked.expires_at.0 += 1,
        |asked| asked.expires_at = UnixMillis(1),
    ];
    for change in asks {
        let mut log = people();
        ask_with(&mut log, change);
        check(&log, Rule::BreakGlass);
    }
    let mut two = people();
    ask_with(&mut two, |_| {});
    ask_with(&mut two, |asked| asked.ask = BreakGlassId::from_uuid(uuid(93)));
    check(&two, Rule::BreakGlass);
    let mut again = people();
    ask_with(&mut again, |_| {});
    close(&mut again);
    ask_with(&mut again, |_| {});
    check(&again, Rule::Identifier);
}

#[test]
fn people_are_called_to_it_with_an_end_after_half_an_hour() {
    let mut silent = people();
    let asked = ask_with(&mut silent, |_| {});
    confirm(&mut silent, "approver", asked);
    check(&silent, Rule::BreakGlass);
    let mut longer = people();
    let asked = ask_with(&mut longer, |_| {});
    confirm(&mut longer, "approver", asked);
    call(&mut longer, "approver", Duration::from_millis(1));
    check(&longer, Rule::BreakGlass);
    let mut another = people();
    let asked = ask_with(&mut another, |_| {});
    confirm(&mut another, "approver", asked);
    call(&mut another, "commander", Duration::ZERO);
    check(&another, Rule::BreakGlass);
}

#[test]
fn nothing_lasting_is_given_under_it_and_it_is_over_after_half_an_hour() {
    let mut under = people();
    open_by(&mut under, "approver");
    under.control_plane(role("somebody", Role::Viewer, "v-viewer"));
    check(&under, Rule::BreakGlass);

    let resumed = || {
        let order = ResumeOrder { scope: Scope::Global, by: parsed("v-viewer"), why: "a test".to_owned() };
        Body::AutomationResumed(Box::new(order))
    };
    let mut under = people();
    open_by(&mut under, "approver");
    under.control_plane(resumed());
    check(&under, Rule::BreakGlass);

    let mut over = people();
    open_by(&mut over, "approver");
    later(&mut over, BREAK_GLASS_LASTS, resumed());
    check_valid(&over);
    let mut closed = people();
    open_by(&mut closed, "approver");
    close(&mut closed);
    closed.control_plane(resumed());
    check_valid(&closed);
}
