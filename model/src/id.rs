//! Identifiers that are UUIDs.
//!
//! Each kind of thing has its own type, so that a permit's id cannot be passed where a run's is
//! wanted. Ids are minted at the rim (the caller passes the random bytes) and are never reused.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// The text was not a UUID in its hyphenated form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057, not {text:?}")]
pub struct InvalidId {
    /// Which kind of id was expected.
    pub kind: &'static str,
    /// What was given instead, cut to 64 characters.
    pub text: String,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that the rim has minted.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID inside.
            #[must_use]
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                // Only the lower-case hyphenated form: one spelling in the log, in URLs and on the screen.
                Uuid::parse_str(text)
                    .ok()
                    .filter(|uuid| uuid.hyphenated().to_string() == text)
                    .map(Self)
                    .ok_or_else(|| InvalidId { kind: $kind, text: text.chars().take(64).collect() })
            }
        }
    )*};
}

ids! {
    /// A host and the agent on it: the last segment of its SPIFFE id.
    HostId, "a host id";
    /// One boot of one host, as the kernel names it in `/proc/sys/kernel/random/boot_id`.
    BootId, "a boot id";
    /// An agent's request for a permit; chosen and kept by the agent before it is sent.
    RequestId, "a request id";
    /// A permit.
    PermitId, "a permit id";
    /// One execution of a playbook under a permit.
    RunId, "a run id";
    /// A drill on a staging host.
    DrillId, "a drill id";
    /// A proposal that waits for a person.
    ProposalId, "a proposal id";
    /// A person's ask for a role for a while.
    BreakGlassId, "a break-glass id";
    /// A freeze that a person declared.
    FreezeId, "a freeze id";
    /// A mute that a person started.
    MuteId, "a mute id";
    /// An incident that people were called to.
    IncidentId, "an incident id";
    /// A join token's public name; the secret is never a value of this type.
    TokenId, "a token id";
}
