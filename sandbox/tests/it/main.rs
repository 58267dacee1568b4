//! Tests at the crate's boundary. Those of the engine need the feature `engine`.

#[cfg(feature = "engine")]
mod abuse;
#[cfg(feature = "engine")]
mod built;
#[cfg(feature = "engine")]
mod guests;
mod package;
#[cfg(feature = "engine")]
mod scenarios;
mod support;
