//! What the `#[playbook]` macro calls. Not for playbooks themselves.

use crate::bindings::exports::fettle::host::playbook;
use crate::{Failure, Issue, Outcome, Run, Trigger};
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use playbook::Guest;

/// The parameters of a playbook that has none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

/// Runs the playbook. The host has checked the parameters against the manifest, so that they fail
/// to deserialise only when the manifest and the code differ.
pub fn run<P: DeserializeOwned>(
    trigger: Trigger,
    playbook: impl FnOnce(&Run, P) -> Result<Outcome, Failure>,
) -> Result<Outcome, Failure> {
    let parameters = serde_json::from_str(&trigger.parameters)
        .map_err(|error| Failure::new(format!("the parameters are not those of this playbook: {error}")))?;
    playbook(&Run::new(trigger), parameters)
}

/// Checks parameters as the code sees them. `_playbook` only names their type.
pub fn check<P: DeserializeOwned>(
    parameters: &str,
    _playbook: impl FnOnce(&Run, P) -> Result<Outcome, Failure>,
    further: impl FnOnce(&P) -> Result<(), Vec<Issue>>,
) -> Result<(), Vec<Issue>> {
    let parameters: P = serde_json::from_str(parameters)
        .map_err(|error| vec![Issue { pointer: String::new(), message: error.to_string() }])?;
    further(&parameters)
}

/// The check of a playbook that has none of its own.
pub fn nothing_further<P>(_parameters: &P) -> Result<(), Vec<Issue>> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{no_action, resolved};

    #[fettle_sdk::parameters]
    struct Parameters {
        max_restarts: u32,
    }

    fn act(_run: &Run, Parameters { max_restarts }: Parameters) -> Result<Outcome, Failure> {
        if max_restarts == 0 { no_action("none allowed") } else { resolved("done") }
    }

    fn trigger(parameters: &str) -> Trigger {
        Trigger {
            run_id: "r".to_owned(),
            incident_id: String::new(),
            alert: "a".to_owned(),
            fired: 0,
            labels: Vec::new(),
            parameters: parameters.to_owned(),
        }
    }

    #[test]
    fn a_playbook_gets_its_parameters_by_their_names_in_the_manifest() {
        assert_eq!(run(trigger(r#"{"max-restarts":0}"#), act), no_action("none allowed"));
        assert_eq!(run(trigger(r#"{"max-restarts":3}"#), act), resolved("done"));
        let failure = run(trigger(r#"{"max_restarts":3}"#), act).expect_err("the name is not the manifest's");
        assert!(failure.summary.starts_with("the parameters are not those of this playbook: unknown field"));
    }

    #[test]
    fn the_further_check_sees_parameters_only_when_they_parse() {
        let further = |parameters: &Parameters| {
            let issue = Issue { pointer: "/max-restarts".to_owned(), message: "is odd".to_owned() };
            if parameters.max_restarts.is_multiple_of(2) { Ok(()) } else { Err(vec![issue]) }
        };
        assert_eq!(check(r#"{"max-restarts":2}"#, act, further), Ok(()));
        let issues = check(r#"{"max-restarts":3}"#, act, further).expect_err("odd");
        assert_eq!(issues[0].pointer, "/max-restarts");
        let issues = check("{}", act, further).expect_err("a parameter is missing");
        assert!(issues[0].message.starts_with("missing field `max-restarts`"), "{issues:?}");
        assert!(check(r#"{"x":1}"#, |_, NoParameters {}| resolved("done"), nothing_further).is_err());
    }
}
