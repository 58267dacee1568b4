//! The SDK for playbooks in Rust: typed handles over the WIT interface in `wasm-sdk/wit`.
//!
//! A playbook is straight-line code. It opens handles by the labels of its manifest, looks, acts
//! with what it saw, and returns an [`Outcome`]. The host plans, journals, replays, refuses and
//! undoes; nothing here retries, sleeps by itself, or knows whether the run is a plan.
//!
//! ```
//! use fettle_sdk::prelude::*;
//!
//! #[playbook]
//! fn run(run: &Run) -> Result<Outcome, Failure> {
//!     let web = run.service("web")?;
//!     let seen = web.status()?;
//!     if seen.activity == Activity::Active {
//!         return no_action("it runs already");
//!     }
//!     web.start(&seen)?;
//!     web.wait_for(Activity::Active, secs(30))?;
//!     resolved("started it")
//! }
//! ```
//!
//! Host calls exist in a component only; on another target they cannot be reached. Playbooks are
//! tested by running the component against scenarios, not by calling the function.

// The bindings' export macro names this crate from inside and from playbooks by the same path.
extern crate self as fettle_sdk;

#[doc(hidden)]
pub mod bindings;
mod duration;
mod error;
#[doc(hidden)]
pub mod guest;
mod handle;
mod outcome;
pub mod prelude;
mod run;

pub use bindings::exports::fettle::host::playbook::{Failure, Issue, Outcome, Trigger};
pub use bindings::fettle::host::facts::Fact;
pub use bindings::fettle::host::feature_flags::Setting;
pub use bindings::fettle::host::health::{Report, Verdict};
pub use bindings::fettle::host::log::Level;
pub use bindings::fettle::host::releases::Release;
pub use bindings::fettle::host::services::{Activity, Status};
pub use bindings::fettle::host::types::{ActError, OpenError, ReadError, Receipt, Undo};
pub use duration::{Millis, hours, mins, secs};
pub use error::CallError;
pub use fettle_sdk_macro::{parameters, playbook};
pub use handle::{CurrentRelease, Facts, Flag, Health, Releases, Service};
pub use outcome::{escalate, mitigated, no_action, resolved};
pub use run::Run;

#[doc(hidden)]
pub use serde;
#[doc(hidden)]
pub use wit_bindgen;
