//! Drives the built program as a service manager and its users do: start, ask, break, stop.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A layout with a good and a bad release, and the port of a service on it. Ends the service.
struct Shop {
    folder: TempDir,
    address: SocketAddr,
}

impl Shop {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (id, document) in
            [("a", r#"{"version":"1.4.0","healthz":"ok"}"#), ("b", r#"{"version":"1.5.0","healthz":"fail"}"#)]
        {
            let release = folder.path().join("releases").join(id);
            std::fs::create_dir_all(&release).expect("a release");
            std::fs::write(release.join("release.json"), document).expect("its document");
        }
        // The system picks a free port; it stays free long enough because nobody else asks for it by number.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port");
        let shop = Self { folder, address };
        shop.activate("a");
        shop
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn pid_file(&self) -> PathBuf {
        self.root().join("service.pid")
    }

    fn activate(&self, id: &str) {
        let next = self.root().join("next");
        std::os::unix::fs::symlink(Path::new("releases").join(id), &next).expect("a symlink");
        std::fs::rename(next, self.root().join("current")).expect("an activation");
    }

    fn set_flag(&self, variant: &str) {
        let document = format!(
            r#"{{"flags":{{"new-checkout":{{"state":"ENABLED","variants":{{"on":true,"off":false}},"defaultVariant":"{variant}"}}}}}}"#
        );
        std::fs::write(self.root().join("flags.json"), document).expect("a flag file");
    }

    fn command(&self, name: &str) -> Output {
        self.command_with(name, &[])
    }

    fn command_with(&self, name: &str, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_fettle-demo-service"))
            .arg(name)
            .args(more)
            .arg("--root")
            .arg(self.root())
            .args(["--listen", &self.address.to_string()])
            .output()
            .expect("the program runs")
    }

    fn exit_code(&self, name: &str) -> i32 {
        self.command(name).status.code().expect("it ends by itself")
    }

    /// The process id that `status` reports.
    fn pid(&self) -> String {
        let output = self.command("status");
        let text = String::from_utf8(output.stdout).expect("text");
        text.trim_end().strip_prefix("running, pid ").expect("it runs").to_owned()
    }

    /// Status and body of a page.
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a bound");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").expect("a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let body = text.split_once("\r\n\r\n").expect("a body").1.to_owned();
        (status, body)
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.command("stop");
    }
}

fn kill(pid: &str, signal: &str) {
    let status = Command::new("kill").args([signal, pid]).status().expect("kill runs");
    assert!(status.success());
}

#[test]
fn status_says_what_start_and_stop_did() {
    let shop = Shop::new();
    assert_eq!(shop.exit_code("status"), 3);
    assert_eq!(shop.exit_code("stop"), 0, "what does not run is stopped");
    assert_eq!(shop.exit_code("reload"), 3, "what does not run reads nothing");
    assert_eq!(shop.exit_code("start"), 0);
    let pid = shop.pid();
    let recorded = std::fs::read_to_string(shop.pid_file()).expect("a pid file");
    assert_eq!(recorded.lines().next(), Some(pid.as_str()));
    assert_eq!(shop.exit_code("start"), 0, "a second start changes nothing");
    assert_eq!(shop.exit_code("reload"), 0);
    assert_eq!(shop.pid(), pid);
    assert_eq!(shop.get("/").0, 200, "it answers as soon as start returns");
    assert_eq!(shop.exit_code("stop"), 0);
    assert_eq!(shop.exit_code("status"), 3);
    assert!(!shop.pid_file().exists(), "a clean end leaves no pid file");
    assert!(TcpStream::connect(shop.address).is_err());
}

#[test]
fn every_start_and_stop_notes_when_it_began() {
    let shop = Shop::new();
    assert_eq!((shop.exit_code("start"), shop.exit_code("status"), shop.exit_code("stop")), (0, 0, 0));
    let log = std::fs::read_to_string(shop.root().join("commands.log")).expect("a log of the commands");
    let lines: Vec<(u64, &str)> = log
        .lines()
        .filter_map(|line| line.split_once(' ').and_then(|(at, name)| Some((at.parse().ok()?, name))))
        .collect();
    let [(start, "start"), (stop, "stop")] = lines[..] else { panic!("{log}") };
    assert!(start < stop, "{log}");
}

#[test]
fn a_started_service_leads_a_session_of_its_own() {
    let shop = Shop::new();
    assert_eq!(shop.exit_code("start"), 0);
    let pid = shop.pid();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let session = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(3)).expect("field 6");
    assert_eq!(session, pid);
}

#[test]
fn an_activation_shows_at_the_next_request_without_a_restart() {
    let shop = Shop::new();
    assert_eq!(shop.exit_code("start"), 0);
    let pid = shop.pid();
    assert_eq!(shop.get("/healthz"), (200, "ok 1.4.0\n".to_owned()));
    shop.activate("b");
    assert_eq!(shop.get("/healthz").0, 500);
    assert!(shop.get("/").1.contains("1.5.0"));
    shop.activate("a");
    assert_eq!(shop.get("/healthz").0, 200);
    shop.activate("missing");
    assert_eq!(shop.get("/healthz").0, 500);
    assert_eq!(shop.pid(), pid);
}

#[test]
fn the_flag_breaks_the_feature_and_nothing_else() {
    let shop = Shop::new();
    assert_eq!(shop.exit_code("start"), 0);
    assert_eq!(shop.get("/checkout").0, 200);
    shop.set_flag("on");
    assert_eq!((shop.get("/checkout").0, shop.get("/healthz/feature").0, shop.get("/healthz").0), (500, 500, 200));
    shop.set_flag("off");
    assert_eq!((shop.get("/checkout").0, shop.get("/healthz/feature").0), (200, 200));
}

#[test]
fn after_a_kill_it_is_not_running_and_can_be_started_again() {
    let shop = Shop::new();
    assert_eq!(shop.exit_code("start"), 0);
    let pid = shop.pid();
    kill(&pid, "-KILL");
    let deadline = Instant::now() + Duration::from_secs(5);
    while shop.exit_code("status") != 3 {
        assert!(Instant::now() < deadline, "status still says running");
    }
    assert!(shop.pid_file().exists(), "the stale file is there, and is not believed");
    assert_eq!(shop.exit_code("start"), 0);
    assert_ne!(shop.pid(), pid);
}

#[test]
fn a_feature_that_asks_somebody_fails_only_when_it_is_on_and_nobody_answers() {
    let shop = Shop::new();
    let asked = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = asked.local_addr().expect("an address").to_string();
    assert_eq!(shop.command_with("start", &["--feature-asks", &address]).status.code(), Some(0));
    shop.set_flag("on");
    assert_eq!(shop.get("/healthz/feature"), (200, "ok\n".to_owned()));
    drop(asked);
    let (status, text) = shop.get("/healthz/feature");
    assert!(status == 500 && text.contains(&address), "{status} {text}");
    assert_eq!(shop.get("/healthz").0, 200);
    shop.set_flag("off");
    assert_eq!(shop.get("/healthz/feature").0, 200);
}

#[test]
fn a_stopped_process_is_killed_when_it_does_not_heed_sigterm() {
    let shop = Shop::new();
    assert_eq!(shop.exit_code("start"), 0);
    kill(&shop.pid(), "-STOP");
    assert_eq!(shop.exit_code("stop"), 0);
    assert_eq!(shop.exit_code("status"), 3);
}

#[test]
fn a_pid_file_that_names_somebody_elses_process_is_not_believed() {
    let shop = Shop::new();
    let mut other = Command::new("sleep").arg("60").spawn().expect("a process");
    std::fs::write(shop.pid_file(), format!("{}\n1\n", other.id())).expect("a pid file");
    assert_eq!(shop.exit_code("status"), 3);
    assert_eq!(shop.exit_code("stop"), 0);
    assert_eq!(other.try_wait().expect("it can be looked at"), None, "the other process still runs");
    other.kill().expect("it ends");
    other.wait().expect("it ended");
}

#[test]
fn a_start_that_cannot_work_fails_at_once_and_says_why() {
    let taken = Shop::new();
    let listener = TcpListener::bind(taken.address).expect("the port");
    let output = taken.command("start");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("listen on") && text.contains("Address already in use"), "{text}");
    drop(listener);

    let empty = Shop::new();
    std::fs::remove_file(empty.root().join("current")).expect("no release");
    let output = empty.command("start");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("current"), "{text}");
    assert_eq!(empty.exit_code("status"), 3);
}

#[test]
fn two_never_run_on_one_pid_file() {
    let shop = Shop::new();
    assert_eq!(shop.exit_code("start"), 0);
    let output = shop.command("run");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("runs already"), "{text}");
    assert_eq!(shop.exit_code("status"), 0);
}

#[test]
fn only_reading_methods_are_served() {
    let shop = Shop::new();
    assert_eq!(shop.exit_code("start"), 0);
    let mut stream = TcpStream::connect(shop.address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a bound");
    stream.write_all(b"POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 405 "), "{text}");
    assert_eq!(shop.get("/nowhere").0, 404);
}
