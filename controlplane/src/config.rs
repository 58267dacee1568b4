//! `controlplane.toml`: where the control plane listens, and what it tells others about that.
//!
//! Written by [`crate::init`], read at every start. A key that is not known does not parse.

mod oidc;

pub use oidc::{InvalidOidcText, Oidc, OidcText};

use fettle_model::identity::TrustDomain;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Longest configuration file: it has a dozen lines.
const MAX_CONFIG_BYTES: usize = 64 * 1024;

/// The configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The root of this installation's identities.
    pub trust_domain: TrustDomain,
    /// Where to listen.
    pub listen: Listen,
    /// What agents and people are told, where that is another address.
    #[serde(default)]
    pub advertise: Advertise,
    /// Who identifies people, beside their certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// For agents with an identity.
    pub agents: SocketAddr,
    /// For agents that have none yet.
    pub enrol: SocketAddr,
    /// For people.
    pub operators: SocketAddr,
}

impl Default for Listen {
    /// Nothing listens beyond loopback by default.
    fn default() -> Self {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self { agents: at(7443), enrol: at(7444), operators: at(7445) }
    }
}

/// What agents and people are told; where nothing is given, the address on which the port is bound.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advertise {
    /// For agents with an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agents: Option<HostPort>,
    /// For agents that have none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrol: Option<HostPort>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operators: Option<HostPort>,
}

/// `HOST:PORT`, a name or an address; an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct HostPort(String);

/// The text is not `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an address must be HOST:PORT such as fettle.example.org:7443, not {text:?}")]
pub struct InvalidHostPort {
    /// What was given, cut to 120 characters.
    pub text: String,
}

impl FromStr for HostPort {
    type Err = InvalidHostPort;

    fn from_str(text: &str) -> Result<Self, InvalidHostPort> {
        /// Longest name of a host (RFC 1035), brackets, colon and port.
        const MAX_BYTES: usize = 253 + 2 + 6;
        let sound = text.len() <= MAX_BYTES
            && text.rsplit_once(':').is_some_and(|(host, port)| {
                let name = !host.is_empty()
                    && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte));
                name && port.parse::<u16>().is_ok_and(|port| port > 0)
            });
        if sound { Ok(Self(text.to_owned())) } else { Err(InvalidHostPort { text: text.chars().take(120).collect() }) }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It could not be read.
    #[error("{} cannot be read; make it with `fettle-controlplane init`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is too long.
    #[error("{} is longer than {MAX_CONFIG_BYTES} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It is not TOML, or has a key that is not known, or a value that is none.
    #[error("{} is not sound", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where, and what.
        #[source]
        source: Box<toml::de::Error>,
    },
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// With the file, the line and what is wrong.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(read)?.len() > MAX_CONFIG_BYTES as u64 {
            return Err(ConfigError::TooLong { path: path.to_owned() });
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
    }

    /// The file's text.
    ///
    /// # Errors
    /// Never in practice: only when the serializer fails.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_an_unknown_key_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("controlplane.toml");
        let config = Config {
            trust_domain: "fettle.test".parse().expect("a trust domain"),
            listen: Listen::default(),
            oidc: None,
            advertise: Advertise { enrol: Some("cp.test:7444".parse().expect("an address")), ..Advertise::default() },
        };
        let text = config.to_toml().expect("TOML");
        std::fs::write(&path, &text).expect("written");
        assert_eq!(Config::read(&path).expect("read"), config);
        std::fs::write(&path, format!("listne = 1\n{text}")).expect("written");
        let error = anyhow::Error::from(Config::read(&path).expect_err("refused"));
        assert!(format!("{error:#}").contains("listne"), "{error:#}");
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for (text, sound) in [
            ("cp.example:7443", true),
            ("[::1]:7443", true),
            ("cp.example", false),
            (":7443", false),
            ("cp.example:0", false),
            ("cp.example:70000", false),
            ("cp example:1", false),
        ] {
            assert_eq!(text.parse::<HostPort>().is_ok(), sound, "{text}");
        }
    }
}
