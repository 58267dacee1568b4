//! End to end: the built programs as processes, on loopback and on throw-away hosts.

mod agent_crashes;
mod announcing;
mod approving;
mod break_glass;
mod configuration;
mod control_plane_crashes;
mod drilling;
mod escalating;
mod healing;
mod hostile;
mod login;
mod muting;
mod offline;
mod outage;
mod real_host;
mod roles;
mod rollout;
mod scheduling;
mod simulating;
mod stopping;
mod superseded;
