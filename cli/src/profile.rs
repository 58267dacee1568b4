//! A profile: who somebody is towards one control plane, and where that is.
//!
//! ```text
//! <folder>/profile.toml   address = "controlplane.example:7445"
//!                         login = "controlplane.example:7444", where `fettle login` made it
//! <folder>/current -> …   the identity, as fettle_certs::store lays it out; its key never leaves
//! <folder>/signing.key    the key that this person signs with; it never leaves either
//! ```
//!
//! `fettle-controlplane init` makes the first one, `fettle person add` and `fettle login` the others; `fettle person
//! renew` renews one, where it did not come from a login. One from a login or from the control plane's console has no
//! signing key until `fettle person key`.

use crate::exit::Exit;
use crate::failure::{Failure, Warning};
use crate::file;
use crate::seed_file::{self, Seed};
use crate::when::{instant, span};
use fettle_audit::key::SigningKey;
use fettle_certs::identity::Identity;
use fettle_certs::peer::{OutsideValidity, Validity};
use fettle_certs::store::IdentityStore;
use fettle_model::identity::Principal;
use fettle_model::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the file beside the identity.
const FILE: &str = "profile.toml";
/// Name of the file with the signing key.
const SIGNING_KEY_FILE: &str = "signing.key";
/// Longest profile file: one line of a host name (253 characters), and remarks.
const MAX_FILE_BYTES: usize = 16 * 1024;

/// What a person does when a certificate has ended: an administrator gives them another one, as can
/// whoever is on the control plane's host.
pub(crate) const RENEW: &str = "an administrator gives you a new one: fettle person add NAME --role ROLE --out NEW-PROFILE; \
                                where there is none: fettle-controlplane operator --state DIR --person NAME --out \
                                NEW-PROFILE, on the control plane's host";

/// A loaded profile.
#[derive(Debug)]
pub struct Profile {
    /// The folder.
    pub folder: PathBuf,
    /// Where the control plane serves operators, `host:port`.
    pub address: String,
    /// Where the control plane lets people log in, `host:port`; `None` where the identity is from an administrator or
    /// the console.
    pub login: Option<String>,
    /// Who this is.
    pub identity: Identity,
}

/// Where a control plane is found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileFile {
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    login: Option<String>,
}

impl Profile {
    /// Loads a profile. The certificate's validity is not looked at.
    ///
    /// # Errors
    /// When something of it is missing, or open to others.
    pub fn load(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        // Not `is_file`, for which a folder that may not be entered is one that is not there.
        if std::fs::metadata(&path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            let message = format!("there is no profile in {}", folder.display());
            let remedy = "name one with --profile DIR or FETTLE_PROFILE: the folder operator/ that \
                          `fettle-controlplane init` made, or one from `fettle person add`";
            return Err(Failure::new(Exit::NotFound, message, remedy));
        }
        let text = file::read_text(&path, MAX_FILE_BYTES)?;
        let ProfileFile { address, login } = toml::from_str(&text).map_err(|error| {
            let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let message = format!("{}:{line}: {}", path.display(), error.message());
            Failure::new(
                Exit::Invalid,
                message,
                "write address = \"HOST:PORT\"; login = \"HOST:PORT\" where `fettle login` is used; and nothing else",
            )
        })?;
        if let Some(address) = [Some(&address), login.as_ref()].into_iter().flatten().find(|it| !is_address(it)) {
            let message = format!("{}: the address {address:?} is not HOST:PORT", path.display());
            return Err(Failure::new(Exit::Invalid, message, "write address = \"HOST:PORT\""));
        }
        let identity = IdentityStore::at(folder).load().map_err(|error| file::stored(&error))?.ok_or_else(|| {
            let message = format!("the profile in {} has no identity", folder.display());
            Failure::new(Exit::NotFound, message, RENEW)
        })?;
        Ok(Self { folder: folder.to_owned(), address, login, identity })
    }

    /// Writes a new profile with a signing key.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn create_signing(
        folder: &Path,
        address: &str,
        identity: &Identity,
        signing: &Seed,
    ) -> Result<(), Failure> {
        Self::create(folder, address, identity)?;
        signing.write(&folder.join(SIGNING_KEY_FILE))
    }

    /// Writes a new profile.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(folder: &Path, address: &str, identity: &Identity) -> Result<(), Failure> {
        IdentityStore::at(folder).install(identity).map_err(|error| file::stored(&error))?;
        file::write_new_secret(&folder.join(FILE), profile_file(address, None)?.as_bytes())
    }

    /// Writes a profile whose identity came from a login, in place of the one that is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn log_in(folder: &Path, address: &str, login: &str, identity: &Identity) -> Result<(), Failure> {
        let store = IdentityStore::at(folder);
        store.install(identity).and_then(|()| store.retire_previous()).map_err(|error| file::stored(&error))?;
        file::write(&folder.join(FILE), profile_file(address, Some(login))?.as_bytes())
    }

    /// Puts a renewed identity in the place of the one in use, which stays until the new one is whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn replace_identity(&self, identity: &Identity) -> Result<(), Failure> {
        let store = IdentityStore::at(&self.folder);
        store.install(identity).and_then(|()| store.retire_previous()).map_err(|error| file::stored(&error))
    }

    /// Where the signing key is, or would be.
    #[must_use]
    pub fn signing_key_file(&self) -> PathBuf {
        self.folder.join(SIGNING_KEY_FILE)
    }

    /// The key that this person signs with; `None`: the profile has none.
    ///
    /// # Errors
    /// When its file cannot be read, is open to others, or holds something else.
    pub fn signing_key(&self) -> Result<Option<SigningKey>, Failure> {
        let path = self.signing_key_file();
        if std::fs::symlink_metadata(&path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return Ok(None);
        }
        seed_file::load(&path, "signing key", "an administrator adds you anew: fettle person add").map(Some)
    }

    /// Who this is, for people.
    #[must_use]
    pub fn holder(&self) -> String {
        match &self.identity.holder().id.principal {
            Principal::Person(name) | Principal::ControlPlane(name) => name.to_string(),
            Principal::Agent(host) => host.to_string(),
        }
    }

    /// Looks at the certificate's validity: a failure when it is over, a warning when it soon is.
    ///
    /// # Errors
    /// When the certificate is not valid now.
    pub fn check_validity(&self, now: UnixMillis) -> Result<Option<Warning>, Failure> {
        let renewal = if self.login.is_some() { Renewal::Login } else { Renewal::Renew };
        check_validity(&self.holder(), &self.identity.holder().validity, renewal, now)
    }
}

/// Whether there is a profile in a folder.
#[must_use]
pub fn exists(folder: &Path) -> bool {
    folder.join(FILE).is_file()
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn profile_file(address: &str, login: Option<&str>) -> Result<String, Failure> {
    let file = ProfileFile { address: address.to_owned(), login: login.map(ToOwned::to_owned) };
    toml::to_string(&file).map_err(|error| Failure::internal(format!("no profile file: {error}")))
}

/// How the holder gets the next certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewal {
    /// With this one, while it is good.
    Renew,
    /// At the OpenID provider.
    Login,
}

impl Renewal {
    const fn before_the_end(self) -> &'static str {
        match self {
            Self::Renew => "renew it while it is good: fettle person renew",
            Self::Login => "log in again: fettle login",
        }
    }

    const fn after_the_end(self) -> &'static str {
        match self {
            Self::Renew => RENEW,
            Self::Login => "log in again: fettle login",
        }
    }
}

fn check_validity(
    holder: &str,
    validity: &Validity,
    renewal: Renewal,
    now: UnixMillis,
) -> Result<Option<Warning>, Failure> {
    match validity.check(now) {
        Ok(()) => {
            let left = validity.not_after.since(now);
            Ok((left < soon(validity)).then(|| Warning {
                message: format!("the certificate of {holder} ends in {}", span(left)),
                remedy: renewal.before_the_end().to_owned(),
            }))
        }
        Err(OutsideValidity::Late { since }) => {
            let ended = instant(validity.not_after);
            let message =
                format!("the certificate of {holder} ended {} ago, at {ended}, or the clock here is fast", span(since));
            Err(Failure::new(Exit::Denied, message, renewal.after_the_end()))
        }
        Err(OutsideValidity::Early { wait }) => {
            let message = format!("the certificate of {holder} is not valid for another {}", span(wait));
            Err(Failure::new(Exit::Denied, message, "set the clock of this machine"))
        }
    }
}

/// A certificate ends soon when less than a fifth of its life is left: of a day's, 4 h 48 min, so that a
/// morning's first command says what an afternoon's last one needs.
fn soon(validity: &Validity) -> Duration {
    validity.not_after.since(validity.not_before) / 5
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    fn check_with(renewal: Renewal, now: u64) -> Result<Option<Warning>, Failure> {
        let validity = Validity { not_before: UnixMillis(10 * DAY), not_after: UnixMillis(20 * DAY) };
        check_validity("alice", &validity, renewal, UnixMillis(now))
    }

    fn check(now: u64) -> Result<Option<Warning>, Failure> {
        check_with(Renewal::Renew, now)
    }

    #[test]
    fn who_logged_in_is_told_to_log_in_again() {
        let warning = check_with(Renewal::Login, 19 * DAY).expect("valid").expect("a warning");
        let late = check_with(Renewal::Login, 21 * DAY).expect_err("it ended");
        for remedy in [warning.remedy, late.remedy] {
            assert_eq!(remedy, "log in again: fettle login");
        }
    }

    #[test]
    fn a_certificate_that_ends_soon_is_a_warning_and_one_that_ended_a_failure_with_a_remedy() {
        assert_eq!(check(17 * DAY), Ok(None));
        let warning = check(19 * DAY).expect("valid").expect("a warning").to_string();
        assert!(warning.starts_with("warning: the certificate of alice ends in 1d\nremedy: renew it"), "{warning}");
        assert!(warning.contains("fettle person renew"), "{warning}");
        let late = check(21 * DAY).expect_err("it ended");
        assert_eq!(late.exit, Exit::Denied);
        assert!(late.message.starts_with("the certificate of alice ended 1d ago"), "{late}");
        assert!(late.remedy.contains("fettle-controlplane operator"), "{late}");
        let early = check(9 * DAY).expect_err("not yet");
        assert_eq!(early.message, "the certificate of alice is not valid for another 1d");
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for (text, sound) in
            [("127.0.0.1:7445", true), ("[::1]:7445", true), ("cp:0", false), ("cp", false), (":1", false)]
        {
            assert_eq!(is_address(text), sound, "{text}");
        }
    }
}
