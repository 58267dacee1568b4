//! `fettle apply`: everything wrong is told at once, names become versions, nothing is lost in between.

use crate::fettle::fettle;
use crate::stand_in::{Asked, Said, StandIn};
use fettle_model::configuration::Declared;
use fettle_model::counter::{ConfigurationGeneration, LogPosition};
use fettle_model::digest::PlaybookDigest;
use fettle_model::playbook::Manifest;
use fettle_proto::operator::{
    Command, CommandReply, PlaybookRow, Query, QueryReply, RolloutProgress, RolloutStanding, RolloutView, WaitsFor,
};

const SERVICE: &str = r#"
[[service]]
name = "web"
owner = "shop"
tier = 1
hosts = { environments = ["staging"] }

[[service.check]]
name = "http"
kind = "tcp"
address = "{host.address}"
"#;

const REMEDIATION: &str = r#"
[[remediation]]
name = "restart-web"
service = "web"
check = "http"
playbook = "restart-service"
modes = { staging = "auto" }
"#;

fn row(package: &[u8]) -> PlaybookRow {
    PlaybookRow {
        digest: PlaybookDigest::of(package),
        manifest: Manifest::from_toml(include_str!("../../../playbooks/restart-service/playbook.toml"))
            .expect("a sound manifest"),
        publisher: "fettle".parse().expect("a name"),
        admitted: fettle_model::counter::LogPosition(7),
        scenarios: None,
        imports: Vec::new(),
        evidence: Vec::new(),
    }
}

/// Generation 5 on its way.
fn begun() -> RolloutView {
    let rollout = RolloutProgress {
        previous: ConfigurationGeneration(4),
        services: Vec::new(),
        remediations: Vec::new(),
        rings: Vec::new(),
        standing: RolloutStanding::Running { waits: WaitsFor::Connection },
    };
    RolloutView { generation: ConfigurationGeneration(5), rollout: Some(Box::new(rollout)), rejections: Vec::new() }
}

/// A control plane that has this configuration, at generation 4, and two versions of one playbook.
fn having(declared: Declared) -> StandIn {
    StandIn::start(move |asked| match asked {
        Asked::Query(Query::Configuration) => Said::Answer(QueryReply::Configuration {
            generation: ConfigurationGeneration(4),
            declared: Box::new(declared.clone()),
        }),
        Asked::Query(Query::Playbooks) => {
            Said::Answer(QueryReply::Playbooks { playbooks: vec![row(b"newest"), row(b"older")] })
        }
        Asked::Query(Query::Rollout) => Said::Answer(QueryReply::Rollout { rollout: Box::new(begun()) }),
        _ => Said::Reply(CommandReply::Done { position: LogPosition(77) }),
    })
}

fn commands(stand_in: &StandIn) -> Vec<Command> {
    let asked = stand_in.asked().into_iter();
    asked.filter_map(|asked| if let Asked::Command(command) = asked { Some(command) } else { None }).collect()
}

#[test]
fn a_configuration_is_set_whole_with_exact_versions_and_the_generation_that_was_seen() {
    let stand_in = having(Declared::default());
    stand_in.write("web.toml", SERVICE);
    stand_in.write("remediations.toml", REMEDIATION);
    let ended = stand_in.fettle(&["apply", "web.toml", "remediations.toml"]).expect(0);
    let told = "+ service web\n+ remediation restart-web\nthe configuration 5 is set; log position 77\n\
                it is rolled out ring by ring, and hosts beyond keep 4: fettle rollout show\n";
    assert_eq!(ended.out, told);
    let commands = commands(&stand_in);
    let [Command::SetConfiguration { declared, replaces }] = &commands[..] else {
        panic!("{commands:?}");
    };
    assert_eq!((declared.services.len(), *replaces), (1, ConfigurationGeneration(4)));
    assert_eq!(declared.remediations[0].playbook.digest, PlaybookDigest::of(b"newest"));
    assert_eq!(declared.remediations[0].parameters.0["start-within"], 30_000, "defaults are filled in");

    // Applied again, it changes nothing and says so.
    let same = having((**declared).clone());
    same.write("all.toml", format!("{SERVICE}{REMEDIATION}"));
    let ended = same.fettle(&["apply", "all.toml", "--json"]).expect(0);
    assert_eq!(ended.json::<serde_json::Value>()["outcome"], "unchanged");
    assert_eq!(self::commands(&same), []);
}

#[test]
fn a_check_says_what_would_change_and_sends_nothing() {
    let stand_in = having(Declared::default());
    stand_in.write("all.toml", format!("{SERVICE}{REMEDIATION}"));
    let ended = stand_in.fettle(&["apply", "--check", "all.toml"]).expect(0);
    assert_eq!(ended.out, "+ service web\n+ remediation restart-web\nnothing was changed (--check)\n");
    assert_eq!(commands(&stand_in), []);
}

#[test]
fn everything_that_is_wrong_is_told_with_its_place_and_nothing_is_asked() {
    let stand_in = having(Declared::default());
    stand_in.write("web.toml", SERVICE.replace("environments = [\"staging\"]", "environments = []"));
    stand_in.write("remediations.toml", REMEDIATION.replace("check = \"http\"", "check = \"https\""));
    let ended = stand_in.fettle(&["apply", "web.toml", "remediations.toml"]).expect(4);
    assert!(ended.err.contains("web.toml:6: service web: a selector must name"), "{}", ended.err);
    assert!(ended.err.contains("remediations.toml:5: remediation restart-web names the check https"), "{}", ended.err);
    assert_eq!(ended.err.matches("  remedy: ").count(), 2, "{}", ended.err);
    assert_eq!(stand_in.asked(), []);
}

#[test]
fn what_does_not_parse_is_told_with_file_and_line() {
    let stand_in = having(Declared::default());
    stand_in.write("a.toml", "[[service]]\nname = 1\n");
    stand_in.write("b.toml", SERVICE.replace("owner", "ovner"));
    let ended = stand_in.fettle(&["apply", "a.toml", "b.toml"]).expect(4);
    assert!(ended.err.contains("\na.toml:2: "), "{}", ended.err);
    assert!(ended.err.contains("\nb.toml:4: unknown field `ovner`"), "{}", ended.err);
    assert_eq!(stand_in.asked(), []);
}

#[test]
fn a_playbook_that_is_not_admitted_and_a_wrong_parameter_are_told_with_their_line() {
    let stand_in = having(Declared::default());
    stand_in.write("a.toml", format!("{SERVICE}{}", REMEDIATION.replace("restart-service", "restart")));
    let ended = stand_in.fettle(&["apply", "a.toml"]).expect(4);
    assert!(ended.err.contains("a.toml:17: remediation restart-web names the playbook restart,"), "{}", ended.err);
    stand_in.write("b.toml", format!("{SERVICE}{REMEDIATION}parameters = {{ max-restarts = 0 }}\n"));
    let ended = stand_in.fettle(&["apply", "b.toml"]).expect(4);
    assert!(ended.err.contains("b.toml:19: remediation restart-web: the parameter max-restarts"), "{}", ended.err);
    assert_eq!(commands(&stand_in), []);
}

#[test]
fn without_a_profile_a_check_looks_at_the_files_and_says_what_it_did_not_look_at() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("all.toml"), format!("{SERVICE}{REMEDIATION}")).expect("written");
    let ended = fettle(folder.path(), &["apply", "--check", "all.toml"]).expect(0);
    assert!(ended.out.starts_with("the files are sound: 1 service, 1 remediation; playbooks"), "{}", ended.out);
    fettle(folder.path(), &["apply", "all.toml"]).expect(5);
    fettle(folder.path(), &["apply", "--check", "nowhere.toml"]).expect(5);
}
