//! The rules hold in this very workspace.

#[test]
fn the_workspace_is_tidy() {
    let workspace = xtask::workspace::Workspace::load().expect("cargo knows the workspace");
    let findings = xtask::tidy::check(&workspace).expect("the sources can be read");
    let text: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "\n{}", text.join("\n"));
}

#[test]
fn the_workspace_has_what_the_commands_rely_on() {
    let workspace = xtask::workspace::Workspace::load().expect("cargo knows the workspace");
    assert!(workspace.guests().contains(&"restart-service"), "the playbooks are guests");
    assert!(workspace.members.iter().any(|member| member.name == "fettle-tests"));
}
