//! The whole configuration of services and remediations, with a generation.
//!
//! It is replaced whole, never patched: an agent that holds generation 7 knows everything that
//! generation 7 says. Agents refuse a lower generation than they hold.

use crate::breaker::Scope;
use crate::breaker_limits::BreakerLimits;
use crate::check::CheckRef;
use crate::counter::ConfigurationGeneration;
use crate::escalation::MAX_RUNGS;
use crate::freeze::{Freeze, MAX_FREEZES};
use crate::name::{FreezeName, PlaybookName, RemediationName, ScheduleName, ServiceName};
use crate::promotion::PromotionLimits;
use crate::remediation::Remediation;
use crate::rollout::RolloutLimits;
use crate::schedule::{MAX_SCHEDULES, Schedule};
use crate::service::Service;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most services in a configuration: with 20 checks each it stays below 4 MiB as JSON.
pub const MAX_SERVICES: usize = 500;
/// Most remediations in a configuration.
pub const MAX_REMEDIATIONS: usize = 2_000;
/// Most checks of one service.
pub const MAX_CHECKS_PER_SERVICE: usize = 50;

/// What the operators' files declare: everything that a configuration says but for its generation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// All services.
    pub services: Vec<Service>,
    /// All remediations, playbooks resolved to versions and parameters completed.
    pub remediations: Vec<Remediation>,
    /// The limits of breakers that no single remediation owns.
    #[serde(default)]
    pub breakers: BreakerLimits,
    /// The freezes by calendar.
    #[serde(default)]
    pub freezes: Vec<Freeze>,
    /// The schedules of drills.
    #[serde(default)]
    pub schedules: Vec<Schedule>,
    /// How a change reaches hosts that hold something already.
    #[serde(default)]
    pub rollout: RolloutLimits,
    /// When the next mode is proposed.
    #[serde(default)]
    pub promotion: PromotionLimits,
}

/// Services and remediations at one generation. Build it with [`Configuration::new`], which holds
/// the references together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "RawConfiguration")]
pub struct Configuration {
    generation: ConfigurationGeneration,
    services: Vec<Service>,
    remediations: Vec<Remediation>,
    breakers: BreakerLimits,
    freezes: Vec<Freeze>,
    schedules: Vec<Schedule>,
    rollout: RolloutLimits,
    promotion: PromotionLimits,
}

/// Why a set of services and remediations is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InconsistentConfiguration {
    /// Two services have one name.
    #[error("two services are named {0}")]
    DuplicateService(ServiceName),
    /// Two checks of one service have one name.
    #[error("two checks are named {0}")]
    DuplicateCheck(CheckRef),
    /// Two remediations have one name.
    #[error("two remediations are named {0}")]
    DuplicateRemediation(RemediationName),
    /// Two remediations answer the same check; which one acts would be chance.
    #[error("remediations {first} and {second} both answer the check {check}")]
    TwoAnswers {
        /// The check.
        check: CheckRef,
        /// One of them.
        first: RemediationName,
        /// The other.
        second: RemediationName,
    },
    /// A remediation names a service or check that is not there.
    #[error("remediation {remediation} names the check {check}, which no service has")]
    MissingCheck {
        /// The remediation.
        remediation: RemediationName,
        /// What it names.
        check: CheckRef,
    },
    /// Two freezes have one name.
    #[error("two freezes are named {0}")]
    DuplicateFreeze(FreezeName),
    /// A freeze is about a service that is not there, and would hold nothing back.
    #[error("freeze {freeze} is about the service {service}, which is not there")]
    FrozenNothing {
        /// The freeze.
        freeze: FreezeName,
        /// What it names.
        service: ServiceName,
    },
    /// Two schedules have one name.
    #[error("two schedules are named {0}")]
    DuplicateSchedule(ScheduleName),
    /// A schedule names a remediation that is not there.
    #[error("schedule {schedule} names the remediation {remediation}, which is not there")]
    ScheduledNothing {
        /// The schedule.
        schedule: ScheduleName,
        /// What it names.
        remediation: RemediationName,
    },
    /// More than the named bound.
    #[error("{what}: {count} is more than the {limit} that a configuration may have")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
}

impl Configuration {
    /// Holds the references together.
    ///
    /// # Errors
    /// When names are not unique, a remediation points nowhere, two answer one check, or a bound is
    /// exceeded.
    pub fn new(generation: ConfigurationGeneration, declared: Declared) -> Result<Self, InconsistentConfiguration> {
        let Declared { services, remediations, breakers, freezes, schedules, rollout, promotion } = declared;
        bound("services", services.len(), MAX_SERVICES)?;
        bound("remediations", remediations.len(), MAX_REMEDIATIONS)?;
        let mut names = BTreeSet::new();
        let mut checks = BTreeSet::new();
        for service in &services {
            bound("checks of one service", service.checks.len(), MAX_CHECKS_PER_SERVICE)?;
            if !names.insert(&service.name) {
                return Err(InconsistentConfiguration::DuplicateService(service.name.clone()));
            }
            for check in &service.checks {
                let check = CheckRef { service: service.name.clone(), check: check.name.clone() };
                if let Some(duplicate) = checks.replace(check) {
                    return Err(InconsistentConfiguration::DuplicateCheck(duplicate));
                }
            }
        }
        bound("freezes", freezes.len(), MAX_FREEZES)?;
        let mut frozen = BTreeSet::new();
        for freeze in &freezes {
            if !frozen.insert(&freeze.name) {
                return Err(InconsistentConfiguration::DuplicateFreeze(freeze.name.clone()));
            }
            if let Scope::Service(service) = &freeze.scope
                && !names.contains(service)
            {
                return Err(InconsistentConfiguration::FrozenNothing {
                    freeze: freeze.name.clone(),
                    service: service.clone(),
                });
            }
        }
        let mut answered: std::collections::BTreeMap<CheckRef, &RemediationName> = std::collections::BTreeMap::new();
        let mut remediation_names = BTreeSet::new();
        for remediation in &remediations {
            if !remediation_names.insert(&remediation.name) {
                return Err(InconsistentConfiguration::DuplicateRemediation(remediation.name.clone()));
            }
            let rungs = usize::try_from(MAX_RUNGS).unwrap_or(usize::MAX);
            bound("playbooks of one remediation", remediation.playbooks().count(), rungs)?;
            let check = CheckRef { service: remediation.service.clone(), check: remediation.check.clone() };
            if !checks.contains(&check) {
                return Err(InconsistentConfiguration::MissingCheck { remediation: remediation.name.clone(), check });
            }
            if let Some(first) = answered.insert(check.clone(), &remediation.name) {
                return Err(InconsistentConfiguration::TwoAnswers {
                    check,
                    first: first.clone(),
                    second: remediation.name.clone(),
                });
            }
        }
        bound("schedules", schedules.len(), MAX_SCHEDULES)?;
        let mut scheduled = BTreeSet::new();
        for schedule in &schedules {
            if !scheduled.insert(&schedule.name) {
                return Err(InconsistentConfiguration::DuplicateSchedule(schedule.name.clone()));
            }
            if !remediation_names.contains(&schedule.remediation) {
                let (schedule, remediation) = (schedule.name.clone(), schedule.remediation.clone());
                return Err(InconsistentConfiguration::ScheduledNothing { schedule, remediation });
            }
        }
        Ok(Self { generation, services, remediations, breakers, freezes, schedules, rollout, promotion })
    }

    /// Its generation.
    #[must_use]
    pub const fn generation(&self) -> ConfigurationGeneration {
        self.generation
    }

    /// What was declared.
    #[must_use]
    pub fn declared(&self) -> Declared {
        let Self { generation: _, services, remediations, breakers, freezes, schedules, rollout, promotion } = self;
        Declared {
            services: services.clone(),
            remediations: remediations.clone(),
            breakers: breakers.clone(),
            freezes: freezes.clone(),
            schedules: schedules.clone(),
            rollout: rollout.clone(),
            promotion: *promotion,
        }
    }

    /// The same with fewer remediations, and with the limits of another.
    pub(crate) fn narrowed(&self, remediations: Vec<Remediation>, limits: &Self) -> Self {
        Self {
            generation: self.generation,
            services: self.services.clone(),
            remediations,
            breakers: limits.breakers.clone(),
            freezes: limits.freezes.clone(),
            schedules: limits.schedules.clone(),
            rollout: limits.rollout.clone(),
            promotion: limits.promotion,
        }
    }

    /// Whether exactly this was declared.
    #[must_use]
    pub fn declares(&self, declared: &Declared) -> bool {
        let Declared { services, remediations, breakers, freezes, schedules, rollout, promotion } = declared;
        &self.services == services
            && &self.remediations == remediations
            && &self.breakers == breakers
            && &self.freezes == freezes
            && &self.schedules == schedules
            && &self.rollout == rollout
            && &self.promotion == promotion
    }

    /// All services.
    #[must_use]
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// All remediations.
    #[must_use]
    pub fn remediations(&self) -> &[Remediation] {
        &self.remediations
    }

    /// The limits of breakers that no single remediation owns.
    #[must_use]
    pub const fn breakers(&self) -> &BreakerLimits {
        &self.breakers
    }

    /// The freezes by calendar.
    #[must_use]
    pub fn freezes(&self) -> &[Freeze] {
        &self.freezes
    }

    /// The schedules of drills.
    #[must_use]
    pub fn schedules(&self) -> &[Schedule] {
        &self.schedules
    }

    /// How a change reaches hosts that hold something already.
    #[must_use]
    pub const fn rollout(&self) -> &RolloutLimits {
        &self.rollout
    }

    /// When the next mode is proposed.
    #[must_use]
    pub const fn promotion(&self) -> &PromotionLimits {
        &self.promotion
    }

    /// The service of this name.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<&Service> {
        self.services.iter().find(|service| &service.name == name)
    }

    /// The remediation that answers this check.
    #[must_use]
    pub fn answer_to(&self, check: &CheckRef) -> Option<&Remediation> {
        self.remediations.iter().find(|r| r.service == check.service && r.check == check.check)
    }

    /// The remediation of this name.
    #[must_use]
    pub fn remediation(&self, name: &RemediationName) -> Option<&Remediation> {
        self.remediations.iter().find(|remediation| &remediation.name == name)
    }

    /// The names of all playbooks that a remediation uses.
    #[must_use]
    pub fn playbooks(&self) -> BTreeSet<&PlaybookName> {
        self.remediations.iter().flat_map(Remediation::playbooks).map(|version| &version.name).collect()
    }
}

fn bound(what: &'static str, count: usize, limit: usize) -> Result<(), InconsistentConfiguration> {
    if count > limit { Err(InconsistentConfiguration::TooMany { what, count, limit }) } else { Ok(()) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfiguration {
    generation: ConfigurationGeneration,
    services: Vec<Service>,
    remediations: Vec<Remediation>,
    #[serde(default)]
    breakers: BreakerLimits,
    #[serde(default)]
    freezes: Vec<Freeze>,
    #[serde(default)]
    schedules: Vec<Schedule>,
    #[serde(default)]
    rollout: RolloutLimits,
    #[serde(default)]
    promotion: PromotionLimits,
}

impl TryFrom<RawConfiguration> for Configuration {
    type Error = InconsistentConfiguration;

    fn try_from(raw: RawConfiguration) -> Result<Self, InconsistentConfiguration> {
        let RawConfiguration { generation, services, remediations, breakers, freezes, schedules, rollout, promotion } =
            raw;
        Self::new(generation, Declared { services, remediations, breakers, freezes, schedules, rollout, promotion })
    }
}
