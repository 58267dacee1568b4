//! A unit's state, as `systemctl show` prints it.

use anyhow::Context as _;

/// The properties that are asked for.
pub(crate) const PROPERTIES: &str = "ActiveState,SubState,Result,MainPID,NRestarts,InvocationID";

/// What systemd says about a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// `ActiveState`: `active`, `inactive`, `failed`, `activating`, …
    pub active: String,
    /// `SubState`: `running`, `dead`, `auto-restart`, …
    pub sub: String,
    /// `Result`: `success`, `signal`, `exit-code`, …
    pub result: String,
    /// The main process, as the host sees it.
    pub main_pid: Option<u32>,
    /// How often systemd restarted it by itself.
    pub restarts: u32,
    /// Names one run of the unit; empty when it never ran.
    pub invocation: String,
}

impl UnitState {
    pub(crate) fn parse(shown: &str) -> anyhow::Result<Self> {
        let property = |name: &str| {
            let line = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(str::to_owned).with_context(|| format!("systemctl showed no {name}"))
        };
        let main_pid = property("MainPID")?.parse().context("MainPID is no number")?;
        Ok(Self {
            active: property("ActiveState")?,
            sub: property("SubState")?,
            result: property("Result")?,
            main_pid: Some(main_pid).filter(|pid| *pid != 0),
            restarts: property("NRestarts")?.parse().context("NRestarts is no number")?,
            invocation: property("InvocationID")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_from_what_systemctl_shows() {
        let shown = "MainPID=0\nResult=signal\nNRestarts=2\nActiveState=failed\nSubState=failed\nInvocationID=ab\n";
        let state = UnitState::parse(shown).expect("it is complete");
        assert_eq!((state.active.as_str(), state.main_pid, state.restarts), ("failed", None, 2));
        assert!(UnitState::parse("ActiveState=active\n").is_err());
    }
}
