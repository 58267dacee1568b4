//! What needs no control plane: usage, help, completions, a missing profile, files.

use crate::fettle::fettle;
use std::fs;

#[test]
fn a_wrong_command_line_exits_3_so_that_no_verdict_can_be_mistaken_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = fettle(folder.path(), &["hosts"]).expect(3);
    assert!(ended.err.contains("unrecognized subcommand 'hosts'"), "{}", ended.err);
    fettle(folder.path(), &[]).expect(3);
    fettle(folder.path(), &["stop", "everything", "--why", "x"]).expect(3);
    let ended = fettle(folder.path(), &["why", "web"]).expect(3);
    assert!(ended.err.contains("such as web/http@web-1"), "{}", ended.err);
    let ended = fettle(folder.path(), &["--json", "run", "list", "--limit", "0"]).expect(3);
    let document: serde_json::Value = serde_json::from_str(&ended.err).expect("a document");
    assert_eq!(document["code"], "usage");
}

#[test]
fn help_and_version_exit_0_on_standard_output() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [&["--help"][..], &["-h"], &["--version"], &["log", "verify", "--help"]] {
        let ended = fettle(folder.path(), arguments).expect(0);
        assert!(!ended.out.is_empty() && ended.err.is_empty(), "{ended:?}");
    }
    let help = fettle(folder.path(), &["log", "verify", "--help"]).out;
    assert!(help.contains("0  valid") && help.contains("1  invalid") && help.contains("2  valid with gaps"), "{help}");
}

#[test]
fn completions_are_there_for_every_shell() {
    let folder = tempfile::tempdir().expect("a folder");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ended = fettle(folder.path(), &["completions", shell]).expect(0);
        assert!(ended.out.contains("quarantine"), "{shell}");
    }
}

#[test]
fn without_a_profile_it_is_said_where_one_comes_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = fettle(folder.path(), &["status"]).expect(5);
    assert!(ended.err.contains("/.config/fettle"), "{}", ended.err);
    assert!(ended.err.contains("remedy: name one with --profile"), "{}", ended.err);
}

#[test]
fn a_profile_with_another_key_is_named_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("p")).expect("made");
    fs::write(folder.path().join("p/profile.toml"), "address = \"cp:7445\"\nadress = \"\"\n").expect("written");
    let ended = fettle(folder.path(), &["--profile", "p", "status"]).expect(4);
    assert!(ended.err.starts_with("error: p/profile.toml:2: unknown field `adress`"), "{}", ended.err);
}
