//! The configuration's scalars: paths, unit names, argument vectors, addresses, keys.
//!
//! Parsed once from `agent.toml`; the capabilities take these types and check nothing again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_model::digest::KeyId;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A value that does not fit: what is wrong with it (to follow the key's name), and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {remedy}")]
pub struct WrongScalar {
    /// What is wrong, as in "must be …, not …".
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

fn wrong<T>(what: String, remedy: impl Into<String>) -> Result<T, WrongScalar> {
    Err(WrongScalar { what, remedy: remedy.into() })
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

/// Longest path; `PATH_MAX` of Linux is 4096 with its NUL.
const MAX_PATH_BYTES: usize = 4_095;

/// An absolute path without `.`, `..`, empty segments or control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbsolutePath(String);

impl AbsolutePath {
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// The folder and the last segment.
    #[must_use]
    pub fn split(&self) -> (&str, &str) {
        match self.0.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((folder, name)) => (folder, name),
            // INVARIANT: every value starts with a slash.
            None => ("/", &self.0),
        }
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AbsolutePath {
    type Err = WrongScalar;

    fn from_str(text: &str) -> Result<Self, WrongScalar> {
        let Some(segments) = text.strip_prefix('/') else {
            return wrong(format!("must be an absolute path, not {}", shown(text)), "write the whole path, from / on");
        };
        if text.len() > MAX_PATH_BYTES || text.chars().any(char::is_control) {
            return wrong(
                format!("must be a path of at most {MAX_PATH_BYTES} bytes without control characters"),
                "choose another path",
            );
        }
        if segments.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return wrong(
                format!("must have no empty, \".\" or \"..\" segment, but is {}", shown(text)),
                "write the path as `realpath` prints it",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

/// Longest unit name, `UNIT_NAME_MAX` of systemd.
const MAX_UNIT_BYTES: usize = 255;

/// A systemd service unit by its full name. An instance (`postgresql@15-main.service`) is one;
/// a template, another kind of unit and the agent itself are not. That the name is no alias is
/// seen only when systemd is asked; see [`crate::capability`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(String);

impl UnitName {
    /// The agent's own unit. Acting on it would kill the effector in the middle of the effect.
    pub const OWN: &'static str = "fettle-agent.service";

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UnitName {
    type Err = WrongScalar;

    fn from_str(text: &str) -> Result<Self, WrongScalar> {
        let sound = |part: &str| {
            part.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_.\\".contains(&b))
        };
        let Some(stem) = text.strip_suffix(".service") else {
            return wrong(
                format!("must be the full name of a service unit, not {}", shown(text)),
                "write the name as `systemctl show -P Id NAME` prints it, with .service at its end",
            );
        };
        if stem.ends_with('@') {
            return wrong(
                format!("must not be the template {}", shown(text)),
                "name one instance, such as app@1.service",
            );
        }
        let parts_are_sound = match stem.split_once('@') {
            Some((prefix, instance)) => sound(prefix) && sound(instance),
            None => sound(stem),
        };
        if !parts_are_sound || text.len() > MAX_UNIT_BYTES {
            return wrong(
                format!("must be a unit's name, not a path or pattern, but is {}", shown(text)),
                "write the name as `systemctl show -P Id NAME` prints it",
            );
        }
        if text == Self::OWN {
            return wrong(
                "must not be the agent's own unit".to_owned(),
                "leave the agent to systemd's Restart= setting",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

/// Most arguments of a registered command.
const MAX_ARGUMENTS: usize = 64;
/// Longest argument: 64 of them stay below the 128 KiB that Linux allows for one.
const MAX_ARGUMENT_BYTES: usize = 1_024;

/// A command: an absolute program and its arguments. No shell reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argv(Vec<String>);

impl Argv {
    /// Holds the arguments together.
    ///
    /// # Errors
    /// When it is empty, too long, has control characters, or the program is no absolute path.
    pub fn new(arguments: Vec<String>) -> Result<Self, WrongScalar> {
        let Some(program) = arguments.first() else {
            return wrong("must name a program".to_owned(), "write [\"/path/of/program\", \"argument\"]");
        };
        if let Err(path) = program.parse::<AbsolutePath>() {
            return wrong(
                format!("must start with the absolute path of a program: it {}", path.what),
                "write the program's whole path; no shell and no PATH search finds it",
            );
        }
        let fits = |argument: &String| argument.len() <= MAX_ARGUMENT_BYTES && !argument.contains('\0');
        if arguments.len() > MAX_ARGUMENTS || !arguments.iter().all(fits) {
            return wrong(
                format!(
                    "must have at most {MAX_ARGUMENTS} arguments of at most {MAX_ARGUMENT_BYTES} bytes without NUL"
                ),
                "put the command into a script and name the script",
            );
        }
        Ok(Self(arguments))
    }

    /// The program's path.
    #[must_use]
    pub fn program(&self) -> &str {
        // INVARIANT: `new` refuses an empty vector.
        self.0.first().map_or("", String::as_str)
    }

    /// What the program is given.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        self.0.get(1..).unwrap_or_default()
    }

    /// The program and what it is given.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// `host:port`; the host is a DNS name, an IPv4 address or an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// The name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Endpoint {
    type Err = WrongScalar;

    fn from_str(text: &str) -> Result<Self, WrongScalar> {
        let refuse = || {
            wrong(
                format!("must be host:port, not {}", shown(text)),
                "write a name or address and a port, such as fettle.example.org:7443, without a scheme",
            )
        };
        let Some((host, port)) = text.rsplit_once(':') else { return refuse() };
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host_is_sound = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                (1..=253).contains(&host.len())
                    && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
            }
        };
        match port.parse::<u16>() {
            Ok(port) if host_is_sound && port != 0 => Ok(Self { host: bracketed.unwrap_or(host).to_owned(), port }),
            _ => refuse(),
        }
    }
}

/// The 32 public bytes of an Ed25519 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key's name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.0)
    }
}

impl FromStr for PublicKey {
    type Err = WrongScalar;

    fn from_str(text: &str) -> Result<Self, WrongScalar> {
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        match bytes {
            Some(bytes) => Ok(Self(bytes)),
            None => wrong(
                "must be a public key, 32 bytes in base64".to_owned(),
                "copy the public key as its owner publishes it, 44 characters",
            ),
        }
    }
}

/// The log's verifier key, C2SP `signed-note`: `name+hash+key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKeyPin(String);

impl LogKeyPin {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Algorithm byte of Ed25519 in a C2SP verifier key.
const ED25519_ALGORITHM: u8 = 1;

impl FromStr for LogKeyPin {
    type Err = WrongScalar;

    fn from_str(text: &str) -> Result<Self, WrongScalar> {
        let mut parts = text.splitn(3, '+');
        let sound = match (parts.next(), parts.next(), parts.next()) {
            (Some(name), Some(hash), Some(key)) if !name.is_empty() => match STANDARD.decode(key) {
                Ok(key) if key.len() == 33 && key.first() == Some(&ED25519_ALGORITHM) => {
                    let full = Sha256::new_with_prefix(name).chain_update(b"\n").chain_update(&key).finalize();
                    full.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<String>() == hash
                }
                Ok(_) | Err(_) => false,
            },
            _ => false,
        };
        if sound {
            Ok(Self(text.to_owned()))
        } else {
            wrong(
                format!("must be a verifier key, name+hash+key, not {}", shown(text)),
                "copy the log's verifier key as the control plane shows it",
            )
        }
    }
}
