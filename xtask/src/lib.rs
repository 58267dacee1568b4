//! The developer's commands, as a library so that the end-to-end tests use the same supervision of
//! processes. `cargo xtask --help` lists the commands. Nothing that is shipped depends on this crate.

pub mod bench;
pub(crate) mod clock;
pub mod demo;
pub mod guests;
pub mod interrupt;
pub mod process;
pub mod programs;
pub mod stage;
pub mod steps;
pub mod test;
pub mod tidy;
pub mod tools;
pub mod workspace;
