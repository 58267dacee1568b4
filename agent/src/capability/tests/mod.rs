//! Tests of the capabilities on real processes, folders and files, through [`Capabilities`].

mod commands;
mod faults;
mod flags;
mod releases;
mod surroundings;

use super::*;
use crate::config::AgentConfig;
use fettle_model::name::Label;
use fettle_model::permit::{BoundTarget, Target};
use fettle_model::time::UnixMillis;
use fettle_sandbox::call::{ActError, Call, FlagCall, Reply, Revision};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn label(text: &str) -> Label {
    text.parse().expect("a label")
}

/// A configuration with one service `app`; `service` is what stands in its table.
fn capabilities(service: &str) -> Capabilities {
    let text = format!(
        r#"
[host]
name = "web-1"
environment = "staging"
state-dir = "/var/lib/fettle-agent"
drills = "allowed"
[control-plane]
address = "127.0.0.1:7443"
enrol-address = "127.0.0.1:7444"
ca-pin = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
trust-domain = "fettle.test"
[service.app]
{service}
"#
    );
    let config = AgentConfig::parse(Path::new("agent.toml"), &text).expect("a configuration");
    let facts = Facts::gather(config.host.name.clone()).expect("facts");
    Capabilities::new(config, facts)
}

async fn open(capabilities: &Capabilities, target: Target) -> OpenTargets {
    capabilities.open(&[BoundTarget { label: label("it"), target }]).await.expect("opened")
}

async fn answer(open: &OpenTargets, call: Call) -> Reply {
    let reply = open.answer(&call, SOON).await.expect("an answer");
    assert!(call.accepts(&reply), "{call:?} is answered by {reply:?}");
    reply
}

/// Looks and does, as the effector would.
async fn carry_out(open: &OpenTargets, deed: &Deed) -> Result<(Before, Done), ActError> {
    let before = open.before(deed, NOW).await?;
    let done = open.perform(deed, &before, SOON).await?;
    Ok((before, done))
}

/// The folder's real path: a temporary folder may lie behind a link.
fn real(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().canonicalize().expect("a path")
}

#[tokio::test]
async fn only_what_the_owner_configured_is_opened() {
    let capabilities = capabilities("manager = \"none\"\nreleases = { root = \"/nonexistent/app\" }");
    for (target, usable) in [
        (Target::SystemdUnit { unit: "sshd.service".to_owned() }, None),
        (Target::CommandService { name: "app".to_owned() }, None),
        (Target::ReleaseRoot { root: "/etc".to_owned() }, None),
        (Target::Flag { file: "/etc/passwd".to_owned(), key: "x".to_owned() }, None),
        (Target::ReleaseRoot { root: "/nonexistent/app".to_owned() }, Some(())),
    ] {
        let opened = capabilities.open(&[BoundTarget { label: label("it"), target }]).await;
        match (opened.expect_err("opened"), usable) {
            (NotOpened::NotConfigured { .. }, None) | (NotOpened::Unusable { .. }, Some(())) => {}
            (error, _) => unreachable!("another error: {error}"),
        }
    }
    let twice = [
        BoundTarget { label: label("it"), target: Target::Facts },
        BoundTarget { label: label("it"), target: Target::Facts },
    ];
    assert_eq!(capabilities.open(&twice).await.expect_err("opened"), NotOpened::TwiceBound { label: label("it") });
}

#[tokio::test]
async fn a_label_of_another_kind_gives_no_handle_and_no_deed() {
    let open = open(&capabilities("manager = \"none\""), Target::Facts).await;
    let call = |label| Call::Flag { label, op: FlagCall::Open };
    use fettle_sandbox::call::OpenError;
    assert_eq!(answer(&open, call(label("it"))).await, Reply::Opened(Err(OpenError::Undeclared)));
    assert_eq!(answer(&open, call(label("other"))).await, Reply::Opened(Err(OpenError::Unbound)));
    let expect = Revision("x".to_owned());
    let deed = Deed::Activate { label: label("it"), release: "r1".to_owned(), expect };
    assert!(matches!(open.before(&deed, NOW).await, Err(ActError::Denied(_))));
}

#[tokio::test]
async fn facts_are_answered_only_where_they_are_bound() {
    use fettle_sandbox::call::{FactsCall, ReadError};
    let capabilities = capabilities("manager = \"none\"");
    let call = || Call::Facts(FactsCall::Get { key: "host.name".to_owned() });
    let bound = open(&capabilities, Target::Facts).await;
    assert!(matches!(answer(&bound, call()).await, Reply::Fact(Ok(_))));
    let unbound = capabilities.open(&[]).await.expect("nothing");
    assert!(matches!(answer(&unbound, call()).await, Reply::Fact(Err(ReadError::Unavailable(_)))));
}
