//! The shape of `agent.toml`, before its parts are held together.
//!
//! Only [`super::resolve`] reads these types. Values whose mistakes need a line keep their place in
//! the text ([`Spanned`]). Services are one flat table rather than one shape per manager, because
//! serde buffers tagged tables and the places would be lost.

use super::faults::FaultsTable;
use fettle_model::digest::DocumentDigest;
use fettle_model::host::DrillConsent;
use fettle_model::identity::TrustDomain;
use fettle_model::name::{CheckName, EnvironmentName, HostName, Label, PlaybookName, PublisherName, ServiceName};
use fettle_model::playbook::Action;
use fettle_model::time::HumanDuration;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Document {
    pub(super) host: HostTable,
    pub(super) control_plane: ControlPlaneTable,
    #[serde(default)]
    pub(super) publisher: Vec<PublisherTable>,
    #[serde(default)]
    pub(super) service: BTreeMap<Spanned<ServiceName>, ServiceTable>,
    #[serde(default)]
    pub(super) bind: Vec<BindTable>,
    #[serde(default)]
    pub(super) ceiling: BTreeMap<Spanned<ServiceName>, CeilingTable>,
    #[serde(default)]
    pub(super) commands: BTreeMap<CheckName, CommandTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct HostTable {
    pub(super) name: HostName,
    pub(super) environment: EnvironmentName,
    pub(super) state_dir: Spanned<String>,
    pub(super) drills: Option<Spanned<DrillConsent>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ControlPlaneTable {
    pub(super) address: Spanned<String>,
    pub(super) enrol_address: Spanned<String>,
    pub(super) ca_pin: DocumentDigest,
    pub(super) trust_domain: TrustDomain,
    pub(super) log_key: Option<Spanned<String>>,
    pub(super) permit_key: Option<Spanned<String>>,
    pub(super) join_token_file: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PublisherTable {
    pub(super) name: PublisherName,
    pub(super) key: Spanned<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ManagerName {
    Systemd,
    Command,
    None,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ServiceTable {
    pub(super) manager: Spanned<ManagerName>,
    pub(super) unit: Option<Spanned<String>>,
    pub(super) start: Option<Spanned<Vec<String>>>,
    pub(super) stop: Option<Spanned<Vec<String>>>,
    pub(super) reload: Option<Spanned<Vec<String>>>,
    pub(super) status: Option<Spanned<Vec<String>>>,
    pub(super) pid_file: Option<Spanned<String>>,
    pub(super) log_file: Option<Spanned<String>>,
    pub(super) releases: Option<ReleasesTable>,
    #[serde(default)]
    pub(super) flags: BTreeMap<Label, FlagTable>,
    #[serde(default)]
    pub(super) host_values: BTreeMap<Spanned<String>, Spanned<String>>,
    pub(super) faults: Option<Spanned<FaultsTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ReleasesTable {
    pub(super) root: Spanned<String>,
    pub(super) history: Option<Spanned<usize>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct FlagTable {
    pub(super) file: Spanned<String>,
    pub(super) key: Spanned<String>,
    pub(super) longest_hold: Option<Spanned<HumanDuration>>,
}

/// What a label is bound to: a thing of the service in the same table.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum BoundTo {
    Service,
    Releases,
    Facts,
    Flag(Label),
    Check(CheckName),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BindTable {
    pub(super) playbook: PlaybookName,
    pub(super) service: Spanned<ServiceName>,
    pub(super) label: Spanned<Label>,
    pub(super) to: Spanned<BoundTo>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CeilingTable {
    pub(super) actions: Vec<Spanned<Action>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CommandTable {
    pub(super) argv: Spanned<Vec<String>>,
}
