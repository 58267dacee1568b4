//! The agent's program, its three processes and its real files, against a control plane that a test plays:
//! with real keys, over real TLS, and as wrong as the test wants.

mod announcing;
mod asking;
mod climbing;
mod configurations;
mod control_plane;
mod enrolment;
mod host;
mod injections;
mod log;
mod offline;
mod outbox;
mod permits;
mod rotation;
mod service_manager;
mod stand;
mod trust;
mod withheld;
mod worker;
