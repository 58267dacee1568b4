//! Tests of `agent.toml`: the annotated example, and every kind of mistake with its words.

use super::*;
use fettle_model::evidence::FaultKind;
use fettle_model::host::DrillConsent;
use fettle_model::name::{CheckName, ServiceName};
use fettle_model::permit::Target;
use fettle_model::playbook::{Action, Manifest};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

const EXAMPLE: &str = include_str!("../../../deploy/systemd/agent.toml.example");

const HEAD: &str = r#"[host]
name = "web-1"
environment = "staging"
state-dir = "/var/lib/fettle-agent"
[control-plane]
address = "fettle.example.org:7443"
enrol-address = "fettle.example.org:7444"
ca-pin = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
trust-domain = "fettle.example.org"
"#;

fn parse(text: &str) -> Result<AgentConfig, ConfigError> {
    AgentConfig::parse(Path::new("agent.toml"), text)
}

/// The complaints about [`HEAD`] (nine lines) with `rest` after it.
fn complaints(rest: &str) -> String {
    parse(&format!("{HEAD}{rest}")).expect_err("it has a mistake").to_string()
}

/// The complaints about [`HEAD`] with one line replaced.
fn complaints_with(from: &str, to: &str) -> String {
    assert!(HEAD.contains(from), "{from}");
    parse(&HEAD.replace(from, to)).expect_err("it has a mistake").to_string()
}

fn service(name: &str) -> ServiceName {
    name.parse().expect("a service")
}

fn unit(unit: &str) -> Target {
    Target::SystemdUnit { unit: unit.to_owned() }
}

#[test]
fn the_annotated_example_parses_to_what_it_says() {
    let config = parse(EXAMPLE).expect("the example has no mistake");
    assert_eq!(config.host.drills, DrillConsent::Allowed);
    assert_eq!(config.control_plane.address.to_string(), "fettle.example.org:7443");
    assert_eq!(config.publishers.len(), 1);
    let worker = config.services.get(&service("worker")).expect("worker");
    assert!(matches!(&worker.manager, Manager::Command(commands) if commands.reload.is_some()));
    assert_eq!(worker.releases.as_ref().map(|releases| releases.history), Some(10));
    let flag = config.flag("/srv/flags/worker.json", "new-parser").expect("the flag");
    assert_eq!(flag.longest_hold, Duration::from_hours(4));
    let web = config.services.get(&service("web")).expect("web");
    assert_eq!(web.host_values.get("address").map(String::as_str), Some("127.0.0.1:8080"));
    assert_eq!(config.bindings.len(), 1);
    assert_eq!(config.bindings.first().map(|binding| binding.targets.len()), Some(2));
    assert_eq!(config.commands.len(), 1);
}

#[test]
fn a_fault_by_name_is_allowed_for_its_service_only_and_within_bounds() {
    let config = parse(EXAMPLE).expect("the example has no mistake");
    let health = |name: &str| Target::Health {
        check: fettle_model::check::CheckRef { service: service(name), check: "http".parse().expect("a name") },
    };
    assert_eq!(config.consents_to(FaultKind::FillDisk, &health("worker")), DrillConsent::Allowed);
    assert_eq!(config.consents_to(FaultKind::FillDisk, &health("web")), DrillConsent::Refused);
    let staging = HEAD.replace("state-dir", "drills = \"allowed\"\nstate-dir");
    let disk = "[service.web]\nmanager = \"none\"\n[service.web.faults.fill-disk]\nfolder = \"/srv\"\n";
    let text = format!("{staging}{disk}at-most-mib = 0\nkeep-free-mib = 63\nlongest = \"31m\"\n");
    let mistakes = parse(&text).expect_err("three of them").to_string();
    for words in ["at-most-mib must be 1 to", "keep-free-mib must be 64 to", "longest must be 1s to 30m"] {
        assert!(mistakes.contains(words), "{mistakes}");
    }
    let slow = "[service.web]\nmanager = \"none\"\n[service.web.faults]\n";
    let text = format!("{staging}{slow}slow-responses = {{ stopped = \"61s\", running = \"1ms\" }}\n");
    let mistakes = parse(&text).expect_err("two of them").to_string();
    for words in ["slow-responses.stopped must be 10ms to 1m", "slow-responses.running must be 10ms to 10s"] {
        assert!(mistakes.contains(words), "{mistakes}");
    }
    let refused = complaints(&format!("{disk}at-most-mib = 1\nkeep-free-mib = 64\n"));
    assert!(refused.contains("drills are not allowed on this host"), "{refused}");
}

#[test]
fn the_ceiling_allows_what_it_lists_on_the_listed_service_and_nothing_else() {
    let config = parse(EXAMPLE).expect("the example has no mistake");
    let nginx = unit("nginx.service");
    let worker = Target::CommandService { name: "worker".to_owned() };
    let releases = Target::ReleaseRoot { root: "/srv/worker".to_owned() };
    for (target, action, allowed) in [
        (&nginx, Action::Restart, true),
        (&nginx, Action::Reload, true),
        (&nginx, Action::Stop, false),
        (&worker, Action::Start, true),
        (&worker, Action::Reload, false),
        (&releases, Action::Activate, true),
        (&releases, Action::Restart, false),
        (&unit("sshd.service"), Action::Restart, false),
    ] {
        assert_eq!(config.allows(target, action), allowed, "{target:?} {action:?}");
    }
    let without = parse(&format!("{HEAD}[service.web]\nmanager = \"systemd\"\nunit = \"nginx.service\"\n"));
    let without = without.expect("a configuration");
    assert!(!without.allows(&nginx, Action::Restart), "nothing is allowed unless listed");
    assert_eq!(without.host.drills, DrillConsent::Refused);
}

const MANIFEST: &str = r#"
manifest = 1
[playbook]
name = "restart-service"
version = "1.0.0"
summary = "x"
owners = ["sre"]
host = "fettle:host@0.1.0"
[[grant]]
label = "service"
kind = "service"
actions = ["restart"]
why = "x"
[[grant]]
label = "health"
kind = "health"
why = "x"
[[grant]]
label = "facts"
kind = "facts"
why = "x"
[limits]
actions = 1
duration = "1m"
[confirm]
health = "health"
stable = "1s"
within = "10s"
[on-failure]
undo = "automatic"
"#;

#[test]
fn labels_get_what_the_owner_bound_and_else_what_is_unambiguous() {
    let config = parse(EXAMPLE).expect("the example has no mistake");
    let manifest = Manifest::from_toml(MANIFEST).expect("a manifest");
    let check: CheckName = "http".parse().expect("a check");
    let of = |name: &str, check| {
        let bound = config.bound_targets(&manifest, &service(name), check)?;
        Ok(bound.into_iter().map(|bound| serde_json::to_string(&bound.target).expect("JSON")).collect::<Vec<_>>())
    };
    let health = |service: &str, check: &str| {
        format!(r#"{{"kind":"health","check":{{"service":"{service}","check":"{check}"}}}}"#)
    };
    let facts = r#"{"kind":"facts"}"#.to_owned();
    let nginx = r#"{"kind":"systemd-unit","unit":"nginx.service"}"#.to_owned();
    assert_eq!(of("web", Some(&check)), Ok(vec![nginx, health("web", "http"), facts.clone()]));
    let worker = r#"{"kind":"command-service","name":"worker"}"#.to_owned();
    // The owner bound another check than the one that the run answers.
    assert_eq!(of("worker", Some(&check)), Ok(vec![worker, health("worker", "answers"), facts]));
    let unbound = |label: &str, name: &str| {
        Err(Unbound::NothingFits {
            playbook: manifest.playbook.name.clone(),
            service: service(name),
            label: label.parse().expect("a label"),
        })
    };
    assert_eq!(of("web", None), unbound("health", "web"));
    assert_eq!(of("database", Some(&check)), unbound("service", "database"));
    assert_eq!(of("nobody", Some(&check)), unbound("service", "nobody"));
}

#[test]
fn a_label_bound_to_another_kind_of_thing_is_not_used() {
    let text = EXAMPLE.replacen("to = \"service\"", "to = \"releases\"", 1);
    let config = parse(&text).expect("a configuration");
    let manifest = Manifest::from_toml(MANIFEST).expect("a manifest");
    let check: CheckName = "http".parse().expect("a check");
    let bound = config.bound_targets(&manifest, &service("worker"), Some(&check));
    assert!(matches!(bound, Err(Unbound::OtherKind { .. })), "{bound:?}");
}

#[test]
fn one_of_two_flags_is_not_chosen_by_chance() {
    let text = format!(
        "{HEAD}[service.web]\nmanager = \"none\"\n[service.web.flags]\na = {{ file = \"/f\", key = \"a\" }}\n\
         b = {{ file = \"/f\", key = \"b\" }}\n"
    );
    let one = text.replace("b = { file = \"/f\", key = \"b\" }\n", "");
    let grant = MANIFEST.replace(
        "label = \"service\"\nkind = \"service\"\nactions = [\"restart\"]",
        "label = \"flag\"\nkind = \"flag\"",
    );
    let manifest = Manifest::from_toml(&grant).expect("a manifest");
    let check: CheckName = "http".parse().expect("a check");
    let bound = |text: &str| {
        let config = parse(text).expect("a configuration");
        config.bound_targets(&manifest, &service("web"), Some(&check)).is_ok()
    };
    assert!(bound(&one));
    assert!(!bound(&text));
}

#[test]
fn unknown_and_missing_keys_are_named_with_their_line() {
    insta::assert_snapshot!(complaints("[hosts]\n"), @r#"agent.toml:10: unknown field `hosts`, expected one of `host`, `control-plane`, `publisher`, `service`, `bind`, `ceiling`, `commands`; remedy: compare it with agent.toml.example, which shows every key"#);
    insta::assert_snapshot!(complaints("[service.web]\nmanager = \"none\"\ncolour = \"red\"\n"), @r#"agent.toml:12: unknown field `colour`, expected one of `manager`, `unit`, `start`, `stop`, `reload`, `status`, `pid-file`, `log-file`, `releases`, `flags`, `host-values`, `faults`; remedy: compare it with agent.toml.example, which shows every key"#);
    insta::assert_snapshot!(complaints("[service.web]\nunit = \"a.service\"\n"), @r#"agent.toml:10: missing field `manager`; remedy: compare it with agent.toml.example, which shows every key"#);
    insta::assert_snapshot!(complaints_with("name = \"web-1\"\n", ""), @r#"agent.toml:1: missing field `name`; remedy: compare it with agent.toml.example, which shows every key"#);
    insta::assert_snapshot!(complaints("[service.web\n"), @r#"agent.toml:10: unclosed table, expected `]`; remedy: compare it with agent.toml.example, which shows every key"#);
}

#[test]
fn values_of_the_wrong_form_are_named_with_their_line() {
    insta::assert_snapshot!(complaints_with("\"web-1\"", "\"Web 1\""), @r#"agent.toml:2: a host's name must have 1 to 64 characters from a-z, 0-9, '-', '_' and '.', and start and end with a letter or digit, not "Web 1"; remedy: compare it with agent.toml.example, which shows every key"#);
    insta::assert_snapshot!(complaints_with("\"/var/lib/fettle-agent\"", "\"var/lib\""), @r#"agent.toml:4: host.state-dir must be an absolute path, not "var/lib"; remedy: write the whole path, from / on"#);
    insta::assert_snapshot!(complaints_with("\"/var/lib/fettle-agent\"", "\"/var/../etc\""), @r#"agent.toml:4: host.state-dir must have no empty, "." or ".." segment, but is "/var/../etc"; remedy: write the path as `realpath` prints it"#);
    insta::assert_snapshot!(complaints_with("sha256:9f", "sha1:9f"), @r#"agent.toml:8: a digest must be 'sha256:' and 64 lower-case hexadecimal digits, not "sha1:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"; remedy: compare it with agent.toml.example, which shows every key"#);
    insta::assert_snapshot!(complaints_with("\"fettle.example.org:7443\"", "\"https://fettle.example.org\""), @r#"agent.toml:6: control-plane.address must be host:port, not "https://fettle.example.org"; remedy: write a name or address and a port, such as fettle.example.org:7443, without a scheme"#);
    insta::assert_snapshot!(complaints("log-key = \"x+y+z\"\npermit-key = \"short\"\n"), @r#"
agent.toml:10: control-plane.log-key must be a verifier key, name+hash+key, not "x+y+z"; remedy: copy the log's verifier key as the control plane shows it
agent.toml:11: control-plane.permit-key must be a public key, 32 bytes in base64; remedy: copy the public key as its owner publishes it, 44 characters
"#);
    insta::assert_snapshot!(complaints("[service.web]\nmanager = \"docker\"\n"), @r#"agent.toml:11: unknown variant `docker`, expected one of `systemd`, `command`, `none`; remedy: compare it with agent.toml.example, which shows every key"#);
    insta::assert_snapshot!(complaints("[commands.disk]\nargv = [\"check_disk\", \"-w\"]\n"), @r#"agent.toml:11: argv must start with the absolute path of a program: it must be an absolute path, not "check_disk"; remedy: write the program's whole path; no shell and no PATH search finds it"#);
    insta::assert_snapshot!(complaints("[commands.disk]\nargv = []\n"), @r#"agent.toml:11: argv must name a program; remedy: write ["/path/of/program", "argument"]"#);
}

#[test]
fn drills_outside_of_staging_have_no_effect_and_are_refused() {
    let text = complaints_with("\"staging\"", "\"production\"\ndrills = \"allowed\"");
    insta::assert_snapshot!(text, @r#"agent.toml:4: drills = "allowed" has no effect in the environment production; remedy: remove the line: faults are injected in staging only"#);
}

fn complaint_about_unit(unit: &str) -> String {
    complaints(&format!("[service.web]\nmanager = \"systemd\"\nunit = {unit:?}\n"))
}

#[test]
fn units_are_full_names_and_no_tricks() {
    insta::assert_snapshot!(complaint_about_unit("nginx"), @r#"agent.toml:12: unit must be the full name of a service unit, not "nginx"; remedy: write the name as `systemctl show -P Id NAME` prints it, with .service at its end"#);
    insta::assert_snapshot!(complaint_about_unit("../x.service"), @r#"agent.toml:12: unit must be a unit's name, not a path or pattern, but is "../x.service"; remedy: write the name as `systemctl show -P Id NAME` prints it"#);
    insta::assert_snapshot!(complaint_about_unit("-.mount"), @r#"agent.toml:12: unit must be the full name of a service unit, not "-.mount"; remedy: write the name as `systemctl show -P Id NAME` prints it, with .service at its end"#);
    insta::assert_snapshot!(complaint_about_unit("app@.service"), @r#"agent.toml:12: unit must not be the template "app@.service"; remedy: name one instance, such as app@1.service"#);
    insta::assert_snapshot!(complaint_about_unit("a*.service"), @r#"agent.toml:12: unit must be a unit's name, not a path or pattern, but is "a*.service"; remedy: write the name as `systemctl show -P Id NAME` prints it"#);
    insta::assert_snapshot!(complaint_about_unit("fettle-agent.service"), @r#"agent.toml:12: unit must not be the agent's own unit; remedy: leave the agent to systemd's Restart= setting"#);
    for wrong in
        ["-a.service", ".service", "a b.service", "a\n.service", "a@b@c.service", "a/b.service", "", "@a.service"]
    {
        assert!(wrong.parse::<UnitName>().is_err(), "{wrong:?}");
    }
    for right in ["nginx.service", "postgresql@15-main.service", "a\\x2db.service", "a.b:c_d.service"] {
        assert!(right.parse::<UnitName>().is_ok(), "{right:?}");
    }
    assert!(format!("{}.service", "a".repeat(250)).parse::<UnitName>().is_err());
}

#[test]
fn a_service_says_what_its_manager_needs_and_nothing_else() {
    insta::assert_snapshot!(complaints("[service.web]\nmanager = \"systemd\"\n"), @r#"agent.toml:10: unit is missing, which manager = "systemd" needs; remedy: add unit = "nginx.service""#);
    insta::assert_snapshot!(complaints("[service.web]\nmanager = \"command\"\n"), @r#"
agent.toml:10: start is missing, which manager = "command" needs; remedy: add start = ["/path/of/program", "start"]
agent.toml:10: stop is missing, which manager = "command" needs; remedy: add stop = ["/path/of/program", "stop"]
agent.toml:10: pid-file is missing, which manager = "command" needs; remedy: add pid-file = "/run/app.pid": without it nothing tells one start from the next
"#);
    insta::assert_snapshot!(
        complaints("[service.web]\nmanager = \"none\"\nunit = \"a.service\"\npid-file = \"/run/a\"\n"), @r#"
agent.toml:12: unit has no effect under manager = "none"; remedy: remove it, or write manager = "systemd"
agent.toml:13: pid-file has no effect under manager = "none"; remedy: remove it, or write manager = "command"
"#);
    insta::assert_snapshot!(
        complaints("[service.web]\nmanager = \"none\"\nreleases = { root = \"/srv\", history = 0 }\n"), @r#"agent.toml:12: releases.history must be 1 to 20, not 0; remedy: choose how many releases a playbook may go back to"#);
    insta::assert_snapshot!(
        complaints("[service.web]\nmanager = \"none\"\n[service.web.flags.a]\nfile = \"f\"\nkey = \"\"\nlongest-hold = \"8d\"\n"),
        @r#"
agent.toml:13: file must be an absolute path, not "f"; remedy: write the whole path, from / on
agent.toml:14: key must be the flag's name in the file; remedy: write it as it stands under "flags" in the file
agent.toml:15: longest-hold must be 1s to 7d, not 8d; remedy: a change that is to stay longer is for a person to make
"#);
    insta::assert_snapshot!(
        complaints("[service.web]\nmanager = \"none\"\n[service.web.host-values]\n\"A b\" = \"x\"\n"), @r#"agent.toml:13: the host value "A b" cannot be referred to; remedy: use a-z, 0-9 and '-' only: a check refers to it as {host.name}"#);
}

#[test]
fn one_thing_belongs_to_one_service() {
    insta::assert_snapshot!(
        complaints("[service.a]\nmanager = \"systemd\"\nunit = \"x.service\"\n[service.b]\nmanager = \"systemd\"\nunit = \"x.service\"\n"),
        @r#"agent.toml:13: service b has the same unit, releases or flag as a; remedy: give each thing to one service only: its ceiling would not be clear"#);
}

#[test]
fn bindings_name_things_that_are_there_and_each_label_once() {
    let web = "[service.web]\nmanager = \"none\"\n";
    let bind = |service: &str, to: &str| {
        format!("[[bind]]\nplaybook = \"p\"\nservice = \"{service}\"\nlabel = \"l\"\nto = {to}\n")
    };
    insta::assert_snapshot!(complaints(&format!("{web}{}", bind("wbe", "\"service\""))), @r#"agent.toml:14: there is no service wbe; remedy: add [service.wbe], or correct the name"#);
    insta::assert_snapshot!(complaints(&format!("{web}{}", bind("web", "\"service\""))), @r#"agent.toml:16: nothing manages the service web, so nothing can be done to it; remedy: give it manager = "systemd" or "command""#);
    insta::assert_snapshot!(complaints(&format!("{web}{}", bind("web", "\"releases\""))), @r#"agent.toml:16: the service web has no releases; remedy: add releases = { root = "/path" } to it"#);
    insta::assert_snapshot!(complaints(&format!("{web}{}", bind("web", "{ flag = \"f\" }"))), @r#"agent.toml:16: the service web has no flag f; remedy: add [service.web.flags.f]"#);
    insta::assert_snapshot!(complaints(&format!("{web}{}", bind("web", "\"everything\""))), @r#"agent.toml:16: unknown variant `everything`, expected one of `service`, `releases`, `facts`, `flag`, `check`; remedy: compare it with agent.toml.example, which shows every key"#);
    let twice = format!("{web}{}{}", bind("web", "\"facts\""), bind("web", "{ check = \"c\" }"));
    insta::assert_snapshot!(complaints(&twice), @r#"agent.toml:20: the label l of playbook p is bound twice for web; remedy: remove one of the two tables: a label stands for one thing"#);
}

#[test]
fn a_ceiling_that_allows_nothing_does_not_parse() {
    let web = "[service.web]\nmanager = \"systemd\"\nunit = \"a.service\"\n";
    insta::assert_snapshot!(complaints("[ceiling.web]\nactions = [\"restart\"]\n"), @r#"agent.toml:10: there is no service web; remedy: add [service.web], or correct the name"#);
    insta::assert_snapshot!(complaints(&format!("{web}[ceiling.web]\nactions = [\"activate\"]\n")), @r#"agent.toml:14: the action activate allows nothing: web has no thing for it; remedy: remove it, or add the unit, reload command, releases or flag that it is for"#);
    insta::assert_snapshot!(complaints(&format!("{web}[ceiling.web]\nactions = [\"destroy\"]\n")), @r#"agent.toml:14: unknown variant `destroy`, expected one of `start`, `stop`, `restart`, `reload`, `activate`, `set`; remedy: compare it with agent.toml.example, which shows every key"#);
    let command = "[service.web]\nmanager = \"command\"\nstart = [\"/a\"]\nstop = [\"/b\"]\npid-file = \"/run/a\"\n";
    insta::assert_snapshot!(complaints(&format!("{command}[ceiling.web]\nactions = [\"reload\"]\n")), @r#"agent.toml:16: the action reload allows nothing: web has no thing for it; remedy: remove it, or add the unit, reload command, releases or flag that it is for"#);
}

#[test]
fn all_mistakes_are_shown_at_once_by_line() {
    insta::assert_snapshot!(
        complaints("[service.web]\nmanager = \"systemd\"\nunit = \"nginx\"\n[ceiling.web]\nactions = [\"start\"]\n[[publisher]]\nname = \"p\"\nkey = \"k\"\n"), @r#"
agent.toml:12: unit must be the full name of a service unit, not "nginx"; remedy: write the name as `systemctl show -P Id NAME` prints it, with .service at its end
agent.toml:17: publisher.key must be a public key, 32 bytes in base64; remedy: copy the public key as its owner publishes it, 44 characters
"#);
}

#[test]
fn a_publisher_key_is_listed_once() {
    let publisher = "[[publisher]]\nname = \"p\"\nkey = \"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"\n";
    insta::assert_snapshot!(complaints(&format!("{publisher}{publisher}")), @r#"agent.toml:15: the key of publisher p is listed twice; remedy: remove one of the two tables"#);
}

#[test]
fn a_file_that_others_may_write_is_not_believed() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("agent.toml");
    std::fs::write(&file, EXAMPLE).expect("a file");
    for (mode, believed) in [(0o600, true), (0o644, true), (0o664, false), (0o646, false)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("a mode");
        assert_eq!(load(&file).is_ok(), believed, "{mode:o}");
    }
    let missing = load(&dir.path().join("none"));
    assert!(matches!(missing, Err(ConfigError::Unreadable { .. })));
    std::fs::write(&file, "#".repeat(256 * 1024 + 1)).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    assert!(matches!(load(&file), Err(ConfigError::TooLarge { .. })));
}

#[test]
fn a_secret_that_others_may_read_is_not_used_and_none_is_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("token");
    std::fs::write(&file, "hunter2\n").expect("a file");
    let path: AbsolutePath = file.to_str().expect("text").parse().expect("a path");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    let secret = read_secret(&path).expect("a secret");
    assert_eq!(secret.expose(), "hunter2");
    assert!(!format!("{secret:?}").contains("hunter2"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("a mode");
    let error = read_secret(&path).expect_err("exposed");
    assert!(matches!(&error, ConfigError::Exposed { .. }));
    assert!(!error.to_string().contains("hunter2"));
}
