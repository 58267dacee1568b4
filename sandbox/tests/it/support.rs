//! Components written by hand, for the tests of packages and of the engine's limits.

/// A manifest with one grant of each kind and no parameters.
pub(crate) const MANIFEST: &str = r#"
manifest = 1
[playbook]
name = "by-hand"
version = "1.0.0"
summary = "Written by hand for a test."
owners = ["tests"]
host = "fettle:host@0.1.0"
[[grant]]
label = "web"
kind = "service"
actions = ["start", "stop", "restart", "reload"]
why = "test"
[[grant]]
label = "release"
kind = "release"
actions = ["activate"]
why = "test"
[[grant]]
label = "flag"
kind = "flag"
actions = ["set"]
why = "test"
[[grant]]
label = "health"
kind = "health"
why = "test"
[limits]
actions = 3
duration = "1m"
[confirm]
health = "health"
stable = "1s"
within = "10s"
[on-failure]
undo = "automatic"
"#;

/// What varies in a hand-written playbook component. Each part is WAT.
#[derive(Clone, Copy, Default)]
pub(crate) struct Parts<'a> {
    /// Component level, before the playbook's core module: imports, lowered functions, further modules.
    pub(crate) component: &'a str,
    /// Imports and further fields of the playbook's core module.
    pub(crate) core: &'a str,
    /// Arguments of the core module's instantiation, such as `(with "host" (instance $host))`.
    pub(crate) with: &'a str,
    /// Body of `check-parameters`; falls through to accepting.
    pub(crate) check: &'a str,
    /// Body of `run`; falls through to `no-action ""`. It has the locals `$a` and `$b`.
    pub(crate) run: &'a str,
}

/// A playbook component whose `run` has this body. `run` returns `no-action` unless the body ends
/// it otherwise; `check-parameters` accepts everything. Memory from 4096 on belongs to `realloc`.
pub(crate) fn component(parts: Parts<'_>) -> Vec<u8> {
    wat::parse_str(text(parts)).expect("the test's own WAT is sound")
}

fn text(Parts { component, core, with, check, run }: Parts<'_>) -> String {
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
  {component}
  (core module $playbook
    (import "libc" "memory" (memory 2))
    {core}
    ;; no-action with an empty summary
    (data (i32.const 72) "\02")
    (func (export "check") (param i32 i32) (result i32) {check} (i32.const 128))
    (func (export "run") (param i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32) (result i32)
      (local $a i32) (local $b i32)
      {run}
      (i32.const 64)))
  (core instance $i (instantiate $playbook (with "libc" (instance $libc)) {with}))
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
