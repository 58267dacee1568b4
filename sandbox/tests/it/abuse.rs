//! Hostile components: each ends in its own typed stop, and the process goes on.

use crate::support::{MANIFEST, Parts, component};
use fettle_model::id::RunId;
use fettle_model::playbook::{Action, GrantKind};
use fettle_model::remediation::Parameters;
use fettle_model::run::{Change, Claim, MAX_SAID, MAX_SAID_BYTES, UndoClass};
use fettle_model::time::UnixMillis;
use fettle_sandbox::call::{Call, ClockCall, LogCall, LogLevel, Receipt, Reply, ServiceCall};
use fettle_sandbox::engine::{Engine, InvalidParameters, LoadError, Playbook};
use fettle_sandbox::execution::{Execution, Gone, Limits, Stop, Trigger};
use fettle_sandbox::package::{InvalidPackage, Package};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const CLOCK: &str = r#"
  (import "fettle:host/clock@0.1.0" (instance $clock (export "now" (func (result u64)))))
  (core func $now (canon lower (func $clock "now")))
  (core instance $host (export "now" (func $now)))"#;
const CLOCK_CORE: &str = r#"(import "host" "now" (func $now (result i64)))"#;

const LOG: &str = r#"
  (import "fettle:host/log@0.1.0" (instance $log (export "phase" (func (param "name" string)))))
  (core func $phase (canon lower (func $log "phase") (memory (core memory $libc "memory"))))
  (core instance $host (export "phase" (func $phase)))"#;
const LOG_CORE: &str = r#"(import "host" "phase" (func $phase (param i32 i32)))"#;

const SERVICES: &str = r#"
  (import "fettle:host/services@0.1.0" (instance $services
    (export "service" (type $service (sub resource)))
    (type $open-error-shape (variant (case "undeclared") (case "unbound") (case "denied" string)))
    (export "open-error" (type $open-error (eq $open-error-shape)))
    (type $act-error-shape (variant (case "denied" string) (case "stale" string) (case "off-plan")
      (case "exhausted" string) (case "failed" string) (case "indeterminate" string)))
    (export "act-error" (type $act-error (eq $act-error-shape)))
    (type $undo-shape (enum "automatic" "expires" "none"))
    (export "undo" (type $undo (eq $undo-shape)))
    (type $receipt-shape (record (field "action-id" string) (field "undo" $undo) (field "changed" bool)))
    (export "receipt" (type $receipt (eq $receipt-shape)))
    (export "open" (func (param "label" string) (result (result (own $service) (error $open-error)))))
    (export "[method]service.restart" (func (param "self" (borrow $service)) (param "expect" string)
      (result (result $receipt (error $act-error)))))))
  (alias export $services "service" (type $service))
  (core func $open (canon lower (func $services "open")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $restart (canon lower (func $services "[method]service.restart")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $drop (canon resource.drop $service))
  (core instance $host
    (export "open" (func $open)) (export "restart" (func $restart)) (export "drop" (func $drop)))"#;
const SERVICES_CORE: &str = r#"
  (import "host" "open" (func $open (param i32 i32 i32)))
  (import "host" "restart" (func $restart (param i32 i32 i32 i32)))
  (import "host" "drop" (func $drop (param i32)))
  (data (i32.const 16) "web")
  (func $web (result i32)
    (call $open (i32.const 16) (i32.const 3) (i32.const 256))
    (i32.load (i32.const 260)))"#;

const STDERR: &str = r#"
  (import "wasi:io/error@0.2.6" (instance $io-error (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $error))
  (import "wasi:io/streams@0.2.6" (instance $streams
    (alias outer 1 $error (type $inner-error))
    (export "error" (type $error (eq $inner-error)))
    (export "output-stream" (type $output (sub resource)))
    (type $stream-error-shape (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error-shape)))
    (export "[method]output-stream.write" (func (param "self" (borrow $output)) (param "contents" (list u8))
      (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/stderr@0.2.6" (instance $stderr
    (alias outer 1 $output (type $inner-output))
    (export "output-stream" (type $output (eq $inner-output)))
    (export "get-stderr" (func (result (own $output))))))
  (core func $stderr (canon lower (func $stderr "get-stderr")))
  (core func $write (canon lower (func $streams "[method]output-stream.write") (memory (core memory $libc "memory"))))
  (core instance $host (export "stderr" (func $stderr)) (export "write" (func $write)))"#;

const HOST: &str = r#"(with "host" (instance $host))"#;

fn limits() -> Limits {
    Limits::for_duration(Duration::from_secs(60))
}

fn trigger() -> Trigger {
    Trigger {
        run: "01890a5d-ac96-774b-bcce-b302099a8057".parse::<RunId>().expect("a UUID"),
        incident: None,
        alert: "web/http".to_owned(),
        fired: UnixMillis(1),
        labels: BTreeMap::new(),
        parameters: Parameters::default(),
    }
}

fn granted() -> BTreeSet<GrantKind> {
    BTreeSet::from([GrantKind::Service, GrantKind::Release, GrantKind::Flag, GrantKind::Health])
}

/// An obliging host that notes what it is asked.
fn obliging(asked: &mut Vec<Call>, call: Call) -> Reply {
    let reply = match &call {
        Call::Clock(ClockCall::Now) => Reply::Time(UnixMillis(5)),
        Call::Log(_) => Reply::Unit,
        Call::Service { op: ServiceCall::Open, .. } => Reply::Opened(Ok(())),
        Call::Service { op: ServiceCall::Change { action: Action::Restart, .. }, .. } => {
            let action_id = "a1".to_owned();
            Reply::Acted(Ok(Receipt { action_id, undo: UndoClass::None, change: Change::Made }))
        }
        Call::Clock(_) | Call::Facts(_) | Call::Service { .. } => Reply::Unit,
        Call::Release { .. } | Call::Flag { .. } | Call::Health { .. } => Reply::Unit,
    };
    asked.push(call);
    reply
}

fn load(engine: &Engine, parts: Parts<'_>) -> Playbook {
    let package = Package::build(&component(parts), MANIFEST).expect("a valid package");
    let artifact = engine.compile(&package).expect("it compiles");
    engine.load(&artifact).expect("it loads")
}

fn run(parts: Parts<'_>, limits: Limits) -> (Execution, Vec<Call>) {
    let engine = Engine::new().expect("an engine");
    let playbook = load(&engine, parts);
    let mut asked = Vec::new();
    let execution =
        engine.execute(&playbook, &granted(), &trigger(), limits, &mut |call| Ok(obliging(&mut asked, call)));
    (execution, asked)
}

#[track_caller]
fn check(parts: Parts<'_>, expected: &Result<Claim, Stop>) {
    assert_eq!(&run(parts, limits()).0.claim, expected);
}

#[track_caller]
fn traps(parts: Parts<'_>, part_of_message: &str) {
    match run(parts, limits()).0.claim {
        Err(Stop::Trap { message }) => assert!(message.contains(part_of_message), "{message}"),
        other => assert_eq!(format!("{other:?}"), format!("a trap that says {part_of_message:?}")),
    }
}

fn nothing_done() -> Result<Claim, Stop> {
    Ok(Claim::NoAction { summary: String::new() })
}

#[test]
fn a_component_that_does_nothing_returns_its_claim() {
    let (execution, asked) = run(Parts::default(), limits());
    assert_eq!(execution.claim, nothing_done());
    assert!(execution.fuel_used > 0);
    assert_eq!(asked, []);
}

#[test]
fn computing_for_ever_uses_up_the_fuel_wherever_it_happens() {
    let forever = "(loop $again (br $again))";
    let (execution, _) = run(Parts { run: forever, ..Parts::default() }, limits());
    assert_eq!((execution.claim, execution.fuel_used), (Err(Stop::OutOfFuel), limits().fuel));
    let core = "(start $begin) (func $begin (loop $again (br $again)))";
    check(Parts { core, ..Parts::default() }, &Err(Stop::OutOfFuel));
    let fill = "(loop $again (memory.fill (i32.const 0) (i32.const 0) (i32.const 131072)) (br $again))";
    check(Parts { run: fill, ..Parts::default() }, &Err(Stop::OutOfFuel));
}

#[test]
fn computing_past_the_deadline_is_interrupted() {
    let limits = Limits { fuel: u64::MAX, wall: Duration::from_millis(50), ..limits() };
    let begun = Instant::now();
    let (execution, _) = run(Parts { run: "(loop $again (br $again))", ..Parts::default() }, limits);
    assert_eq!(execution.claim, Err(Stop::Deadline));
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn no_host_call_is_made_after_the_deadline() {
    let engine = Engine::new().expect("an engine");
    let run = "(loop $again (drop (call $now)) (br $again))";
    let playbook = load(&engine, Parts { component: CLOCK, core: CLOCK_CORE, with: HOST, run, ..Parts::default() });
    let limits = Limits { wall: Duration::from_millis(50), ..limits() };
    let mut asked = 0;
    let execution = engine.execute(&playbook, &granted(), &trigger(), limits, &mut |_| {
        asked += 1;
        let begun = Instant::now();
        while begun.elapsed() < limits.wall {
            std::thread::yield_now();
        }
        Ok(Reply::Time(UnixMillis(1)))
    });
    assert_eq!((execution.claim, asked), (Err(Stop::Deadline), 1));
}

#[test]
fn an_interruption_reaches_only_the_execution_whose_time_is_over() {
    let engine = Engine::new().expect("an engine");
    let forever = load(&engine, Parts { run: "(loop $again (br $again))", ..Parts::default() });
    let late = Limits { fuel: u64::MAX, wall: Duration::from_millis(20), ..limits() };
    let patient = Limits { fuel: 50_000_000, ..limits() };
    let execute = |limits| engine.execute(&forever, &granted(), &trigger(), limits, &mut |_| Err(Gone)).claim;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| execute(patient));
        while !other.is_finished() {
            assert_eq!(execute(late), Err(Stop::Deadline));
        }
        assert_eq!(other.join().expect("it ends"), Err(Stop::OutOfFuel));
    });
}

#[test]
fn memory_is_limited_over_all_memories_together() {
    let grow = "(loop $again (drop (memory.grow (i32.const 16))) (br $again))";
    check(Parts { run: grow, ..Parts::default() }, &Err(Stop::MemoryLimit));
    let module = |pages: u32| format!("(core module $m (memory {pages}))");
    let one = format!("{} (core instance (instantiate $m))", module(1_025));
    check(Parts { component: &one, ..Parts::default() }, &Err(Stop::MemoryLimit));
    let two = format!("{} (core instance (instantiate $m)) (core instance (instantiate $m))", module(600));
    check(Parts { component: &two, ..Parts::default() }, &Err(Stop::MemoryLimit));
    let fits = format!("{} (core instance (instantiate $m))", module(600));
    check(Parts { component: &fits, ..Parts::default() }, &nothing_done());
}

#[test]
fn a_growth_beyond_the_memorys_own_maximum_is_not_counted() {
    let component = r#"(core module $m (memory 1 2)
        (func (export "try") (result i32) (memory.grow (i32.const 900))))
      (core instance $host (instantiate $m))"#;
    let core = r#"(import "host" "try" (func $try (result i32)))"#;
    let run = "(drop (call $try)) (drop (call $try)) (drop (memory.grow (i32.const 900)))";
    check(Parts { component, core, with: HOST, run, ..Parts::default() }, &nothing_done());
}

#[test]
fn tables_and_instances_are_limited() {
    let core = "(table $t 1 funcref)";
    let run = "(loop $again (drop (table.grow $t (ref.null func) (i32.const 1000))) (br $again))";
    check(Parts { core, run, ..Parts::default() }, &Err(Stop::TableLimit));
    let instances = format!("(core module $m) {}", "(core instance (instantiate $m))".repeat(20));
    let tables = format!("(core module $m {}) (core instance (instantiate $m))", "(table 1 funcref)".repeat(20));
    for component in [&instances, &tables] {
        let (execution, _) = self::run(Parts { component, ..Parts::default() }, limits());
        assert!(matches!(execution.claim, Err(Stop::NotStarted { .. })), "{:?}", execution.claim);
    }
}

#[test]
fn deep_recursion_is_a_trap() {
    let core = "(func $deeper (param i32) (result i32) (i32.add (call $deeper (local.get 0)) (i32.const 1)))";
    traps(Parts { core, run: "(drop (call $deeper (i32.const 1)))", ..Parts::default() }, "call stack exhausted");
}

#[test]
fn a_trap_and_leaving_by_exit_are_told_apart_by_their_message() {
    traps(Parts { run: "(unreachable)", ..Parts::default() }, "unreachable");
    let core = "(start $begin) (func $begin (unreachable))";
    traps(Parts { core, ..Parts::default() }, "unreachable");
    let component = r#"
      (import "wasi:cli/exit@0.2.6" (instance $exit (export "exit" (func (param "status" (result))))))
      (core func $exit (canon lower (func $exit "exit")))
      (core instance $host (export "exit" (func $exit)))"#;
    let core = r#"(import "host" "exit" (func $exit (param i32)))"#;
    traps(
        Parts { component, core, with: HOST, run: "(call $exit (i32.const 0))", ..Parts::default() },
        "the playbook called exit",
    );
}

#[test]
fn a_flood_of_host_calls_is_stopped() {
    let run = "(loop $again (drop (call $now)) (br $again))";
    let (execution, asked) =
        self::run(Parts { component: CLOCK, core: CLOCK_CORE, with: HOST, run, ..Parts::default() }, limits());
    assert_eq!((execution.claim, asked.len()), (Err(Stop::HostCallLimit), 10_000));
}

#[test]
fn a_flood_of_changing_calls_is_stopped_sooner() {
    let run = r"(local.set $a (call $web))
      (loop $again (call $restart (local.get $a) (i32.const 16) (i32.const 3) (i32.const 256)) (br $again))";
    let (execution, asked) =
        self::run(Parts { component: SERVICES, core: SERVICES_CORE, with: HOST, run, ..Parts::default() }, limits());
    assert_eq!((execution.claim, asked.len()), (Err(Stop::HostCallLimit), 101));
}

#[test]
fn lines_beyond_the_limit_do_not_reach_the_host_and_still_count_as_calls() {
    let run = "(loop $again (call $phase (i32.const 72) (i32.const 1)) (br $again))";
    let (execution, asked) =
        self::run(Parts { component: LOG, core: LOG_CORE, with: HOST, run, ..Parts::default() }, limits());
    assert_eq!((execution.claim, asked.len()), (Err(Stop::HostCallLimit), MAX_SAID));
}

#[test]
fn strings_are_bounded_inside_memory_and_utf8() {
    let phase = |run: &str, message: &str| {
        traps(Parts { component: LOG, core: LOG_CORE, with: HOST, run, ..Parts::default() }, message);
    };
    phase("(call $phase (i32.const 0) (i32.const 1073741824))", "out of bounds");
    phase("(call $phase (i32.const -8) (i32.const 64))", "out of bounds");
    phase("(call $phase (i32.const 0) (i32.const 65537))", "too much data");
    phase("(i32.store8 (i32.const 8) (i32.const 255)) (call $phase (i32.const 8) (i32.const 1))", "utf-8");
}

#[test]
fn what_a_playbook_says_stays_one_line_of_bounded_length() {
    let core = format!(r#"{LOG_CORE} (data (i32.const 16) "ok\0aERROR \1b[2J\e2\80\aeforged")"#);
    let run = r"(call $phase (i32.const 16) (i32.const 22))
      (memory.fill (i32.const 8192) (i32.const 120) (i32.const 5000))
      (call $phase (i32.const 8192) (i32.const 5000))";
    let (_, asked) = self::run(Parts { component: LOG, core: &core, with: HOST, run, ..Parts::default() }, limits());
    let phase = |name: &str| Call::Log(LogCall::Phase { name: name.to_owned() });
    assert_eq!(asked, [phase("ok ERROR  [2J forged"), phase(&"x".repeat(MAX_SAID_BYTES))]);
}

#[test]
fn what_a_playbook_writes_to_standard_error_becomes_debug_lines_even_before_a_trap() {
    let core = r#"
      (import "host" "stderr" (func $stderr (result i32)))
      (import "host" "write" (func $write (param i32 i32 i32 i32)))
      (data (i32.const 16) "panicked at \1b[1mlib.rs\0aindex out\0a\0aof")"#;
    let run = r"(local.set $a (call $stderr))
      (call $write (local.get $a) (i32.const 16) (i32.const 3) (i32.const 256))
      (call $write (local.get $a) (i32.const 19) (i32.const 33) (i32.const 256))
      (unreachable)";
    let (execution, asked) =
        self::run(Parts { component: STDERR, core, with: HOST, run, ..Parts::default() }, limits());
    let line = |message: &str| {
        let (level, message, fields) = (LogLevel::Debug, message.to_owned(), Vec::new());
        Call::Log(LogCall::Event { level, message, fields })
    };
    assert_eq!(asked, [line("panicked at  [1mlib.rs"), line("index out"), line("of")]);
    assert!(matches!(execution.claim, Err(Stop::Trap { .. })), "{:?}", execution.claim);
}

#[test]
fn the_seed_of_hash_maps_is_no_randomness() {
    let component = r#"
      (import "wasi:random/insecure-seed@0.2.6" (instance $random
        (export "insecure-seed" (func (result (tuple u64 u64))))))
      (core func $seed (canon lower (func $random "insecure-seed") (memory (core memory $libc "memory"))))
      (core instance $host (export "seed" (func $seed)))"#;
    let core = r#"(import "host" "seed" (func $seed (param i32)))"#;
    let run = r"(call $seed (i32.const 256))
      (if (i64.ne (i64.or (i64.load (i32.const 256)) (i64.load (i32.const 264))) (i64.const 0)) (then (unreachable)))";
    check(Parts { component, core, with: HOST, run, ..Parts::default() }, &nothing_done());
}

#[test]
fn a_revision_of_any_length_does_not_reach_the_host() {
    let run = r"(local.set $a (call $web))
      (call $restart (local.get $a) (i32.const 4096) (i32.const 129) (i32.const 256))";
    let (execution, asked) =
        self::run(Parts { component: SERVICES, core: SERVICES_CORE, with: HOST, run, ..Parts::default() }, limits());
    assert!(
        matches!(&execution.claim, Err(Stop::Trap { message }) if message.ends_with("is too long")),
        "{execution:?}"
    );
    assert_eq!(asked.len(), 1, "only the label was opened");
}

#[test]
fn a_claim_is_cleaned_and_cut() {
    let core = r#"(data (i32.const 16) "all\0dgood\00")"#;
    let run = r"(i32.store8 (i32.const 72) (i32.const 0))
      (i32.store (i32.const 80) (i32.const 16)) (i32.store (i32.const 84) (i32.const 9))";
    check(Parts { core, run, ..Parts::default() }, &Ok(Claim::Resolved { summary: "all good ".to_owned() }));
    let forged = "(i32.store8 (i32.const 72) (i32.const 9))";
    traps(Parts { run: forged, ..Parts::default() }, "discriminant");
    let endless = "(i32.store (i32.const 84) (i32.const 100000))";
    traps(Parts { run: endless, ..Parts::default() }, "too much data");
}

#[test]
fn handles_cannot_be_forged_kept_or_heaped_up() {
    let services = |run: &str, message: &str| {
        traps(Parts { component: SERVICES, core: SERVICES_CORE, with: HOST, run, ..Parts::default() }, message);
    };
    let restart = "(call $restart (local.get $a) (i32.const 16) (i32.const 3) (i32.const 256))";
    services(&format!("(local.set $a (i32.const 12345)) {restart}"), "unknown handle index");
    services(&format!("(local.set $a (call $web)) (call $drop (local.get $a)) {restart}"), "unknown handle index");
    services("(local.set $a (call $web)) (call $drop (local.get $a)) (call $drop (local.get $a))", "unknown handle");
    services("(loop $again (drop (call $web)) (br $again))", "handle limit");
}

#[test]
fn an_import_without_its_grant_stops_before_any_code_runs() {
    let engine = Engine::new().expect("an engine");
    let core = format!("{SERVICES_CORE} (start $begin) (func $begin (unreachable))");
    let playbook = load(&engine, Parts { component: SERVICES, core: &core, with: HOST, run: "", ..Parts::default() });
    let granted = BTreeSet::from([GrantKind::Health]);
    let execution = engine.execute(&playbook, &granted, &trigger(), limits(), &mut |_| Err(Gone));
    let name = "fettle:host/services@0.1.0".to_owned();
    assert_eq!(execution, Execution { claim: Err(Stop::ForbiddenImport { name }), fuel_used: 0 });
}

#[test]
fn an_import_of_another_shape_than_is_served_does_not_start() {
    let component = r#"(import "fettle:host/clock@0.1.0" (instance (export "set" (func (param "to" u64)))))"#;
    let (execution, _) = run(Parts { component, ..Parts::default() }, limits());
    assert!(matches!(execution.claim, Err(Stop::NotStarted { .. })), "{:?}", execution.claim);
}

#[test]
fn machine_code_is_no_package() {
    let engine = Engine::new().expect("an engine");
    let package = Package::build(&component(Parts::default()), MANIFEST).expect("a valid package");
    let artifact = engine.compile(&package).expect("it compiles");
    let host = fettle_sandbox::engine::HostKey::new([3; 32]);
    let sealed = artifact.seal(&host.derive(package.digest(), engine.fingerprint()));
    let code = sealed.as_bytes()[40..].to_vec();
    assert_eq!(Package::read(code).map(|package| package.digest()), Err(InvalidPackage::Precompiled));
}

#[test]
fn an_artifact_loads_after_it_was_stored_and_only_into_its_own_engine() -> Result<(), LoadError> {
    let engine = Engine::new().expect("an engine");
    let package = Package::build(&component(Parts::default()), MANIFEST).expect("a valid package");
    let key = fettle_sandbox::engine::HostKey::new([3; 32]).derive(package.digest(), engine.fingerprint());
    let sealed = engine.compile(&package).expect("it compiles").seal(&key);
    let same = Engine::new().expect("an engine");
    assert_eq!(same.fingerprint(), engine.fingerprint());
    let opened = sealed.open(&key, package.digest(), same.fingerprint()).expect("it is what was sealed");
    let playbook = same.load(&opened)?;
    let execution = same.execute(&playbook, &granted(), &trigger(), limits(), &mut |_| Err(Gone));
    assert_eq!(execution.claim, nothing_done());
    Ok(())
}

#[test]
fn a_host_that_goes_away_or_answers_amiss_ends_the_run() {
    let engine = Engine::new().expect("an engine");
    let playbook = load(
        &engine,
        Parts { component: CLOCK, core: CLOCK_CORE, with: HOST, run: "(drop (call $now))", ..Parts::default() },
    );
    let execute = |reply: Result<Reply, Gone>| {
        engine.execute(&playbook, &granted(), &trigger(), limits(), &mut |_| reply.clone()).claim
    };
    assert_eq!(execute(Err(Gone)), Err(Stop::HostGone));
    assert_eq!(execute(Ok(Reply::Unit)), Err(Stop::BadReply { call: "clock.now".to_owned() }));
    assert_eq!(execute(Ok(Reply::Time(UnixMillis(1)))), nothing_done());
}

#[test]
fn checking_parameters_gets_no_capability() {
    let engine = Engine::new().expect("an engine");
    let playbook = load(&engine, Parts::default());
    let check = |playbook| engine.check_parameters(playbook, &granted(), &Parameters::default(), limits());
    assert_eq!(check(&playbook), Ok(()));
    let parts = Parts { component: CLOCK, core: CLOCK_CORE, with: HOST, check: "(drop (call $now))", run: "" };
    assert_eq!(check(&load(&engine, parts)), Err(InvalidParameters::Stopped(Stop::HostGone)));
}

#[test]
fn many_executions_leave_nothing_behind() {
    let engine = Engine::new().expect("an engine");
    let grow = "(drop (memory.grow (i32.const 64))) (memory.fill (i32.const 4096) (i32.const 1) (i32.const 4000000)) (unreachable)";
    let playbook = load(&engine, Parts { run: grow, ..Parts::default() });
    let execute = || engine.execute(&playbook, &granted(), &trigger(), limits(), &mut |_| Err(Gone)).claim;
    let resident_pages = || -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
        statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("its second number")
    };
    for _ in 0..20 {
        assert!(matches!(execute(), Err(Stop::Trap { .. })));
    }
    let before = resident_pages();
    for _ in 0..200 {
        assert!(matches!(execute(), Err(Stop::Trap { .. })));
    }
    // 200 leaked runs of 4 MB would be 200 000 pages.
    assert!(resident_pages() < before + 5_000, "{before} pages before, {} after", resident_pages());
}
