//! Tests at the crate's boundary.

mod package;
mod support;
