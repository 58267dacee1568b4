//! Numbers that only grow. Each has its own type: a fence is not an epoch.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Largest value that I-JSON carries exactly (RFC 7493, section 2.2): 2^53 - 1.
pub const MAX: u64 = (1 << 53) - 1;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The value after this one. Saturates at [`MAX`], which no installation reaches: a
            /// million steps a second take 285 years.
            #[must_use]
            pub const fn next(self) -> Self {
                if self.0 >= MAX { Self(MAX) } else { Self(self.0 + 1) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

counters! {
    /// Counts the changes of one check on one host; the first transition has epoch 1.
    TransitionEpoch;
    /// Fencing token of one host: every permit for it carries a higher one than the last.
    Fence;
    /// Counts an agent's records without a gap, from 1.
    AgentSequence;
    /// Index of a record in the log, from 0.
    LogPosition;
    /// Number of records in a tree: one more than the last position.
    TreeSize;
    /// Which leadership wrote a batch. A journal refuses a lower one than it has seen.
    LeaderEpoch;
    /// Version of the configuration; an agent refuses a lower one than it holds.
    ConfigurationGeneration;
    /// Counts `stop` orders. A permit older than the newest stop in its scope is void.
    StopEpoch;
    /// Counts an agent's certificates; compared and set at each rotation.
    CertificateGeneration;
}

impl LogPosition {
    /// Size of the smallest tree that contains this record.
    #[must_use]
    pub const fn tree_size(self) -> TreeSize {
        TreeSize(self.0 + 1)
    }
}
