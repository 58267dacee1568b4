//! What every command is given: the profile's place, the output's format, and the time.

use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::profile::{self, Profile};
use crate::terminal::{self, Format};
use fettle_model::time::UnixMillis;
use std::path::PathBuf;
use std::time::SystemTime;

/// The surroundings of a command.
#[derive(Debug, Clone)]
pub struct Context {
    /// The profile's folder, where one was named or the home folder is known.
    pub profile: Option<PathBuf>,
    /// For whom the output is.
    pub format: Format,
    /// When the command began.
    pub now: UnixMillis,
}

impl Context {
    /// Loads the profile and connects. Says so when the certificate ends soon.
    ///
    /// # Errors
    /// When there is no profile, its certificate is over, or the control plane cannot be reached.
    pub async fn connect(&self) -> Result<Connection, Failure> {
        Connection::open(&self.load_profile()?, self.format).await
    }

    /// Loads the profile; its certificate is valid now.
    ///
    /// # Errors
    /// When there is no profile, or its certificate is over.
    pub fn load_profile(&self) -> Result<Profile, Failure> {
        let Some(folder) = &self.profile else {
            let message = "there is no home folder in which a profile could be";
            return Err(Failure::new(Exit::Usage, message, "name one with --profile DIR or FETTLE_PROFILE"));
        };
        let profile = Profile::load(folder)?;
        if let Some(warning) = profile.check_validity(self.now)? {
            terminal::warn(&warning, self.format);
        }
        Ok(profile)
    }

    /// Whether there is a profile at all.
    #[must_use]
    pub fn has_profile(&self) -> bool {
        self.profile.as_deref().is_some_and(profile::exists)
    }
}

/// The wall clock, read once per command or poll.
#[expect(clippy::disallowed_methods, reason = "this is the rim: it hands the time down")]
#[must_use]
pub fn wall_clock() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(fettle_model::time::whole_millis(since))
}
