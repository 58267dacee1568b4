//! Rollouts: how a configuration, and with it the versions of playbooks that it names, reaches hosts ring by ring.
//!
//! Decided by the control plane's core, told by the operators' API, re-checked by the offline verifier. What hosts
//! beyond the reached rings are judged by is stated here once ([`held_back`]), for the core and the verifier alike.

use crate::breaker::Scope;
use crate::check::CheckRef;
use crate::configuration::Configuration;
use crate::counter::ConfigurationGeneration;
use crate::guard::Amount;
use crate::id::{HostId, RunId};
use crate::name::{EnvironmentName, PersonName, PlaybookName, RemediationName, ServiceName};
use crate::remediation::{Mode, Remediation};
use crate::run::Ending;
use crate::time::millis;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How a rollout goes on. Set by `[rollout]` in the operators' files; defaults are on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RolloutLimits {
    /// How long every host of a ring must have held the configuration, and nothing bad have happened, before the
    /// next ring.
    #[serde(with = "millis", rename = "soak_ms")]
    pub soak: Duration,
    /// How many hosts of each environment the ring `part` has, of those that carry what changes.
    pub part: Amount,
}

/// The longest soak: a weekend and its Monday. What takes longer is a decision of people.
pub const MAX_SOAK: Duration = Duration::from_hours(72);

impl Default for RolloutLimits {
    fn default() -> Self {
        // Checks run every few seconds: a minute shows what a configuration does to them.
        Self { soak: Duration::from_mins(1), part: Amount::Percent(25) }
    }
}

/// Whom a configuration reaches when it is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Every host at once: there is nothing to protect.
    #[default]
    Everywhere,
    /// One ring after the other.
    Rings,
}

/// A ring: a part of the fleet that gets a configuration together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ring {
    /// Every host of the environment `staging`.
    Staging,
    /// One host of each other environment.
    One,
    /// A part of each other environment.
    Part,
    /// Every host.
    All,
}

impl Ring {
    /// All rings, in order.
    pub const ALL: [Self; 4] = [Self::Staging, Self::One, Self::Part, Self::All];

    /// The ring after it.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Staging => Some(Self::One),
            Self::One => Some(Self::Part),
            Self::Part => Some(Self::All),
            Self::All => None,
        }
    }

    /// Its name in documents and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Staging => "staging",
            Self::One => "one",
            Self::Part => "part",
            Self::All => "all",
        }
    }
}

/// A configuration reached a ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutAdvanced {
    /// The configuration that is rolled out.
    pub generation: ConfigurationGeneration,
    /// The ring. That of `all` ends the rollout.
    pub ring: Ring,
    /// The hosts outside staging that the ring `one` or `part` adds. None for `all`, which adds everybody.
    pub hosts: BTreeSet<HostId>,
}

/// Something that halts a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Setback {
    /// A host cannot hold the configuration.
    Rejected {
        /// The host.
        host: HostId,
    },
    /// A breaker opened over something that changes.
    BreakerOpened {
        /// Its scope.
        scope: Scope,
    },
    /// A run of a remediation that changes did not help.
    RunEnded {
        /// The run.
        run: RunId,
        /// Where.
        host: HostId,
        /// How it ended.
        ending: Ending,
    },
}

/// A rollout halted: it reaches no further host until a person resumes or aborts it, or applies another
/// configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutHalted {
    /// The configuration that is rolled out.
    pub generation: ConfigurationGeneration,
    /// The ring in which it halted.
    pub ring: Ring,
    /// Everything that happened until then.
    pub because: Vec<Setback>,
}

/// What a person wants of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutOrder {
    /// Go on: what halted it is looked at, and counts no more.
    Resume,
    /// Go back: everybody gets what was in force before, as a new generation.
    Abort,
}

impl RolloutOrder {
    /// Its name in documents and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Abort => "abort",
        }
    }
}

/// A person ordered a rollout to go on or to go back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutOrdered {
    /// The configuration that is rolled out.
    pub generation: ConfigurationGeneration,
    /// What.
    pub order: RolloutOrder,
    /// Who.
    pub by: PersonName,
    /// Why.
    pub why: String,
}

/// Most faults that an agent names in one record: a page for a person. Of more, the first are named.
pub const MAX_FAULTS: usize = 32;

/// One thing because of which a host cannot hold a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum ConfigurationFault {
    /// This agent cannot read it: it has something that the agent does not know, or more than the agent's bounds.
    Unreadable {
        /// What, and where: one line of at most [`crate::check::MAX_REASON_BYTES`].
        why: String,
    },
    /// A check of a service that the host carries cannot be built here.
    Check {
        /// The check.
        check: CheckRef,
        /// Why: one line of at most [`crate::check::MAX_REASON_BYTES`].
        why: String,
    },
}

/// An agent rejects a configuration as a whole; what it held before stays in force on its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationRejected {
    /// The configuration.
    pub generation: ConfigurationGeneration,
    /// What stays in force; zero: none.
    pub keeps: ConfigurationGeneration,
    /// What is wrong with it here: 1 to [`MAX_FAULTS`].
    pub because: ConfigurationFaults,
}

/// What a host cannot hold: at least one thing, at most [`MAX_FAULTS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<ConfigurationFault>", into = "Vec<ConfigurationFault>")]
pub struct ConfigurationFaults(Vec<ConfigurationFault>);

/// Nothing is wrong, or more than a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a configuration is rejected because of 1 to {MAX_FAULTS} things, not {0}")]
pub struct InvalidFaults(pub usize);

impl ConfigurationFaults {
    /// The first [`MAX_FAULTS`] of these.
    ///
    /// # Errors
    /// When there is none.
    pub fn first_of(mut all: Vec<ConfigurationFault>) -> Result<Self, InvalidFaults> {
        all.truncate(MAX_FAULTS);
        Self::try_from(all)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigurationFault> {
        self.0.iter()
    }
}

impl TryFrom<Vec<ConfigurationFault>> for ConfigurationFaults {
    type Error = InvalidFaults;

    fn try_from(all: Vec<ConfigurationFault>) -> Result<Self, InvalidFaults> {
        if (1..=MAX_FAULTS).contains(&all.len()) { Ok(Self(all)) } else { Err(InvalidFaults(all.len())) }
    }
}

impl From<ConfigurationFaults> for Vec<ConfigurationFault> {
    fn from(faults: ConfigurationFaults) -> Self {
        faults.0
    }
}

/// What a configuration changes for hosts that hold the one before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Services that are added, removed or defined anew, and those whose remediations change.
    pub services: BTreeSet<ServiceName>,
    /// Remediations that are added, or trusted further, or do something else.
    pub remediations: BTreeSet<RemediationName>,
    /// The playbooks of these remediations.
    pub playbooks: BTreeSet<PlaybookName>,
}

impl Changes {
    /// What is different in `target` for whoever holds `previous`. A remediation that is removed, or trusted less, is no
    /// change to be careful with, and its guard is the control plane's own.
    #[must_use]
    pub fn between(previous: &Configuration, target: &Configuration) -> Self {
        let mut changes = Self::default();
        let names = previous.services().iter().chain(target.services()).map(|service| &service.name);
        for name in names {
            if previous.service(name) != target.service(name) {
                changes.services.insert(name.clone());
            }
        }
        for remediation in target.remediations() {
            let before = previous.remediation(&remediation.name);
            if before.is_none_or(|before| goes_further(before, remediation)) {
                changes.remediations.insert(remediation.name.clone());
                changes.playbooks.extend(remediation.playbooks().map(|playbook| playbook.name.clone()));
                changes.services.insert(remediation.service.clone());
            }
        }
        changes
    }

    /// Whether nothing changes for hosts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.remediations.is_empty()
    }
}

/// Whether the remediation may do something that it could not do before.
fn goes_further(before: &Remediation, after: &Remediation) -> bool {
    // Destructured, so that a new part cannot be forgotten here.
    let Remediation { name: _, service, check, playbook, parameters, modes, escalation, guard: _, offline } = after;
    let trusted_further = |environment: &EnvironmentName| after.mode_in(environment) > before.mode_in(environment);
    *service != before.service
        || *check != before.check
        || *playbook != before.playbook
        || *parameters != before.parameters
        || *escalation != before.escalation
        || (offline.is_some() && *offline != before.offline)
        || modes.keys().any(trusted_further)
}

/// The lower mode of two in each environment; one that is not named is `observe`.
fn lower(held: &Modes, target: &Modes) -> Modes {
    let allowed = |environment| target.get(environment).copied().unwrap_or(Mode::Observe);
    held.iter().map(|(environment, mode)| (environment.clone(), allowed(environment).min(*mode))).collect()
}

/// How far something is trusted, per environment.
type Modes = BTreeMap<EnvironmentName, Mode>;

/// What hosts that still hold `previous` are judged by while `target` is rolled out: what they hold, and no more than
/// `target` allows. A remediation that `target` does not have answers nothing any more, a mode is the lower of the two,
/// and the limits are those of `target`, because they bound groups whose hosts hold either.
#[must_use]
pub fn held_back(previous: &Configuration, target: &Configuration) -> Configuration {
    let remediations = previous.remediations().iter().filter_map(|held| {
        let target = target.remediation(&held.name)?;
        if target.service != held.service || target.check != held.check {
            return None;
        }
        let modes = lower(&held.modes, &target.modes);
        let mut escalation = held.escalation.clone();
        for (place, further) in escalation.then.iter_mut().enumerate() {
            // What the target has taken off its list only observes.
            let allowed = target.escalation.then.get(place).map(|further| further.modes.clone());
            further.modes = lower(&further.modes, &allowed.unwrap_or_default());
        }
        let offline = held.offline.as_ref().and(target.offline.clone());
        Some(Remediation { modes, escalation, offline, guard: target.guard.clone(), ..held.clone() })
    });
    previous.narrowed(remediations.collect(), target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Declared;
    use crate::digest::PlaybookDigest;
    use crate::guard::Guard;
    use crate::remediation::{Parameters, PlaybookVersion};
    use crate::service::{Selector, Tier};

    fn service(name: &str, tier: u8) -> crate::service::Service {
        let check = r#"{"name":"http","probe":{"kind":"tcp","address":"{host.address}"},"interval_ms":1000,
            "timeout_ms":1000,"fail_after":3,"recover_after":3}"#;
        crate::service::Service {
            name: name.parse().expect("a name"),
            owner: "team-web".parse().expect("a name"),
            tier: Tier(tier),
            hosts: Selector::new(["production".parse().expect("a name")].into(), [].into()).expect("not empty"),
            checks: vec![serde_json::from_str(check).expect("a check")],
        }
    }

    fn remediation(service: &str, version: &str, mode: Mode) -> Remediation {
        Remediation {
            name: format!("mend-{service}").parse().expect("a name"),
            service: service.parse().expect("a name"),
            check: "http".parse().expect("a name"),
            playbook: PlaybookVersion {
                name: "restart".parse().expect("a name"),
                digest: PlaybookDigest::of(version.as_bytes()),
            },
            parameters: Parameters::default(),
            modes: BTreeMap::from([("production".parse().expect("a name"), mode)]),
            escalation: crate::escalation::Escalation::default(),
            offline: None,
            guard: Guard::default(),
        }
    }

    fn configuration(generation: u64, declared: Declared) -> Configuration {
        Configuration::new(ConfigurationGeneration(generation), declared).expect("a sound configuration")
    }

    fn of(generation: u64, services: &[crate::service::Service], remediations: &[Remediation]) -> Configuration {
        let (services, remediations) = (services.to_vec(), remediations.to_vec());
        configuration(generation, Declared { services, remediations, ..Declared::default() })
    }

    #[test]
    fn another_version_a_higher_mode_and_another_definition_change_something_and_less_trust_does_not() {
        let before = of(1, &[service("web", 1)], &[remediation("web", "1", Mode::Approve)]);
        let changes = |services: &[_], remediations: &[_]| Changes::between(&before, &of(2, services, remediations));
        let web = [service("web", 1)];
        let remediations = |changes: Changes| changes.remediations.len();
        assert_eq!(remediations(changes(&web, &[remediation("web", "2", Mode::Approve)])), 1);
        assert_eq!(remediations(changes(&web, &[remediation("web", "1", Mode::Auto)])), 1);
        assert!(changes(&web, &[remediation("web", "1", Mode::Observe)]).is_empty());
        assert!(changes(&web, &[]).is_empty());
        let mut guarded = remediation("web", "1", Mode::Approve);
        guarded.guard.max_attempts += 1;
        assert!(changes(&web, &[guarded]).is_empty());
        let defined = changes(&[service("web", 2)], &[remediation("web", "1", Mode::Approve)]);
        assert_eq!((defined.services.len(), defined.remediations.len()), (1, 0));
        assert_eq!(changes(&[], &[]).services.len(), 1, "a service that is taken away");
    }

    #[test]
    fn hosts_that_are_held_back_keep_what_they_have_and_may_do_no_more_than_the_target_allows() {
        let (web, shop, mail) = (service("web", 1), service("shop", 1), service("mail", 1));
        let held = of(
            1,
            &[web.clone(), shop, mail.clone()],
            &[
                remediation("web", "1", Mode::Auto),
                remediation("shop", "1", Mode::Auto),
                remediation("mail", "1", Mode::Observe),
            ],
        );
        let mut lowered = remediation("shop", "2", Mode::Approve);
        lowered.guard.max_attempts = 1;
        let target = of(2, &[web, service("shop", 2), mail], &[lowered.clone(), remediation("mail", "1", Mode::Auto)]);
        let judged = held_back(&held, &target);
        assert_eq!(judged.generation(), held.generation());
        assert_eq!(judged.services(), held.services());
        let shop = Remediation { guard: lowered.guard, ..remediation("shop", "1", Mode::Approve) };
        assert_eq!(judged.remediations(), [shop, remediation("mail", "1", Mode::Observe)]);
    }

    #[test]
    fn a_list_that_is_held_back_keeps_its_playbooks_and_is_trusted_place_by_place_no_further_than_the_target() {
        use crate::escalation::{Escalation, Further};
        let further = |version: &str, mode: Mode| {
            let Remediation { playbook, parameters, modes, .. } = remediation("web", version, mode);
            Further { playbook, parameters, modes, timeout: std::time::Duration::from_mins(1) }
        };
        let list = |then: Vec<Further>| {
            let escalation = Escalation { timeout: std::time::Duration::from_mins(1), then };
            of(1, &[service("web", 1)], &[Remediation { escalation, ..remediation("web", "1", Mode::Auto) }])
        };
        let held = list(vec![further("a", Mode::Auto), further("b", Mode::Auto)]);
        // The first is exchanged and less trusted, the second is gone.
        let target = list(vec![further("c", Mode::Approve)]);
        let judged = held_back(&held, &target);
        let then = &judged.remediations()[0].escalation.then;
        assert_eq!(then.as_slice(), [further("a", Mode::Approve), further("b", Mode::Observe)]);
    }

    #[test]
    fn a_budget_in_advance_is_given_where_both_give_it_and_by_the_targets_limits() {
        use crate::offline::{DEFAULT_LASTS, Offline, Units};
        let offline = |units: u32| {
            let units = Units::new(units).expect("units");
            Some(Offline { hosts: crate::guard::Amount::Count(1), units, lasts: DEFAULT_LASTS })
        };
        let giving = |offline: Option<Offline>| {
            of(1, &[service("web", 1)], &[Remediation { offline, ..remediation("web", "1", Mode::Auto) }])
        };
        let judged = |held: Option<Offline>, target: Option<Offline>| {
            held_back(&giving(held), &giving(target)).remediations()[0].offline.clone()
        };
        assert_eq!(judged(None, offline(1)), None);
        assert_eq!(judged(offline(2), None), None);
        assert_eq!(judged(offline(2), offline(1)), offline(1));
    }
}
