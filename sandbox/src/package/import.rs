//! The interfaces that a playbook may import, by name. Closed: another name is refused before
//! anything is compiled, and the engine links nothing else.

use fettle_model::playbook::GrantKind;

/// The interface package and version that this host serves. A component built against an earlier
/// patch version runs; one built against a later one may need what is not here.
pub const HOST_PACKAGE: &str = "fettle:host@0.1.0";

/// The patch versions of `fettle:host@0.1` that are served.
const SERVED_PATCHES: std::ops::RangeInclusive<u32> = 0..=0;

/// An interface that a playbook may import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Import {
    /// Vocabulary; grants nothing.
    Types,
    /// Journalled time.
    Clock,
    /// What the playbook says to people.
    Log,
    /// Facts about the host.
    Facts,
    /// A check's health.
    Health,
    /// Services.
    Services,
    /// Feature flags.
    FeatureFlags,
    /// Releases.
    Releases,
    /// What a guest's standard library imports; none of it reaches the host.
    Wasi(VirtualWasi),
}

/// The interfaces of WASI 0.2 that are served, from nothing: an empty environment, no arguments,
/// empty input, a seed that is always the same, and output that goes to the run's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VirtualWasi {
    /// `wasi:cli/environment`.
    Environment,
    /// `wasi:cli/exit`.
    Exit,
    /// `wasi:cli/stdin`.
    Stdin,
    /// `wasi:cli/stdout`.
    Stdout,
    /// `wasi:cli/stderr`.
    Stderr,
    /// `wasi:cli/terminal-input`.
    TerminalInput,
    /// `wasi:cli/terminal-output`.
    TerminalOutput,
    /// `wasi:cli/terminal-stdin`.
    TerminalStdin,
    /// `wasi:cli/terminal-stdout`.
    TerminalStdout,
    /// `wasi:cli/terminal-stderr`.
    TerminalStderr,
    /// `wasi:io/error`.
    Error,
    /// `wasi:io/poll`.
    Poll,
    /// `wasi:io/streams`.
    Streams,
    /// `wasi:random/insecure-seed`: a constant, by which hash maps are ordered.
    InsecureSeed,
}

const INTERFACES: [(&str, Import); 22] = [
    ("fettle:host/types", Import::Types),
    ("fettle:host/clock", Import::Clock),
    ("fettle:host/log", Import::Log),
    ("fettle:host/facts", Import::Facts),
    ("fettle:host/health", Import::Health),
    ("fettle:host/services", Import::Services),
    ("fettle:host/feature-flags", Import::FeatureFlags),
    ("fettle:host/releases", Import::Releases),
    ("wasi:cli/environment", Import::Wasi(VirtualWasi::Environment)),
    ("wasi:cli/exit", Import::Wasi(VirtualWasi::Exit)),
    ("wasi:cli/stdin", Import::Wasi(VirtualWasi::Stdin)),
    ("wasi:cli/stdout", Import::Wasi(VirtualWasi::Stdout)),
    ("wasi:cli/stderr", Import::Wasi(VirtualWasi::Stderr)),
    ("wasi:cli/terminal-input", Import::Wasi(VirtualWasi::TerminalInput)),
    ("wasi:cli/terminal-output", Import::Wasi(VirtualWasi::TerminalOutput)),
    ("wasi:cli/terminal-stdin", Import::Wasi(VirtualWasi::TerminalStdin)),
    ("wasi:cli/terminal-stdout", Import::Wasi(VirtualWasi::TerminalStdout)),
    ("wasi:cli/terminal-stderr", Import::Wasi(VirtualWasi::TerminalStderr)),
    ("wasi:io/error", Import::Wasi(VirtualWasi::Error)),
    ("wasi:io/poll", Import::Wasi(VirtualWasi::Poll)),
    ("wasi:io/streams", Import::Wasi(VirtualWasi::Streams)),
    ("wasi:random/insecure-seed", Import::Wasi(VirtualWasi::InsecureSeed)),
];

impl Import {
    /// The import of this name, with its version; `None` for what no playbook gets.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (interface, version) = name.split_once('@')?;
        let (_, import) = INTERFACES.iter().find(|(known, _)| *known == interface)?;
        let served = match import {
            Self::Wasi(_) => patch(version, "0.2.").is_some(),
            Self::Types
            | Self::Clock
            | Self::Log
            | Self::Facts
            | Self::Health
            | Self::Services
            | Self::FeatureFlags
            | Self::Releases => patch(version, "0.1.").is_some_and(|patch| SERVED_PATCHES.contains(&patch)),
        };
        served.then_some(*import)
    }

    /// The interface's name, without its version.
    #[must_use]
    pub fn name(self) -> &'static str {
        INTERFACES.iter().find(|(_, import)| *import == self).map_or("", |(name, _)| name)
    }

    /// The kind of grant without which a playbook may not import it.
    #[must_use]
    pub const fn needs(self) -> Option<GrantKind> {
        match self {
            Self::Types | Self::Clock | Self::Log | Self::Wasi(_) => None,
            Self::Facts => Some(GrantKind::Facts),
            Self::Health => Some(GrantKind::Health),
            Self::Services => Some(GrantKind::Service),
            Self::FeatureFlags => Some(GrantKind::Flag),
            Self::Releases => Some(GrantKind::Release),
        }
    }
}

/// Whether an export of this name is the playbook.
pub(super) fn is_playbook(name: &str) -> bool {
    served("fettle:host/playbook", name)
}

/// Whether this is the interface package in a version that is served.
pub(super) fn serves(host: &str) -> bool {
    served("fettle:host", host)
}

fn served(expected: &str, name: &str) -> bool {
    name.split_once('@').is_some_and(|(given, version)| {
        given == expected && patch(version, "0.1.").is_some_and(|patch| SERVED_PATCHES.contains(&patch))
    })
}

fn patch(version: &str, track: &str) -> Option<u32> {
    let digits = version.strip_prefix(track)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Option<Import>) {
        assert_eq!(Import::parse(name), expected, "{name}");
    }

    #[test]
    fn only_known_interfaces_in_served_versions_are_imports() {
        check("fettle:host/services@0.1.0", Some(Import::Services));
        check("wasi:cli/stderr@0.2.6", Some(Import::Wasi(VirtualWasi::Stderr)));
        check("wasi:io/poll@0.2.0", Some(Import::Wasi(VirtualWasi::Poll)));
        for name in [
            "fettle:host/services",
            "fettle:host/services@0.1.1",
            "fettle:host/services@0.2.0",
            "fettle:host/services@0.1.+0",
            "fettle:host/services@0.1.0-rc1",
            "fettle:host/files@0.1.0",
            "wasi:sockets/tcp@0.2.6",
            "wasi:filesystem/preopens@0.2.6",
            "wasi:clocks/wall-clock@0.2.6",
            "wasi:random/random@0.2.6",
            "wasi:http/outgoing-handler@0.2.6",
            "wasi:cli/stderr@0.3.0",
            "env",
            "",
        ] {
            check(name, None);
        }
    }

    /// The interfaces that a WIT text declares, `package/name`, without versions.
    fn declared(wit: &str) -> Vec<String> {
        let mut package = "";
        let mut names = Vec::new();
        for line in wit.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("package ") {
                package = name.split(['@', ';']).next().unwrap_or_default();
            } else if let Some(name) = line.strip_prefix("interface ") {
                names.push(format!("{package}/{}", name.trim_end_matches([' ', '{'])));
            }
        }
        names.sort();
        names
    }

    fn known(namespace: &str) -> Vec<String> {
        let names = INTERFACES.iter().map(|(name, _)| (*name).to_owned());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(namespace)).collect();
        names.sort();
        names
    }

    #[test]
    fn what_may_be_imported_is_what_the_interface_files_declare() {
        let host = include_str!("../../../wasm-sdk/wit/host.wit");
        assert_eq!(declared(host), known("fettle:host/"));
        assert!(host.starts_with(&format!("package {HOST_PACKAGE};")));
        let playbook = include_str!("../../../wasm-sdk/wit/playbook.wit");
        assert_eq!(declared(playbook), ["fettle:host/playbook"]);
        assert!(playbook.starts_with(&format!("package {HOST_PACKAGE};")) && is_playbook("fettle:host/playbook@0.1.0"));
        assert_eq!(declared(include_str!("../../wit/virtual-wasi.wit")), known("wasi:"));
    }

    #[test]
    fn what_changes_or_shows_the_host_needs_a_grant_of_its_kind() {
        let needs = |name: &str| Import::parse(name).and_then(Import::needs);
        assert_eq!(needs("fettle:host/releases@0.1.0"), Some(GrantKind::Release));
        assert_eq!(needs("fettle:host/facts@0.1.0"), Some(GrantKind::Facts));
        assert_eq!(needs("fettle:host/clock@0.1.0"), None);
    }
}
