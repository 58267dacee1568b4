//! How many records a second the log takes in, each durable and published before it is answered, and how
//! long an auditor takes to verify 100 000 of them.

use super::numbers::{Row, Unit};
use crate::process::{self, wait_until};
use crate::programs::Programs;
use crate::stage::{Stage, answers};
use crate::workspace::Workspace;
use anyhow::{Context as _, ensure};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Orders that are given: each is a record, which is verified afterwards.
const RECORDS: u32 = 100_000;
/// Who asks at once, each on a connection of its own, and waits for each answer.
const CLIENTS: u32 = 256;
/// How long the appending may take: at 1 000 a second it takes 100 seconds.
const APPEND_PATIENCE: Duration = Duration::from_mins(5);
/// How long exporting or verifying may take: some seconds each.
const READ_PATIENCE: Duration = Duration::from_mins(2);
/// Writes of the baseline: each is made durable by itself.
const SYNCS: u32 = 200;
/// Bytes of one such write: an envelope with its leaf.
const SYNC_BYTES: usize = 1_024;

/// Measures.
pub(super) fn measure(workspace: &Workspace, programs: &Programs) -> anyhow::Result<Vec<Row>> {
    let folder = workspace.target.join("bench/log");
    let mut stage = Stage::open(programs.clone(), &folder)?;
    stage.start_controlplane()?;
    let services = stage.folder().join("services.toml");
    std::fs::write(&services, services_for_clients())?;
    stage.apply(&[services])?;
    let before = answers::log_size(stage.operator())?;
    let mut load = Command::new(programs.load());
    load.arg("--profile").arg(stage.folder().join("controlplane/operator"));
    load.args(["--orders", &RECORDS.to_string(), "--clients", &CLIENTS.to_string()]);
    let answer = bounded(&mut load, APPEND_PATIENCE, &stage.folder().join("load.json"))?;
    let answer: serde_json::Value = serde_json::from_str(&answer).context("understand what the load printed")?;
    let seconds = answer["seconds"].as_f64().context("the load printed no time")?;
    let records = u32::try_from(answers::log_size(stage.operator())? - before)?;
    let appends = f64::from(records) / seconds;
    let syncs = sync_baseline(stage.folder())?;

    let bundle = stage.folder().join("log.bundle");
    let policy = stage.folder().join("policy.txt");
    stage.operator().run(&["log", "export", "--out", &bundle.display().to_string()])?;
    stage.operator().run(&["log", "policy", "--out", &policy.display().to_string()])?;
    let mut verify = Command::new(stage.operator().program());
    verify.args(["log", "verify"]).arg(&bundle).arg("--policy").arg(&policy).env_clear();
    let began = Instant::now();
    bounded(&mut verify, READ_PATIENCE, &stage.folder().join("verified.txt"))?;
    let verified = began.elapsed().as_secs_f64();
    let began = Instant::now();
    process::output(Command::new("sha256sum").arg(&bundle))?;
    let hashed = began.elapsed().as_secs_f64();
    stage.stop()?;
    let what = format!("log appends, durable and published, {CLIENTS} clients");
    Ok(vec![
        Row::new(what, appends, Unit::PerSecond, usize::try_from(records)?).beside("one write and fsync each", syncs),
        Row::new(format!("verification of {records} records"), verified, Unit::Seconds, 1)
            .beside("sha256sum of the same file", hashed),
    ])
}

/// A service for each client, whose automation it stops and resumes.
fn services_for_clients() -> String {
    let service = |client| {
        format!(
            "[[service]]\nname = \"load-{client}\"\nowner = \"bench\"\ntier = 3\n\
             hosts = {{ environments = [\"staging\"] }}\n"
        )
    };
    (0..CLIENTS).map(service).collect()
}

/// Runs a program with a bound; what it prints goes through a file.
fn bounded(command: &mut Command, patience: Duration, output: &Path) -> anyhow::Result<String> {
    let file = File::create(output).with_context(|| format!("open {}", output.display()))?;
    let mut child = command.stdin(Stdio::null()).stdout(file).spawn().context("start the program")?;
    let waited = wait_until("the program ends", patience, || Ok(child.try_wait()?));
    if waited.is_err() {
        child.kill()?;
        child.wait()?;
    }
    let status = waited?;
    ensure!(status.success(), "{} ended with {status}", command.get_program().to_string_lossy());
    Ok(std::fs::read_to_string(output)?)
}

/// How many writes of a record's size a second this disk makes durable, one after the other.
fn sync_baseline(folder: &Path) -> anyhow::Result<f64> {
    let path = folder.join("sync-baseline");
    let mut file = File::create(&path)?;
    let began = Instant::now();
    for _ in 0..SYNCS {
        file.write_all(&[0; SYNC_BYTES])?;
        file.sync_data()?;
    }
    Ok(f64::from(SYNCS) / began.elapsed().as_secs_f64())
}
