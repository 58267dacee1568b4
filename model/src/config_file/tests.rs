//! What people get to read when a file is wrong, and what a sound file becomes.

use super::*;
use crate::breaker_limits::BreakerLimits;
use crate::check::{NoAnswer, Probe};
use crate::configuration::Declared;
use crate::guard::Amount;
use crate::offline::{DEFAULT_LASTS, Units};
use crate::remediation::Mode;

const SERVICE: &str = r#"[[service]]
name = "web"
owner = "team-web"
tier = 1
hosts = { environments = ["staging", "production"] }

[[service.check]]
name = "http"
kind = "http"
url = "http://{host.address}/healthz"
interval = "1s"
timeout = "500ms"
fail-after = 1
"#;

const REMEDIATION: &str = r#"[[remediation]]
name = "restart-web"
service = "web"
check = "http"
playbook = "restart-service"
modes = { production = "auto" }
guard = { max-in-flight = "50%", cooldown = "1m" }
"#;

fn manifest() -> KnownPlaybook {
    let manifest = Manifest::from_toml(
        r#"manifest = 1
[playbook]
name = "restart-service"
version = "1.0.0"
summary = "Restart."
owners = ["team-web"]
host = "fettle:host@0.1.0"
[parameters.max-restarts]
kind = "integer"
default = 3
minimum = 1
maximum = 10
summary = "Give up above this."
[[grant]]
label = "health"
kind = "health"
why = "To confirm."
[limits]
actions = 1
duration = "1m"
[confirm]
health = "health"
stable = "1s"
within = "10s"
[on-failure]
undo = "automatic"
"#,
    )
    .expect("a sound manifest");
    KnownPlaybook { digest: PlaybookDigest::of(b"package"), manifest }
}

fn outcome(text: &str) -> String {
    let known = BTreeMap::from([("restart-service".parse().expect("a name"), manifest())]);
    match parse(&[Source { file: "web.toml", text }]).and_then(|parsed| parsed.resolve(&known)) {
        Ok(_) => "sound".to_owned(),
        Err(found) => found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(outcome(text), expected);
}

/// The sound files with one line replaced.
fn with(line: &str, replacement: &str) -> String {
    let whole = format!("{SERVICE}{REMEDIATION}");
    assert!(whole.contains(line), "{line:?} is not in the files");
    whole.replace(line, replacement)
}

#[test]
fn a_sound_file_becomes_services_and_remediations_with_defaults_filled_in() {
    let text = format!("{SERVICE}{REMEDIATION}");
    let known = BTreeMap::from([("restart-service".parse().expect("a name"), manifest())]);
    let parsed = parse(&[Source { file: "web.toml", text: &text }]).expect("it parses");
    let Declared { services, remediations, breakers, freezes, schedules, rollout, promotion } =
        parsed.resolve(&known).expect("it resolves");
    assert_eq!(rollout, RolloutLimits::default(), "without a table the defaults are on");
    assert_eq!(promotion, crate::promotion::PromotionLimits::default());
    assert_eq!((freezes, schedules), (Vec::new(), Vec::new()));
    assert_eq!(breakers, BreakerLimits::default(), "limits are on where nothing is said");
    assert!(matches!(services[0].checks[0].probe, Probe::Http { .. }));
    assert_eq!(services[0].checks[0].recover_after, 2);
    assert_eq!(remediations[0].parameters.canonical_text(), r#"{"max-restarts":3}"#);
    assert_eq!(remediations[0].guard.max_in_flight, Amount::Percent(50));
    assert_eq!(remediations[0].guard.min_healthy, Amount::Percent(50));
    assert_eq!(remediations[0].mode_in(&"production".parse().expect("a name")), Mode::Auto);
    assert_eq!(remediations[0].mode_in(&"staging".parse().expect("a name")), Mode::Observe);
}

#[test]
fn an_http_check_may_leave_silence_to_another_check() {
    let parsed = |text: &str| {
        parse(&[Source { file: "web.toml", text }]).map(|parsed| parsed.services[0].checks[0].probe.clone())
    };
    let said = |probe: Result<Probe, _>| match probe {
        Ok(Probe::Http { no_answer, .. }) => Some(no_answer),
        Ok(_) | Err::<_, Vec<Diagnostic>>(_) => None,
    };
    assert_eq!(said(parsed(SERVICE)), Some(NoAnswer::Critical));
    assert_eq!(said(parsed(&format!("{SERVICE}no-answer = \"unknown\"\n"))), Some(NoAnswer::Unknown));
    assert_eq!(said(parsed(&format!("{SERVICE}no-answer = \"passing\"\n"))), None, "silence is never health");
}

#[test]
fn text_that_is_no_toml_is_shown_with_its_line() {
    let found = outcome("[[service]]\nname = \n");
    assert!(found.starts_with("web.toml:2: "), "{found}");
}

#[test]
fn a_freeze_says_what_is_wrong_with_it_and_where() {
    const FREEZE: &str = "[[freeze]]
name = \"nights\"
scope = \"service:web\"
time-zone = \"Europe/Berlin\"
default = \"closed\"
why = \"they sleep\"
[[freeze.window]]
days = [\"mon\"]
from = \"22:00\"
to = \"06:00\"
";
    let whole = |freeze: &str| format!("{freeze}{SERVICE}");
    assert!(parse(&[Source { file: "web.toml", text: &whole(FREEZE) }]).is_ok());
    for (line, wrong, complaint) in [
        ("service:web", "service:shop", "web.toml:3: freeze nights: no service is named shop"),
        ("service:web", "everything", "web.toml:3: freeze nights: a scope must be global"),
        ("Europe/Berlin", "Europe/Atlantis", "web.toml:4: a time zone must be one of the IANA database"),
        ("\"closed\"", "\"shut\"", "web.toml:5: unknown variant `shut`"),
        ("\"22:00\"", "\"22\"", "web.toml:7: freeze nights: a time of day must be HH:MM"),
        ("days = [\"mon\"]\n", "", "web.toml:7: freeze nights: a local time must be YYYY-MM-DDTHH:MM"),
        ("\"06:00\"", "\"22:00\"", "web.toml:2: freeze nights: a window from 22:00 to 22:00 is empty"),
        ("[\"mon\"]", "[\"mo\"]", "web.toml:8: unknown variant `mo`"),
    ] {
        let found = outcome(&whole(&FREEZE.replace(line, wrong)));
        assert!(found.starts_with(complaint), "{found}");
    }
    let without = FREEZE.split("[[freeze.window]]").next().expect("a first part");
    let found = outcome(&whole(without));
    assert!(found.starts_with("web.toml:2: freeze nights: a calendar without windows"), "{found}");
    let twice = outcome(&whole(&FREEZE.repeat(2)));
    assert!(twice.starts_with("web.toml:12: a second freeze is named nights"), "{twice}");
}

#[test]
fn a_schedule_says_what_is_wrong_with_it_and_where() {
    const SCHEDULE: &str = "[[schedule]]
name = \"weekly\"
remediation = \"restart-web\"
hosts = { environments = [\"staging\"] }
time-zone = \"Europe/Berlin\"
days = [\"mon\"]
at = \"03:00\"
";
    let whole = |schedule: &str| format!("{schedule}{SERVICE}{REMEDIATION}");
    let parsed = parse(&[Source { file: "web.toml", text: &whole(SCHEDULE) }]).expect("sound");
    let schedules: Vec<_> = parsed.schedules.iter().map(|it| (it.name.as_str(), it.drill)).collect();
    assert_eq!(schedules, [("weekly", 0)]);
    for (line, wrong, complaint) in [
        ("restart-web", "heal", "web.toml:3: schedule weekly names the remediation heal, which is not defined"),
        ("{ environments = [\"staging\"] }", "{}", "web.toml:4: schedule weekly: a selector must name"),
        ("Europe/Berlin", "Europe/Atlantis", "web.toml:5: a time zone must be one of the IANA database"),
        ("[\"mon\"]", "[]", "web.toml:6: schedule weekly: a weekly window without days"),
        ("03:00", "3", "web.toml:7: a time of day must be HH:MM"),
    ] {
        let found = outcome(&whole(&SCHEDULE.replace(line, wrong)));
        assert!(found.starts_with(complaint), "{found}");
    }
    let twice = outcome(&whole(&SCHEDULE.repeat(2)));
    assert!(twice.starts_with("web.toml:9: a second schedule is named weekly"), "{twice}");
}

#[test]
fn an_unknown_key_is_refused() {
    let found = outcome(&with("tier = 1", "tier = 1\nmaximum-unavailable = 3"));
    assert!(found.starts_with("web.toml:5: unknown field `maximum-unavailable`"), "{found}");
    assert!(found.ends_with("a key that is not enforced does not parse"), "{found}");
}

#[test]
fn a_budget_beyond_what_is_remembered_is_refused() {
    for (written, complaint) in [
        ("max-per-window = 10001", "web.toml:20: max-per-window is 10001, more than 10000"),
        ("max-irreversible = 10001", "web.toml:20: max-irreversible is 10001, more than 10000"),
        ("approvals = 0", "web.toml:20: approvals is 0, not 1 to 8"),
        ("approvals = 9", "web.toml:20: approvals is 9, not 1 to 8"),
        ("window = \"25h\"", "web.toml:20: window is not above 0 and at most 24h"),
        ("window = \"0s\"", "web.toml:20: window is not above 0 and at most 24h"),
    ] {
        let found = outcome(&with("cooldown = \"1m\"", written));
        assert_eq!(found.lines().next(), Some(complaint));
    }
    check(&with("cooldown = \"1m\"", "max-per-window = 10000, window = \"24h\""), "sound");
}

#[test]
fn an_empty_selector_is_an_error() {
    check(
        &with("{ environments = [\"staging\", \"production\"] }", "{ environments = [] }"),
        "web.toml:5: service web: a selector must name at least one environment or host: an empty one never means \"everything\"\n  \
         remedy: write hosts = { environments = [\"staging\"] } or hosts = { names = [\"web-1\"] }",
    );
}

#[test]
fn a_remediation_that_names_a_missing_check_says_which_there_are() {
    check(
        &with("check = \"http\"\n", "check = \"tcp\"\n"),
        "web.toml:17: remediation restart-web names the check tcp, which service web does not have\n  \
         remedy: define it, or name one of http",
    );
}

#[test]
fn a_remediation_that_names_a_missing_playbook_says_which_there_are() {
    check(
        &with("playbook = \"restart-service\"", "playbook = \"restart\""),
        "web.toml:18: remediation restart-web names the playbook restart, which is not admitted\n  \
         remedy: publish it with `fettle playbook publish`, or name one of restart-service",
    );
}

#[test]
fn where_no_playbook_is_admitted_the_remedy_is_to_publish_one() {
    let text = format!("{SERVICE}{REMEDIATION}");
    let parsed = parse(&[Source { file: "web.toml", text: &text }]).expect("sound files");
    let found = parsed.resolve(&BTreeMap::new()).expect_err("nothing is admitted");
    let remedies: Vec<_> = found.iter().map(|diagnostic| diagnostic.remedy.as_str()).collect();
    assert_eq!(remedies, ["publish it with `fettle playbook publish`"]);
}

#[test]
fn the_annotated_example_is_sound_and_shows_every_kind_of_check_and_every_key() {
    const EXAMPLE: &str = include_str!("../../../deploy/services.toml.example");
    let parsed = parse(&[Source { file: "services.toml.example", text: EXAMPLE }]).expect("a sound file");
    let manifest = KnownPlaybook { digest: PlaybookDigest::of(b"x"), manifest: manifest().manifest };
    let known = ["restart-service", "rollback-release", "disable-flag"]
        .map(|name| (name.parse().expect("a name"), manifest.clone()));
    let known = BTreeMap::from(known);
    let Declared { services, remediations, breakers, freezes, schedules, rollout, promotion } =
        parsed.resolve(&known).expect("sound remediations");
    assert_eq!(rollout, RolloutLimits::default(), "the example names the defaults");
    assert_eq!(promotion, crate::promotion::PromotionLimits::default(), "the example names the default");
    assert_eq!((freezes.len(), schedules.len()), (2, 1));
    assert_eq!(breakers, BreakerLimits::default(), "the example names the defaults");
    let kinds: BTreeSet<String> = services
        .iter()
        .flat_map(|service| &service.checks)
        .map(|check| serde_json::to_value(&check.probe).expect("JSON")["kind"].to_string())
        .collect();
    assert_eq!(kinds.len(), 7, "{kinds:?}");
    assert_eq!(remediations.len(), 2);
    // The keys that exist are those that the complaint about another one lists.
    for (table, keys) in [
        ("[[service]]", 5),
        ("[[service.check]]", 20),
        ("[[remediation]]", 10),
        ("[[remediation.then]]", 4),
        ("[remediation.guard]", 11),
        ("[remediation.offline]", 3),
        ("[breakers]", 10),
        ("[rollout]", 2),
        ("[promotion]", 1),
        ("[[freeze]]", 6),
        ("[[freeze.window]]", 3),
    ] {
        let typo = EXAMPLE.replacen(table, &format!("{table}\nno-such-key = 1"), 1);
        let found = parse(&[Source { file: "x", text: &typo }]).expect_err("no such key");
        let message = &found.first().expect("a complaint").message;
        let known: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
        assert_eq!(known.len(), keys, "{message}");
        for key in known {
            let shown = [
                format!("{key} = "),
                format!("[[service.{key}]]"),
                format!("[remediation.{key}]"),
                format!("[[remediation.{key}]]"),
            ];
            assert!(
                EXAMPLE.lines().any(|line| shown.iter().any(|start| line.starts_with(start))),
                "{key} of {table} is not in the example"
            );
        }
    }
}

#[test]
fn parameters_are_checked_against_the_manifest() {
    let text = with("check = \"http\"\n", "check = \"http\"\nparameters = { max-restarts = 11 }\n");
    check(
        &text,
        "web.toml:18: remediation restart-web: the parameter max-restarts must be a whole number from 1 to 10\n  \
         remedy: see `fettle playbook show restart-service`",
    );
}

#[test]
fn two_remediations_for_one_check_are_refused() {
    let second = REMEDIATION.replace("restart-web", "again");
    let found = outcome(&format!("{SERVICE}{REMEDIATION}{second}"));
    assert!(found.starts_with("web.toml:24: remediations restart-web and again both answer the check http"), "{found}");
}

#[test]
fn keys_of_another_kind_of_probe_and_missing_ones_are_named() {
    check(
        &with("url = \"http://{host.address}/healthz\"", "pid-file = \"/run/web.pid\""),
        "web.toml:9: check http: a http check needs the key url\n  remedy: add url = …\n\
         web.toml:10: check http: the key pid-file does not belong to a http check\n  \
         remedy: remove the key, or correct the kind",
    );
}

#[test]
fn bounds_are_kept() {
    for (line, replacement, part) in [
        ("interval = \"1s\"", "interval = \"1ms\"", "interval 1ms is below 100ms"),
        ("timeout = \"500ms\"", "timeout = \"5m\"", "timeout must be above zero and at most 1m"),
        ("fail-after = 1", "fail-after = 0", "fail-after and recover-after must be at least 1"),
        ("\"http://{host.address}/healthz\"", "\"{host.address}\"", "is no http:// or https:// address"),
        ("\"50%\"", "\"150%\"", "an amount must be"),
        ("\"1m\"", "60", "invalid type"),
    ] {
        let found = outcome(&with(line, replacement));
        assert!(found.contains(part), "{replacement}: {found}");
    }
}

#[test]
fn what_follows_a_playbook_is_resolved_with_the_remediations_modes_and_the_default_timeout() {
    let then = "[[remediation.then]]\nplaybook = \"restart-service\"\nparameters = { max-restarts = 5 }\n";
    let text = format!("{SERVICE}{REMEDIATION}{then}");
    let known = BTreeMap::from([("restart-service".parse().expect("a name"), manifest())]);
    let parsed = parse(&[Source { file: "web.toml", text: &text }]).expect("it parses");
    let declared = parsed.resolve(&known).expect("it resolves");
    let rungs: Vec<_> = declared.remediations[0].rungs().map(|(_, placed)| placed.into_owned()).collect();
    let parameters: Vec<_> = rungs.iter().map(|placed| placed.parameters.canonical_text()).collect();
    assert_eq!(parameters, [r#"{"max-restarts":3}"#, r#"{"max-restarts":5}"#]);
    assert_eq!(rungs[1].modes, rungs[0].modes);
    assert_eq!(declared.remediations[0].escalation.then[0].timeout, crate::escalation::DEFAULT_TIMEOUT);
}

#[test]
fn a_list_says_what_is_wrong_with_it_and_where() {
    let text = |first: &str, then: &str| format!("{SERVICE}{REMEDIATION}{first}{then}");
    check(
        &text("timeout = \"5m\"\n", ""),
        "web.toml:21: remediation restart-web has a timeout, and nothing follows it\n  \
         remedy: remove the key, or add a [[remediation.then]]",
    );
    check(
        &text("", "[[remediation.then]]\nplaybook = \"restart-service\"\ntimeout = \"25h\"\n"),
        "web.toml:23: remediation restart-web: a timeout of 25h is not above 0 and at most 24h\n  \
         remedy: write for example timeout = \"15m\"",
    );
    check(
        &text("", "[[remediation.then]]\nplaybook = \"restart-everything\"\n"),
        "web.toml:22: remediation restart-web names the playbook restart-everything, which is not admitted\n  \
         remedy: publish it with `fettle playbook publish`, or name one of restart-service",
    );
    let many = "[[remediation.then]]\nplaybook = \"restart-service\"\n".repeat(8);
    check(
        &text("", &many),
        "web.toml:15: remediation restart-web has 9 playbooks, more than 8\n  \
         remedy: keep those that help most; people are called after the last",
    );
}

#[test]
fn a_soak_longer_than_its_bound_and_a_second_table_are_told_with_their_lines() {
    let text = "[rollout]\nsoak = \"73h\"\n";
    let sources = [Source { file: "a.toml", text }, Source { file: "b.toml", text: "\n[rollout]\npart = 2\n" }];
    let found = parse(&sources).expect_err("two mistakes");
    let told: Vec<String> = found.iter().map(|told| format!("{}:{}: {}", told.file, told.line, told.message)).collect();
    assert_eq!(told, ["a.toml:2: a soak of 73h is longer than 3d", "b.toml:2: a second table [rollout]"]);
}

#[test]
fn promotions_are_proposed_after_a_number_that_is_remembered() {
    let text = |after: u32| format!("{SERVICE}{REMEDIATION}[promotion]\nafter = {after}\n");
    for after in [0, 101] {
        let remedy = "write after how many runs that held the next mode is proposed";
        check(&text(after), &format!("web.toml:22: after is {after}, not 1 to 100\n  remedy: {remedy}"));
    }
    check(&text(100), "sound");
}

#[test]
fn a_budget_in_advance_has_defaults_and_leaves_a_slot_for_hosts_that_are_connected() {
    let text = |guard: &str, offline: &str| {
        format!(
            "{SERVICE}{}[remediation.offline]\n{offline}",
            REMEDIATION.replace("max-in-flight = \"50%\", cooldown = \"1m\"", guard)
        )
    };
    let known = BTreeMap::from([("restart-service".parse().expect("a name"), manifest())]);
    let sound = text("max-in-flight = 3", "hosts = 2\n");
    let declared = parse(&[Source { file: "web.toml", text: &sound }]).and_then(|parsed| parsed.resolve(&known));
    let offline = declared.expect("it is sound").remediations[0].offline.clone().expect("it is there");
    assert_eq!((offline.hosts, offline.units, offline.lasts), (Amount::Count(2), Units::ONE, DEFAULT_LASTS));
    check(
        &text("max-in-flight = 2", "hosts = 2\n"),
        "web.toml:22: remediation restart-web gives a budget in advance to 2 hosts, and 2 may be in flight: nothing is \
         left for hosts that are connected\n  remedy: raise max-in-flight above hosts in [remediation.guard]",
    );
    check(
        &text("max-in-flight = 3", "hosts = 0\n"),
        "web.toml:22: remediation restart-web gives a budget in advance to no host\n  \
         remedy: write for example hosts = 1, or remove the table",
    );
    check(
        &text("max-in-flight = 3, max-attempts = 2", "hosts = 1\nunits = 3\n"),
        "web.toml:23: remediation restart-web gives 3 units in advance, and max-attempts is 2\n  \
         remedy: give at most as many as there are attempts",
    );
    check(
        &text("max-in-flight = 3", "hosts = 1\nunits = 17\n"),
        "web.toml:23: remediation restart-web: units = 17 is not from 1 to 16\n  remedy: write for example units = 2",
    );
    check(
        &text("max-in-flight = 3", "hosts = 1\nlasts = \"25h\"\n"),
        "web.toml:23: remediation restart-web: lasts = \"25h\" is not from 10m to 24h\n  \
         remedy: write for example lasts = \"4h\"",
    );
}
