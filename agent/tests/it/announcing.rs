//! A step that nothing takes back waits until its own announcement is proven to be in the log.

use crate::control_plane::{Acknowledgements, Heard};
use crate::stand::{MANIFEST, PATIENCE, Stand, by_hand, id, parsed};
use fettle_model::counter::AgentSequence;
use fettle_model::evidence::{Fault, FaultKind};
use fettle_model::permit::Permit;
use fettle_model::record::{Author, Body};
use fettle_model::run::Ending;
use fettle_sandbox::package::Package;
use std::fs;

/// What the manifest lacks to be drilled with a kill.
const SERVICE: &str = r#"
[[grant]]
label = "service"
kind = "service"
actions = ["restart"]
why = "test"
[[drill]]
fault = "kill-process"
on = "service"
"#;

/// A stand whose host runs a program as its service.
async fn stand(pid_file: &std::path::Path) -> Stand {
    let mut stand = Stand::new().await;
    let manager = format!(
        "manager = \"command\"\nstart = [\"/bin/true\"]\nstop = [\"/bin/true\"]\npid-file = \"{}\"",
        pid_file.display()
    );
    stand
        .host
        .restart(|config| {
            let config = config.replace("manager = \"none\"", &manager);
            config.replace("actions = [\"set\"]", "actions = [\"set\", \"restart\"]")
        })
        .await;
    stand.heard(|heard| matches!(heard, Heard::Connected { .. }).then_some(())).await;
    let component = by_hand::component(by_hand::Parts::default());
    stand.package = Package::build(&component, &format!("{MANIFEST}{SERVICE}")).expect("a package");
    let package = stand.package.bytes().to_vec();
    stand.control_plane.shared().packages.insert(stand.package.digest(), package);
    stand.configure().await;
    stand
}

/// Where the announcement stands in the agent's chain.
async fn announced(stand: &mut Stand) -> AgentSequence {
    stand
        .heard(|heard| match heard {
            Heard::Recorded(record) => match (&record.author, &record.body) {
                (Author::Agent { sequence, .. }, Body::StepIntended(step)) if step.action.is_none() => Some(*sequence),
                _ => None,
            },
            Heard::Connected { .. } | Heard::Fetched | Heard::Rotated { .. } => None,
        })
        .await
}

/// The agent answers this with a record, after everything that it was told before.
async fn provoke(stand: &mut Stand) {
    stand.control_plane.publish_bytes(b"nonsense".to_vec()).await;
    stand.recorded(|body| matches!(body, Body::PermitRejected(_)).then_some(())).await;
}

/// A program that a drill's kill waits to end: the agent has announced it, and no acknowledgement came.
struct Waiting {
    stand: Stand,
    program: tokio::process::Child,
    intent: AgentSequence,
    _folder: tempfile::TempDir,
}

impl Waiting {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let pid_file = folder.path().canonicalize().expect("a path").join("pid");
        let program = tokio::process::Command::new("sleep").arg("600").kill_on_drop(true).spawn().expect("it starts");
        fs::write(&pid_file, format!("{}\n", program.id().expect("it runs"))).expect("written");
        let mut stand = stand(&pid_file).await;
        stand.start_drill_of(Fault { kind: FaultKind::KillProcess, on: parsed("service") }).await;
        let request = stand.request().await;
        let permit = Permit { drill: Some(id(9)), ..stand.permit(&request) };
        stand.control_plane.shared().acknowledgements = Acknowledgements::Lost;
        stand.say(Body::PermitGranted(Box::new(permit))).await;
        let intent = announced(&mut stand).await;
        Self { stand, program, intent, _folder: folder }
    }

    fn runs_still(&mut self) -> bool {
        self.program.try_wait().expect("it can be asked").is_none()
    }

    async fn ending(&mut self) -> Ending {
        self.stand.recorded(|body| if let Body::RunEnded(run) = body { Some(run.ending) } else { None }).await
    }
}

#[tokio::test]
async fn nothing_is_done_before_the_announcement_itself_is_proven_whatever_else_is() {
    let mut waiting = Waiting::new().await;
    let intent = waiting.intent;
    provoke(&mut waiting.stand).await;
    waiting.stand.control_plane.acknowledge(intent.next()).await;
    provoke(&mut waiting.stand).await;
    assert!(waiting.runs_still(), "a later record is proven, and this one is not");
    waiting.stand.control_plane.acknowledge(intent).await;
    tokio::time::timeout(PATIENCE, waiting.program.wait()).await.expect("it is killed").expect("it has ended");
    assert_eq!(waiting.ending().await, Ending::Succeeded);
}

#[tokio::test]
async fn whoever_has_seen_the_log_fork_does_not_begin_what_waits_for_it() {
    let mut waiting = Waiting::new().await;
    waiting.stand.show_another_log();
    assert_eq!(waiting.ending().await, Ending::Cancelled);
    waiting.stand.control_plane.acknowledge(waiting.intent).await;
    provoke(&mut waiting.stand).await;
    assert!(waiting.runs_still());
}
