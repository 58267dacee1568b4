//! A hostile playbook, written by hand: on the staging host it restarts the service and earns its
//! evidence; elsewhere it does what the first letter of the host's name says.
//!
//! | host | what it does |
//! |---|---|
//! | `staging-1` | restarts the service unless it is active, says `resolved` |
//! | `loops-…` | computes for ever |
//! | `traps-…` | traps |
//! | any other | says `resolved`, and has done nothing |

use anyhow::Context as _;
use fettle_model::digest::{DocumentDigest, PlaybookDigest};
use fettle_model::run::Ending;
use fettle_model::scenarios::{ScenarioReport, ScenarioResult, ScenarioRun};
use std::path::{Path, PathBuf};

/// Its name.
pub const NAME: &str = "two-faced";

const MANIFEST: &str = r#"manifest = 1

[playbook]
name = "two-faced"
version = "1.0.0"
summary = "Behaves in staging only."
owners = ["tests"]
host = "fettle:host@0.1.0"

[[grant]]
label = "service"
kind = "service"
actions = ["restart"]
why = "What it does in staging."

[[grant]]
label = "health"
kind = "health"
why = "Every manifest confirms something."

[[grant]]
label = "facts"
kind = "facts"
why = "Tells it where it is."

[limits]
actions = 1
duration = "20s"

[confirm]
health = "health"
stable = "200ms"
within = "2s"

[on-failure]
undo = "leave"
why = "A restart cannot be undone."

[[drill]]
fault = "kill-process"
on = "service"
"#;

const IMPORTS: &str = r#"
  (import "fettle:host/facts@0.1.0" (instance $facts
    (type $read-error-shape (variant (case "not-found") (case "timeout") (case "unavailable" string)
      (case "too-large" u64) (case "malformed" string)))
    (export "read-error" (type $read-error (eq $read-error-shape)))
    (type $fact-shape (variant (case "text" string) (case "integer" s64) (case "boolean" bool)
      (case "texts" (list string))))
    (export "fact" (type $fact (eq $fact-shape)))
    (export "get" (func (param "key" string) (result (result $fact (error $read-error)))))))
  (core func $get (canon lower (func $facts "get")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (import "fettle:host/services@0.1.0" (instance $services
    (export "service" (type $service (sub resource)))
    (type $open-error-shape (variant (case "undeclared") (case "unbound") (case "denied" string)))
    (export "open-error" (type $open-error (eq $open-error-shape)))
    (type $read-error-shape (variant (case "not-found") (case "timeout") (case "unavailable" string)
      (case "too-large" u64) (case "malformed" string)))
    (export "read-error" (type $read-error (eq $read-error-shape)))
    (type $act-error-shape (variant (case "denied" string) (case "stale" string) (case "off-plan")
      (case "exhausted" string) (case "failed" string) (case "indeterminate" string)))
    (export "act-error" (type $act-error (eq $act-error-shape)))
    (type $undo-shape (enum "automatic" "expires" "none"))
    (export "undo" (type $undo (eq $undo-shape)))
    (type $receipt-shape (record (field "action-id" string) (field "undo" $undo) (field "changed" bool)))
    (export "receipt" (type $receipt (eq $receipt-shape)))
    (type $activity-shape (enum "active" "inactive" "activating" "deactivating" "failed"))
    (export "activity" (type $activity (eq $activity-shape)))
    (type $status-shape (record (field "activity" $activity) (field "since" u64) (field "restarts-last-hour" u32)
      (field "main-pid" (option u32)) (field "revision" string)))
    (export "status" (type $status (eq $status-shape)))
    (export "open" (func (param "label" string) (result (result (own $service) (error $open-error)))))
    (export "[method]service.status" (func (param "self" (borrow $service))
      (result (result $status (error $read-error)))))
    (export "[method]service.restart" (func (param "self" (borrow $service)) (param "expect" string)
      (result (result $receipt (error $act-error)))))))
  (core func $open (canon lower (func $services "open")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $status (canon lower (func $services "[method]service.status")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $restart (canon lower (func $services "[method]service.restart")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core instance $host
    (export "get" (func $get)) (export "open" (func $open))
    (export "status" (func $status)) (export "restart" (func $restart)))"#;

// Results are written to 512 (the fact: its text at 528), 768 (the handle at 772), 1024 (the status:
// its activity at 1032, 0 being active, its revision at 1060), 1280 (the receipt), and 64 (what `run` returns: the outcome's case at 72).
const MODULE: &str = r#"
    (import "libc" "memory" (memory 2))
    (import "host" "get" (func $get (param i32 i32 i32)))
    (import "host" "open" (func $open (param i32 i32 i32)))
    (import "host" "status" (func $status (param i32 i32)))
    (import "host" "restart" (func $restart (param i32 i32 i32 i32)))
    (data (i32.const 16) "host.name")
    (data (i32.const 32) "service")
    (func (export "check") (param i32 i32) (result i32) (i32.const 128))
    (func (export "run") (param i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32) (result i32)
      (local $letter i32) (local $service i32)
      (call $get (i32.const 16) (i32.const 9) (i32.const 512))
      (local.set $letter (i32.load8_u (i32.load (i32.const 528))))
      (if (i32.eq (local.get $letter) (i32.const 0x6c)) (then (loop $for-ever (br $for-ever))))
      (if (i32.eq (local.get $letter) (i32.const 0x74)) (then (unreachable)))
      (if (i32.eq (local.get $letter) (i32.const 0x73)) (then
        (call $open (i32.const 32) (i32.const 7) (i32.const 768))
        (local.set $service (i32.load (i32.const 772)))
        (call $status (local.get $service) (i32.const 1024))
        (if (i32.load8_u (i32.const 1032)) (then
          (call $restart
            (local.get $service) (i32.load (i32.const 1060)) (i32.load (i32.const 1064)) (i32.const 1280))))))
      (i32.const 64))"#;

fn component() -> String {
    format!(
        r#"(component
  (core module $libc-module
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc-module))
  {IMPORTS}
  (core module $playbook {MODULE})
  (core instance $i (instantiate $playbook (with "libc" (instance $libc)) (with "host" (instance $host))))
  (type $trigger-shape (record
    (field "run-id" string) (field "incident-id" string) (field "alert" string) (field "fired" u64)
    (field "labels" (list (tuple string string))) (field "parameters" string)))
  (export $trigger "trigger" (type $trigger-shape))
  (type $issue-shape (record (field "pointer" string) (field "message" string)))
  (export $issue "issue" (type $issue-shape))
  (type $outcome-shape (variant
    (case "resolved" string) (case "mitigated" (tuple string u64)) (case "no-action" string) (case "escalate" string)))
  (export $outcome "outcome" (type $outcome-shape))
  (type $failure-shape (record (field "summary" string) (field "detail" (list string))))
  (export $failure "failure" (type $failure-shape))
  (func $check (param "parameters" string) (result (result (error (list $issue))))
    (canon lift (core func $i "check") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (func $run (param "trigger" $trigger) (result (result $outcome (error $failure)))
    (canon lift (core func $i "run") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (instance $exported
    (export "check-parameters" (func $check))
    (export "run" (func $run)))
  (export "fettle:host/playbook@0.1.0" (instance $exported)))"#
    )
}

/// Writes its component and its manifest to a folder; returns both paths.
pub fn write(folder: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let bytes = wat::parse_str(component()).context("assemble the component")?;
    let (component, manifest) = (folder.join(format!("{NAME}.wasm")), folder.join(format!("{NAME}.toml")));
    std::fs::write(&component, bytes).context("write the component")?;
    std::fs::write(&manifest, MANIFEST).context("write the manifest")?;
    Ok((component, manifest))
}

/// Writes a report on scenarios that nobody ran, about this package; returns its path.
pub fn lie(folder: &Path, package: &Path) -> anyhow::Result<PathBuf> {
    let bytes = std::fs::read(package).context("read the package")?;
    let run = ScenarioRun {
        file: DocumentDigest::of(b"never written"),
        title: "behaves everywhere".to_owned(),
        ended: Ending::Succeeded,
        errors: 100,
        crashes: 100,
        result: ScenarioResult::Passed,
    };
    let report = ScenarioReport { digest: PlaybookDigest::of(&bytes), scenarios: vec![run] };
    let path = folder.join(format!("{NAME}.report"));
    std::fs::write(&path, serde_json::to_vec(&report).context("write it as JSON")?).context("write the report")?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_component_is_a_playbook_that_imports_what_its_manifest_asks_for() {
        let bytes = wat::parse_str(super::component()).expect("it assembles");
        let package = fettle_sandbox::package::Package::build(&bytes, super::MANIFEST).expect("it is a package");
        assert_eq!(package.manifest().playbook.name.as_str(), super::NAME);
    }
}
