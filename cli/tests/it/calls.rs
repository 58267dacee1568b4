//! Commands over the connection: what is asked, what is printed, how each problem ends.

use crate::fettle::fettle;
use crate::stand_in::{Asked, Said, StandIn, alice, authority, identity, problem};
use fettle_cli::profile::Profile;
use fettle_model::breaker::Scope;
use fettle_model::counter::LogPosition;
use fettle_model::host::HostState;
use fettle_model::identity::Role;
use fettle_proto::operator::{Command, CommandReply, Problem, ProblemCode, Query, QueryReply};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

pub(crate) fn no_hosts(_: &Asked) -> Said {
    Said::Answer(QueryReply::Hosts { hosts: Vec::new() })
}

fn done(_: &Asked) -> Said {
    Said::Reply(CommandReply::Done { position: LogPosition(12) })
}

#[test]
fn a_question_is_asked_and_its_answer_is_the_apis_document() {
    let stand_in = StandIn::start(no_hosts);
    let ended = stand_in.fettle(&["host", "list", "--json"]).expect(0);
    assert_eq!(ended.json::<QueryReply>(), QueryReply::Hosts { hosts: Vec::new() });
    assert_eq!(ended.err, "");
    let ended = stand_in.fettle(&["host", "list"]).expect(0);
    assert_eq!(ended.out, "no hosts are enrolled; `fettle token create` makes a join token\n");
    assert_eq!(stand_in.asked(), [Asked::Query(Query::Hosts), Asked::Query(Query::Hosts)]);
}

#[test]
fn a_command_is_sent_as_it_was_given_and_its_position_is_told() {
    let stand_in = StandIn::start(done);
    let ended = stand_in.fettle(&["stop", "service:web", "--why", "database move"]).expect(0);
    assert!(ended.out.starts_with("automation is stopped: service:web;"), "{}", ended.out);
    assert!(ended.out.ends_with("; log position 12\n"), "{}", ended.out);
    stand_in.fettle(&["resume", "global", "--why", "over"]).expect(0);
    stand_in.fettle(&["host", "revoke", "web-1", "--why", "stolen"]).expect(0);
    stand_in.fettle(&["run", "start", "web-1", "web/http"]).expect(0);
    let ended = stand_in.fettle(&["person", "revoke", "carol", "--reason", "a stolen laptop"]).expect(0);
    assert!(ended.out.starts_with("carol is revoked: "), "{}", ended.out);
    let ended = stand_in.fettle(&["person", "grant", "bob", "--role", "auditor", "--json"]).expect(0);
    assert_eq!(ended.json::<CommandReply>(), CommandReply::Done { position: LogPosition(12) });
    let asked = stand_in.asked();
    let why = |text: &str| text.to_owned();
    let web = Scope::Service("web".parse().expect("a name"));
    assert_eq!(asked[0], Asked::Command(Command::Stop { scope: web, why: why("database move") }));
    assert_eq!(asked[1], Asked::Command(Command::Resume { scope: Scope::Global, why: why("over") }));
    let host = "web-1".parse().expect("a name");
    assert_eq!(asked[2], Asked::Command(Command::SetHostState { host, state: HostState::Revoked, why: why("stolen") }));
    assert!(matches!(&asked[3], Asked::Command(Command::WishRun { check, .. }) if check.to_string() == "web/http"));
    let person = "carol".parse().expect("a name");
    assert_eq!(asked[4], Asked::Command(Command::RevokePerson { person, why: why("a stolen laptop") }));
    assert!(matches!(&asked[5], Asked::Command(Command::GrantRole { person, .. }) if person.as_str() == "bob"));

    let of_team = ["person", "grant", "bob", "--role", "incident-commander", "--team", "payments"];
    let ended = stand_in.fettle(&of_team).expect(0);
    assert!(ended.out.starts_with("bob is incident-commander of team payments from now on"), "{}", ended.out);
    let [.., Asked::Command(Command::GrantRole { role: Role::IncidentCommander, team: Some(team), .. })] =
        &stand_in.asked()[..]
    else {
        panic!("{:?}", stand_in.asked());
    };
    assert_eq!(team.as_str(), "payments");

    let ended = ["person", "revoke-role", "bob", "operator", "--team", "payments", "--why", "another team"];
    let ended = stand_in.fettle(&ended).expect(0);
    assert!(ended.out.starts_with("bob is not operator of team payments any more"), "{}", ended.out);
    let (person, team) = ("bob".parse().expect("a name"), Some("payments".parse().expect("a name")));
    let command = Command::RevokeRole { person, role: Role::Operator, team, why: why("another team") };
    assert_eq!(stand_in.asked().last(), Some(&Asked::Command(command)));
}

#[test]
fn every_problem_has_its_exit_code_its_message_and_its_remedy() {
    for (code, exit) in [
        (ProblemCode::Invalid, 4),
        (ProblemCode::NotFound, 5),
        (ProblemCode::Conflict, 6),
        (ProblemCode::Denied, 7),
        (ProblemCode::Refused, 8),
        (ProblemCode::Unavailable, 9),
        (ProblemCode::Internal, 10),
    ] {
        let stand_in = StandIn::start(move |_| Said::Problem(problem(code)));
        let ended = stand_in.fettle(&["status"]).expect(exit);
        assert_eq!(ended.err, format!("error: it is {code:?}\nremedy: mend it\n"));
        let ended = stand_in.fettle(&["status", "--json"]).expect(exit);
        assert_eq!(serde_json::from_str::<Problem>(&ended.err).expect("a problem"), problem(code));
        assert_eq!(ended.out, "");
    }
}

#[test]
fn a_lost_answer_leaves_open_whether_a_change_was_made() {
    let stand_in = StandIn::start(|_| Said::Gone);
    let ended = stand_in.fettle(&["host", "list"]).expect(9);
    assert!(ended.err.contains("did not answer: shutting down\nremedy: try again"), "{}", ended.err);
    let ended = stand_in.fettle(&["stop", "global", "--why", "x"]).expect(9);
    assert!(ended.err.contains("remedy: whether it was done is not known: look"), "{}", ended.err);
    stand_in.fettle(&["log", "export", "--out", "b"]).expect(9);
}

#[test]
fn an_answer_of_another_kind_is_a_fault_and_not_a_panic() {
    let stand_in = StandIn::start(no_hosts);
    let ended = stand_in.fettle(&["service", "list"]).expect(10);
    assert!(ended.err.contains("something else than services"), "{}", ended.err);
}

#[test]
fn a_certificate_that_has_ended_is_told_with_its_remedy_and_nothing_is_asked() {
    let authority = authority();
    let stand_in = StandIn::start_under(&authority, no_hosts);
    let old = identity(&authority, alice(), Duration::from_hours(30));
    Profile::create(&stand_in.path("old"), &stand_in.address, &old).expect("a profile");
    let ended = fettle(stand_in.folder.path(), &["--profile", "old", "host", "list"]).expect(7);
    assert!(ended.err.contains("the certificate of alice ended 6h ago"), "{}", ended.err);
    assert!(ended.err.contains("fettle-controlplane operator --state DIR --person NAME"), "{}", ended.err);
    assert_eq!(stand_in.asked(), []);
}

#[test]
fn a_certificate_that_soon_ends_is_a_warning_beside_the_answer() {
    let authority = authority();
    let stand_in = StandIn::start_under(&authority, no_hosts);
    let aging = identity(&authority, alice(), Duration::from_hours(23));
    Profile::create(&stand_in.path("aging"), &stand_in.address, &aging).expect("a profile");
    let ended = fettle(stand_in.folder.path(), &["--profile", "aging", "host", "list"]).expect(0);
    assert!(ended.err.starts_with("warning: the certificate of alice ends in 59m"), "{}", ended.err);
    assert!(ended.err.contains("remedy: renew it while it is good: fettle person renew"), "{}", ended.err);
    let ended = fettle(stand_in.folder.path(), &["--profile", "aging", "host", "list", "--json"]).expect(0);
    let warning: serde_json::Value = serde_json::from_str(&ended.err).expect("a document");
    assert_eq!(warning["code"], "warning");
}

#[test]
fn a_control_plane_of_another_authority_is_not_talked_to() {
    let stand_in = StandIn::start(no_hosts);
    let stranger = identity(&authority(), alice(), Duration::ZERO);
    Profile::create(&stand_in.path("stranger"), &stand_in.address, &stranger).expect("a profile");
    let ended = fettle(stand_in.folder.path(), &["--profile", "stranger", "host", "list"]).expect(7);
    assert!(ended.err.contains("is not the control plane of this profile"), "{}", ended.err);
    assert_eq!(stand_in.asked(), []);
}

#[test]
fn a_control_plane_that_is_away_is_unavailable() {
    let StandIn { folder, address, .. } = StandIn::start(no_hosts);
    let ended = fettle(folder.path(), &["--profile", "profile", "status"]).expect(9);
    assert!(ended.err.contains(&format!("the control plane at {address} cannot be reached")), "{}", ended.err);
    assert!(ended.err.contains("check the address in profile.toml"), "{}", ended.err);
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    let stand_in = StandIn::start(no_hosts);
    let key = stand_in.path("profile/current/identity.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("opened to others");
    let ended = stand_in.fettle(&["host", "list"]).expect(4);
    assert!(ended.err.contains("is open to others (mode 0644); run: chmod 600"), "{}", ended.err);
    assert_eq!(stand_in.asked(), []);
}
