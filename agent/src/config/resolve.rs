//! Holds the parts of the document together and turns them into settings.
//!
//! Called by [`super::AgentConfig::parse`]. It goes on after a mistake, so that one reading of the
//! file shows them all; pure.

use super::document::{
    BindTable, BoundTo, CeilingTable, CommandTable, ControlPlaneTable, Document, FlagTable, HostTable, ManagerName,
    PublisherTable, ReleasesTable, ServiceTable,
};
use super::faults::resolve_faults;
use super::mistake::Complaints;
use super::scalar::{Argv, WrongScalar};
use super::settings::{
    AgentConfig, CommandSettings, ControlPlaneSettings, FlagSettings, HostSettings, Manager, ReleaseSettings,
    ServiceSettings, TrustedPublisher, kind_of,
};
use fettle_model::check::CheckRef;
use fettle_model::host::{Binding, DrillConsent};
use fettle_model::name::{CheckName, ServiceName};
use fettle_model::permit::{BoundTarget, Target};
use fettle_model::playbook::Action;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;

/// Releases shown when `history` is not given, and at most: the interface's own bound.
const MAX_HISTORY: usize = 20;
/// Longest hold of a flag when `longest-hold` is not given: over a night, until people are at work.
const DEFAULT_LONGEST_HOLD: Duration = Duration::from_hours(12);
/// Longest hold that can be configured; a longer one is a decision for people.
const MAX_LONGEST_HOLD: Duration = Duration::from_hours(7 * 24);
/// Longest value for `{host.x}`: a URL.
const MAX_HOST_VALUE_BYTES: usize = 1_024;

/// The services while the rest is resolved.
#[derive(Default)]
struct Services {
    sound: BTreeMap<ServiceName, ServiceSettings>,
    /// Complained about already: what refers to them is not a second mistake.
    mistaken: BTreeSet<ServiceName>,
}

impl Services {
    fn get(&self, name: &Spanned<ServiceName>, complaints: &mut Complaints<'_>) -> Option<&ServiceSettings> {
        let found = self.sound.get(name.get_ref());
        if found.is_none() && !self.mistaken.contains(name.get_ref()) {
            complaints.note(
                name.span().start,
                format!("there is no service {}", name.get_ref()),
                format!("add [service.{}], or correct the name", name.get_ref()),
            );
        }
        found
    }
}

/// Resolves a document. `None` only together with at least one complaint; a result is whole only
/// when there was none.
pub(super) fn resolve(document: Document, complaints: &mut Complaints<'_>) -> Option<AgentConfig> {
    let Document { host, control_plane, publisher, service, bind, ceiling, commands } = document;
    let host = resolve_host(host, complaints);
    let control_plane = resolve_control_plane(control_plane, complaints);
    let publishers = resolve_publishers(publisher, complaints);
    let mut services = Services::default();
    let mut owners = BTreeMap::new();
    for (name, table) in service {
        let at = name.span().start;
        let name = name.into_inner();
        let refuses = host.as_ref().is_some_and(|host| host.drills == DrillConsent::Refused);
        if let Some(faults) = table.faults.as_ref().filter(|_| refuses) {
            complaints.note(
                faults.span().start,
                format!("the faults of {name} have no effect: drills are not allowed on this host"),
                "remove the table, or, on a staging host, write drills = \"allowed\" under [host]",
            );
        }
        let Some(settings) = resolve_service(at, table, complaints) else {
            services.mistaken.insert(name);
            continue;
        };
        for target in settings.targets(&name) {
            if let Some(other) = owners.insert(target, name.clone()) {
                complaints.note(
                    at,
                    format!("service {name} has the same unit, releases or flag as {other}"),
                    "give each thing to one service only: its ceiling would not be clear",
                );
            }
        }
        services.sound.insert(name, settings);
    }
    let bindings = resolve_bindings(bind, &services, complaints);
    let ceiling = resolve_ceiling(ceiling, &services, complaints);
    let commands = resolve_commands(commands, complaints);
    let services = services.sound;
    Some(AgentConfig { host: host?, control_plane: control_plane?, publishers, services, bindings, ceiling, commands })
}

fn scalar<T>(key: &str, text: &Spanned<String>, complaints: &mut Complaints<'_>) -> Option<T>
where
    T: FromStr<Err = WrongScalar>,
{
    complaints.accept(text.span().start, key, text.get_ref().parse())
}

fn argv(key: &str, arguments: Spanned<Vec<String>>, complaints: &mut Complaints<'_>) -> Option<Argv> {
    let at = arguments.span().start;
    complaints.accept(at, key, Argv::new(arguments.into_inner()))
}

fn resolve_host(table: HostTable, complaints: &mut Complaints<'_>) -> Option<HostSettings> {
    let HostTable { name, environment, state_dir, drills } = table;
    if let Some(drills) = &drills
        && *drills.get_ref() == DrillConsent::Allowed
        && !environment.is_staging()
    {
        complaints.note(
            drills.span().start,
            format!("drills = \"allowed\" has no effect in the environment {environment}"),
            "remove the line: faults are injected in staging only",
        );
    }
    let state_dir = scalar("host.state-dir", &state_dir, complaints)?;
    let drills = drills.map_or(DrillConsent::Refused, Spanned::into_inner);
    Some(HostSettings { name, environment, state_dir, drills })
}

fn resolve_control_plane(table: ControlPlaneTable, complaints: &mut Complaints<'_>) -> Option<ControlPlaneSettings> {
    let ControlPlaneTable { address, enrol_address, ca_pin, trust_domain, log_key, permit_key, join_token_file } =
        table;
    let address = scalar("control-plane.address", &address, complaints);
    let enrol_address = scalar("control-plane.enrol-address", &enrol_address, complaints);
    let log_key = log_key.and_then(|key| scalar("control-plane.log-key", &key, complaints));
    let permit_key = permit_key.and_then(|key| scalar("control-plane.permit-key", &key, complaints));
    let join_token_file = join_token_file.and_then(|path| scalar("control-plane.join-token-file", &path, complaints));
    Some(ControlPlaneSettings {
        address: address?,
        enrol_address: enrol_address?,
        ca_pin,
        trust_domain,
        log_key,
        permit_key,
        join_token_file,
    })
}

fn resolve_publishers(tables: Vec<PublisherTable>, complaints: &mut Complaints<'_>) -> Vec<TrustedPublisher> {
    let mut publishers: Vec<TrustedPublisher> = Vec::new();
    for PublisherTable { name, key } in tables {
        let at = key.span().start;
        let Some(key) = scalar("publisher.key", &key, complaints) else { continue };
        if publishers.iter().any(|known| known.key == key) {
            complaints.note(at, format!("the key of publisher {name} is listed twice"), "remove one of the two tables");
        }
        publishers.push(TrustedPublisher { name, key });
    }
    publishers
}

fn resolve_service(at: usize, table: ServiceTable, complaints: &mut Complaints<'_>) -> Option<ServiceSettings> {
    let ServiceTable {
        manager,
        unit,
        start,
        stop,
        reload,
        status,
        pid_file,
        log_file,
        releases,
        flags,
        host_values,
        faults,
    } = table;
    let given = [
        ("unit", unit.as_ref().map(|v| v.span().start), ManagerName::Systemd),
        ("start", start.as_ref().map(|v| v.span().start), ManagerName::Command),
        ("stop", stop.as_ref().map(|v| v.span().start), ManagerName::Command),
        ("reload", reload.as_ref().map(|v| v.span().start), ManagerName::Command),
        ("status", status.as_ref().map(|v| v.span().start), ManagerName::Command),
        ("pid-file", pid_file.as_ref().map(|v| v.span().start), ManagerName::Command),
        ("log-file", log_file.as_ref().map(|v| v.span().start), ManagerName::Command),
    ];
    for (key, place, belongs_to) in given {
        if let Some(place) = place
            && belongs_to != *manager.get_ref()
        {
            complaints.note(
                place,
                format!("{key} has no effect under manager = \"{}\"", manager_text(*manager.get_ref())),
                format!("remove it, or write manager = \"{}\"", manager_text(belongs_to)),
            );
        }
    }
    let mut need = |key: &str, example: &str| {
        complaints.note(
            at,
            format!("{key} is missing, which manager = \"{}\" needs", manager_text(*manager.get_ref())),
            format!("add {key} = {example}"),
        );
    };
    let manager = match manager.get_ref() {
        ManagerName::Systemd => match unit {
            Some(unit) => scalar("unit", &unit, complaints).map(|unit| Manager::Systemd { unit }),
            None => {
                need("unit", "\"nginx.service\"");
                None
            }
        },
        ManagerName::Command => {
            if start.is_none() {
                need("start", "[\"/path/of/program\", \"start\"]");
            }
            if stop.is_none() {
                need("stop", "[\"/path/of/program\", \"stop\"]");
            }
            if pid_file.is_none() {
                need("pid-file", "\"/run/app.pid\": without it nothing tells one start from the next");
            }
            let start = start.and_then(|v| argv("start", v, complaints));
            let stop = stop.and_then(|v| argv("stop", v, complaints));
            let reload = reload.and_then(|v| argv("reload", v, complaints));
            let status = status.and_then(|v| argv("status", v, complaints));
            let pid_file = pid_file.and_then(|v| scalar("pid-file", &v, complaints));
            let log_file = log_file.and_then(|v| scalar("log-file", &v, complaints));
            match (start, stop, pid_file) {
                (Some(start), Some(stop), Some(pid_file)) => {
                    Some(Manager::Command(CommandSettings { start, stop, reload, status, pid_file, log_file }))
                }
                _ => None,
            }
        }
        ManagerName::None => Some(Manager::None),
    };
    let releases = releases.and_then(|table| resolve_releases(&table, complaints));
    let flags = flags.into_iter().filter_map(|(name, table)| Some((name, resolve_flag(table, complaints)?))).collect();
    let host_values = resolve_host_values(host_values, complaints);
    let faults = faults.map(|table| resolve_faults(table.into_inner(), complaints)).unwrap_or_default();
    Some(ServiceSettings { manager: manager?, releases, flags, host_values, faults })
}

const fn manager_text(manager: ManagerName) -> &'static str {
    match manager {
        ManagerName::Systemd => "systemd",
        ManagerName::Command => "command",
        ManagerName::None => "none",
    }
}

fn resolve_releases(table: &ReleasesTable, complaints: &mut Complaints<'_>) -> Option<ReleaseSettings> {
    let ReleasesTable { root, history } = table;
    if let Some(history) = history
        && !(1..=MAX_HISTORY).contains(history.get_ref())
    {
        complaints.note(
            history.span().start,
            format!("releases.history must be 1 to {MAX_HISTORY}, not {}", history.get_ref()),
            "choose how many releases a playbook may go back to",
        );
    }
    let history = history.as_ref().map_or(MAX_HISTORY, |history| *history.get_ref());
    scalar("releases.root", root, complaints).map(|root| ReleaseSettings { root, history })
}

fn resolve_flag(table: FlagTable, complaints: &mut Complaints<'_>) -> Option<FlagSettings> {
    let FlagTable { file, key, longest_hold } = table;
    if key.get_ref().is_empty() || key.get_ref().chars().any(char::is_control) {
        complaints.note(
            key.span().start,
            "key must be the flag's name in the file",
            "write it as it stands under \"flags\" in the file",
        );
    }
    if let Some(hold) = &longest_hold
        && !(Duration::from_secs(1)..=MAX_LONGEST_HOLD).contains(&hold.get_ref().0)
    {
        complaints.note(
            hold.span().start,
            format!("longest-hold must be 1s to 7d, not {}", hold.get_ref()),
            "a change that is to stay longer is for a person to make",
        );
    }
    let longest_hold = longest_hold.map_or(DEFAULT_LONGEST_HOLD, |hold| hold.into_inner().0);
    let file = scalar("file", &file, complaints)?;
    Some(FlagSettings { file, key: key.into_inner(), longest_hold })
}

fn resolve_host_values(
    values: BTreeMap<Spanned<String>, Spanned<String>>,
    complaints: &mut Complaints<'_>,
) -> BTreeMap<String, String> {
    let mut resolved = BTreeMap::new();
    for (key, value) in values {
        let sound_key = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if key.get_ref().is_empty() || !key.get_ref().bytes().all(sound_key) {
            complaints.note(
                key.span().start,
                format!("the host value {:?} cannot be referred to", key.get_ref()),
                "use a-z, 0-9 and '-' only: a check refers to it as {host.name}",
            );
        }
        if value.get_ref().len() > MAX_HOST_VALUE_BYTES || value.get_ref().chars().any(char::is_control) {
            complaints.note(
                value.span().start,
                format!("the host value {} is too long or has control characters", key.get_ref()),
                format!("write one line of at most {MAX_HOST_VALUE_BYTES} bytes"),
            );
        }
        resolved.insert(key.into_inner(), value.into_inner());
    }
    resolved
}

fn resolve_bindings(tables: Vec<BindTable>, services: &Services, complaints: &mut Complaints<'_>) -> Vec<Binding> {
    let mut bindings: Vec<Binding> = Vec::new();
    for BindTable { playbook, service, label, to } in tables {
        let Some(settings) = services.get(&service, complaints) else { continue };
        let Some(target) = resolve_bound_to(&to, service.get_ref(), settings, complaints) else { continue };
        let bound = BoundTarget { label: label.get_ref().clone(), target };
        let known = bindings.iter_mut().find(|b| b.playbook == playbook && &b.service == service.get_ref());
        match known {
            Some(binding) if binding.target(label.get_ref()).is_some() => complaints.note(
                label.span().start,
                format!("the label {} of playbook {playbook} is bound twice for {}", label.get_ref(), binding.service),
                "remove one of the two tables: a label stands for one thing",
            ),
            Some(binding) => binding.targets.push(bound),
            None => bindings.push(Binding { playbook, service: service.into_inner(), targets: vec![bound] }),
        }
    }
    bindings
}

fn resolve_bound_to(
    to: &Spanned<BoundTo>,
    service: &ServiceName,
    settings: &ServiceSettings,
    complaints: &mut Complaints<'_>,
) -> Option<Target> {
    let (found, what, remedy) = match to.get_ref() {
        BoundTo::Service => (
            settings.manager.target(service),
            format!("nothing manages the service {service}, so nothing can be done to it"),
            "give it manager = \"systemd\" or \"command\"".to_owned(),
        ),
        BoundTo::Releases => (
            settings.releases.as_ref().map(ReleaseSettings::target),
            format!("the service {service} has no releases"),
            "add releases = { root = \"/path\" } to it".to_owned(),
        ),
        BoundTo::Flag(flag) => (
            settings.flags.get(flag).map(FlagSettings::target),
            format!("the service {service} has no flag {flag}"),
            format!("add [service.{service}.flags.{flag}]"),
        ),
        BoundTo::Check(check) => {
            return Some(Target::Health { check: CheckRef { service: service.clone(), check: check.clone() } });
        }
        BoundTo::Facts => return Some(Target::Facts),
    };
    if found.is_none() {
        complaints.note(to.span().start, what, remedy);
    }
    found
}

fn resolve_ceiling(
    tables: BTreeMap<Spanned<ServiceName>, CeilingTable>,
    services: &Services,
    complaints: &mut Complaints<'_>,
) -> BTreeMap<Target, BTreeSet<Action>> {
    let mut ceiling: BTreeMap<Target, BTreeSet<Action>> = BTreeMap::new();
    for (service, CeilingTable { actions }) in tables {
        let Some(settings) = services.get(&service, complaints) else { continue };
        for action in actions {
            let at = action.span().start;
            let action = action.into_inner();
            let targets: Vec<Target> = settings
                .targets(service.get_ref())
                .into_iter()
                .filter(|target| kind_of(target) == action.kind())
                .collect();
            if targets.is_empty() || !can_do(&settings.manager, action) {
                complaints.note(
                    at,
                    format!("the action {} allows nothing: {} has no thing for it", action.as_str(), service.get_ref()),
                    "remove it, or add the unit, reload command, releases or flag that it is for",
                );
            }
            for target in targets {
                ceiling.entry(target).or_default().insert(action);
            }
        }
    }
    ceiling
}

/// Whether the manager knows the action; those on other things than services it does not concern.
const fn can_do(manager: &Manager, action: Action) -> bool {
    match (manager, action) {
        (Manager::Command(CommandSettings { reload, .. }), Action::Reload) => reload.is_some(),
        (Manager::None, Action::Start | Action::Stop | Action::Restart | Action::Reload) => false,
        (Manager::Systemd { .. } | Manager::Command(_) | Manager::None, _) => true,
    }
}

fn resolve_commands(
    tables: BTreeMap<CheckName, CommandTable>,
    complaints: &mut Complaints<'_>,
) -> BTreeMap<CheckName, Argv> {
    let mut commands = BTreeMap::new();
    for (name, CommandTable { argv: arguments }) in tables {
        if let Some(parsed) = argv("argv", arguments, complaints) {
            commands.insert(name, parsed);
        }
    }
    commands
}
