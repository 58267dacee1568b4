//! Fills a host's own values into a check. Pure; the effector calls it for each check of a new
//! configuration before it hands the check to the daemon.
//!
//! Text of the control plane may hold one `{host.key}`. A filled-in value is not looked at again, and any
//! other brace is an error: a misspelt reference must not be probed as it stands.

use fettle_model::check::{Check, HostValue, Probe};
use fettle_model::name::{CheckName, ServiceName};
use std::collections::BTreeMap;

const OPEN: &str = "{host.";

/// Why a value has no meaning on this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// The host does not say.
    #[error(
        "{text:?} needs a value of this host: add {key} = \"…\" to [service.{service}.host-values] in the agent's configuration"
    )]
    Missing {
        /// Whose table lacks it.
        service: ServiceName,
        /// The key to add.
        key: String,
        /// The text that refers to it.
        text: String,
    },
    /// More than one reference.
    #[error("{text:?} has more than one {{host.key}} reference")]
    Several {
        /// The text.
        text: String,
    },
    /// A brace that begins or ends no reference.
    #[error("{text:?} has a brace that is not part of {{host.key}}")]
    StrayBrace {
        /// The text.
        text: String,
    },
    /// A check cannot be resolved.
    #[error("check {check} of service {service} has no meaning on this host")]
    Check {
        /// The service.
        service: ServiceName,
        /// The check.
        check: CheckName,
        /// Which value, and why.
        #[source]
        value: Box<Unresolved>,
    },
}

/// The value as text, with its reference replaced by what the host says.
///
/// # Errors
/// When the host lacks the key, there is more than one reference, or a brace is not part of one.
pub fn resolve_value(
    service: &ServiceName,
    value: &HostValue,
    host_values: &BTreeMap<String, String>,
) -> Result<String, Unresolved> {
    let text = value.0.as_str();
    let stray = || Unresolved::StrayBrace { text: text.to_owned() };
    let Some((before, rest)) = text.split_once(OPEN) else {
        return if text.contains(['{', '}']) { Err(stray()) } else { Ok(text.to_owned()) };
    };
    let (key, after) = rest.split_once('}').ok_or_else(stray)?;
    if after.contains(OPEN) {
        return Err(Unresolved::Several { text: text.to_owned() });
    }
    if key.is_empty() || [before, key, after].iter().any(|part| part.contains(['{', '}'])) {
        return Err(stray());
    }
    match host_values.get(key) {
        Some(value) => Ok([before, value, after].concat()),
        None => Err(Unresolved::Missing { service: service.clone(), key: key.to_owned(), text: text.to_owned() }),
    }
}

/// The check with every value filled in.
///
/// # Errors
/// [`Unresolved::Check`] with the value that cannot be filled in as its source.
pub fn resolve_check(
    service: &ServiceName,
    check: &Check,
    host_values: &BTreeMap<String, String>,
) -> Result<Check, Unresolved> {
    let fill = |value: &HostValue| {
        resolve_value(service, value, host_values).map(HostValue).map_err(|unresolved| Unresolved::Check {
            service: service.clone(),
            check: check.name.clone(),
            value: Box::new(unresolved),
        })
    };
    let probe = match &check.probe {
        Probe::Http { url, expect_status, expect_body, no_answer } => Probe::Http {
            url: fill(url)?,
            expect_status: expect_status.clone(),
            expect_body: expect_body.clone(),
            no_answer: *no_answer,
        },
        Probe::Tcp { address } => Probe::Tcp { address: fill(address)? },
        Probe::Process { pid_file } => Probe::Process { pid_file: fill(pid_file)? },
        Probe::SystemdUnit { unit } => Probe::SystemdUnit { unit: fill(unit)? },
        Probe::Resource { resource, warning_percent, critical_percent } => Probe::Resource {
            resource: resource.clone(),
            warning_percent: *warning_percent,
            critical_percent: *critical_percent,
        },
        Probe::File { path, must, max_age } => Probe::File { path: fill(path)?, must: *must, max_age: *max_age },
        Probe::Command { command } => Probe::Command { command: command.clone() },
    };
    Ok(Check { probe, ..check.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;
    use std::time::Duration;

    fn web() -> ServiceName {
        "web".parse().expect("a name")
    }

    fn values() -> BTreeMap<String, String> {
        BTreeMap::from([
            ("address".to_owned(), "10.0.0.7:80".to_owned()),
            ("odd".to_owned(), "{host.address}".to_owned()),
        ])
    }

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let resolved = resolve_value(&web(), &HostValue(text.to_owned()), &values());
        assert_eq!(resolved.map_err(|wrong| wrong.to_string()), expected.map(str::to_owned).map_err(str::to_owned));
    }

    #[test]
    fn one_reference_is_filled_in_wherever_it_stands() {
        check("http://127.0.0.1/", Ok("http://127.0.0.1/"));
        check("http://{host.address}/healthz", Ok("http://10.0.0.7:80/healthz"));
        check("{host.address}", Ok("10.0.0.7:80"));
        check("a{host.odd}", Ok("a{host.address}"));
        check("", Ok(""));
    }

    #[test]
    fn a_missing_value_says_what_to_add_and_where() {
        check(
            "{host.port}",
            Err(
                "\"{host.port}\" needs a value of this host: add port = \"…\" to [service.web.host-values] in the agent's configuration",
            ),
        );
    }

    #[test]
    fn anything_but_one_whole_reference_is_refused() {
        check("{host.address}{host.odd}", Err("\"{host.address}{host.odd}\" has more than one {host.key} reference"));
        for stray in [
            "{hosts.address}",
            "{host.address",
            "a}",
            "{",
            "{host.}",
            "}{host.address}",
            "{host.{host.address}",
            "{host.address}}",
        ] {
            let resolved = resolve_value(&web(), &HostValue(stray.to_owned()), &values());
            assert_eq!(resolved, Err(Unresolved::StrayBrace { text: stray.to_owned() }));
        }
    }

    #[test]
    fn every_host_value_of_a_check_is_filled_in_and_nothing_else_is_touched() {
        let with = |probe| Check {
            name: "answers".parse().expect("a name"),
            probe,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            fail_after: 3,
            recover_after: 4,
        };
        let reference = || HostValue("{host.address}".to_owned());
        let filled = || HostValue("10.0.0.7:80".to_owned());
        let must = fettle_model::check::Presence::Exist;
        let no_answer = fettle_model::check::NoAnswer::Unknown;
        let http = |url| Probe::Http { url, expect_status: vec![204], expect_body: Some("{ok}".to_owned()), no_answer };
        for (before, after) in [
            (http(reference()), http(filled())),
            (Probe::Tcp { address: reference() }, Probe::Tcp { address: filled() }),
            (Probe::Process { pid_file: reference() }, Probe::Process { pid_file: filled() }),
            (Probe::SystemdUnit { unit: reference() }, Probe::SystemdUnit { unit: filled() }),
            (
                Probe::File { path: reference(), must, max_age: None },
                Probe::File { path: filled(), must, max_age: None },
            ),
        ] {
            assert_eq!(resolve_check(&web(), &with(before.clone()), &values()), Ok(with(after)));
            let unresolved = resolve_check(&web(), &with(before), &BTreeMap::new()).expect_err("there is no value");
            assert!(unresolved.source().is_some_and(|value| value.to_string().contains("add address")), "{unresolved}");
        }
    }
}
