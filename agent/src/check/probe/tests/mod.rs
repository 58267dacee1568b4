//! Probes against the real thing: servers on loopback, processes that are killed, files that change.

mod command;
mod file;
mod http;
mod process;
mod systemd;
mod tcp;

use super::*;
use fettle_model::check::Status;
use fettle_model::time::UnixMillis;

/// Longer than anything here takes on a loaded machine.
const LONG: Duration = Duration::from_secs(20);

/// The wall clock, as the daemon reads it.
#[expect(clippy::disallowed_methods, reason = "ages of real files are measured against the real clock")]
pub(super) fn wall_clock() -> UnixMillis {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    UnixMillis(fettle_model::time::whole_millis(now))
}

fn surroundings() -> Surroundings {
    Surroundings::new(BTreeMap::new(), bus::BusAddress::At("unix:path=/nonexistent/bus".to_owned()), wall_clock)
}

fn definition(probe: Probe) -> Check {
    Check { name: "it".parse().expect("a name"), probe, interval: LONG, timeout: LONG, fail_after: 1, recover_after: 1 }
}

fn prober_in(surroundings: &Surroundings, probe: Probe) -> Prober {
    Prober::prepare(&definition(probe), surroundings, &Looks::new())
}

fn prober(probe: Probe) -> Prober {
    prober_in(&surroundings(), probe)
}

async fn within<T>(waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, waiting).await.expect("it comes in time")
}

#[track_caller]
fn expect(verdict: &Verdict, status: Status, reason: &str) {
    assert_eq!(verdict.status, status, "{}", verdict.reason);
    assert!(verdict.reason.as_str().contains(reason), "{} lacks {reason:?}", verdict.reason);
}

#[tokio::test]
async fn a_definition_without_meaning_on_this_host_is_unknown_with_its_reason() {
    let value = |text: &str| fettle_model::check::HostValue(text.to_owned());
    let http = |url: &str| Probe::Http {
        url: value(url),
        expect_status: Vec::new(),
        expect_body: None,
        no_answer: fettle_model::check::NoAnswer::Critical,
    };
    let must = fettle_model::check::Presence::Exist;
    for (probe, reason) in [
        (http("ftp://127.0.0.1/"), "neither http:// nor https://"),
        (http("/healthz"), "names no host"),
        (http("http://user:word@127.0.0.1/"), "credentials do not belong in a check"),
        (http("http://a b/"), "the check's URL"),
        (Probe::Process { pid_file: value("web.pid") }, "not an absolute path"),
        (Probe::File { path: value("stamp"), must, max_age: None }, "not an absolute path"),
        (Probe::File { path: value("/"), must, max_age: None }, "not an absolute path of a file"),
        (Probe::Command { command: "smart".parse().expect("a name") }, "add [commands.smart]"),
    ] {
        expect(&prober(probe).probe_within(LONG).await, Status::Unknown, reason);
    }
}
