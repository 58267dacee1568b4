//! Simulations: what an edited rule would have done with the faults of the past, beside what did happen.
//!
//! Made by the control plane's core for a question, from the log's own records; never a record. What is assumed where the
//! log cannot know is data too ([`Assume`], [`EndedBy`], [`Asked`]): a reader sees which rows rest on it.

use crate::breaker_limits::BreakerLimits;
use crate::check::CheckRef;
use crate::configuration::Declared;
use crate::counter::LogPosition;
use crate::escalation::Rung;
use crate::freeze::Freeze;
use crate::id::RunId;
use crate::name::{EnvironmentName, HostName, PlaybookName, RemediationName, ServiceName};
use crate::refusal::Reason;
use crate::remediation::Remediation;
use crate::run::Ending;
use crate::service::Service;
use crate::time::{UnixMillis, millis};
use crate::withheld::Hindrances;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Faults that are told one by one: a page of an operator's answer. All of them count in the [`Summary`].
pub const MAX_FAULTS_TOLD: usize = 1_000;
/// Decisions that are told of one fault, the first: three attempts and the refusals between them. With eight reasons of
/// 200 bytes each, all that is told of all faults is 10 MB, and of the usual one or two below 2 MB; a document has 12 MiB.
pub const MAX_DECISIONS_TOLD: usize = 6;
/// Things that happened that are told of one fault, the first.
pub const MAX_HAPPENED_TOLD: usize = 8;

/// What an operator's files say besides what is in force: by name, and for a remediation also by the check that it
/// answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// Services that take the place of those of their names.
    pub services: Vec<Service>,
    /// Remediations that take the place of those of their names, and of those that answer their checks.
    pub remediations: Vec<Remediation>,
    /// The breakers' limits, where the files have any.
    pub breakers: Option<BreakerLimits>,
    /// Freezes by calendar that take the place of those of their names.
    pub freezes: Vec<Freeze>,
}

impl Edit {
    /// What would have been declared. Of the past a configuration may not have had what the edit is about: what then
    /// points nowhere is left out.
    #[must_use]
    pub fn onto(&self, declared: &Declared) -> Declared {
        let mut services = self.services.clone();
        let kept = declared.services.iter().filter(|kept| !self.services.iter().any(|ours| ours.name == kept.name));
        services.extend(kept.cloned());
        let checks: BTreeSet<CheckRef> = services.iter().flat_map(checks_of).collect();
        let names: BTreeSet<&ServiceName> = services.iter().map(|service| &service.name).collect();
        let replaced = |kept: &&Remediation| {
            self.remediations.iter().any(|ours| ours.name == kept.name || answers(ours) == answers(kept))
        };
        let kept = declared.remediations.iter().filter(|kept| !replaced(kept));
        let remediations: Vec<Remediation> =
            self.remediations.iter().chain(kept).filter(|it| checks.contains(&answers(it))).cloned().collect();
        let kept = declared.freezes.iter().filter(|kept| !self.freezes.iter().any(|ours| ours.name == kept.name));
        let about_something = |freeze: &&Freeze| match &freeze.scope {
            crate::breaker::Scope::Service(service) => names.contains(service),
            crate::breaker::Scope::Global
            | crate::breaker::Scope::Environment(_)
            | crate::breaker::Scope::Playbook(_) => true,
        };
        let freezes = self.freezes.iter().chain(kept).filter(about_something).cloned().collect();
        let answered = |name: &RemediationName| remediations.iter().any(|remediation| &remediation.name == name);
        let schedules = declared.schedules.iter().filter(|it| answered(&it.remediation)).cloned().collect();
        Declared {
            breakers: self.breakers.clone().unwrap_or_else(|| declared.breakers.clone()),
            rollout: declared.rollout.clone(),
            promotion: declared.promotion,
            services,
            freezes,
            schedules,
            remediations,
        }
    }

    /// Whether the edit may change what answers this check: it names a remediation of it or its service, or says something
    /// that is about every check.
    #[must_use]
    pub fn touches(&self, check: &CheckRef) -> bool {
        self.breakers.is_some()
            || !self.freezes.is_empty()
            || self.services.iter().any(|service| service.name == check.service)
            || self.remediations.iter().any(|ours| &answers(ours) == check)
    }
}

fn checks_of(service: &Service) -> impl Iterator<Item = CheckRef> {
    service.checks.iter().map(|check| CheckRef { service: service.name.clone(), check: check.name.clone() })
}

/// The check that a remediation answers.
#[must_use]
pub fn answers(remediation: &Remediation) -> CheckRef {
    CheckRef { service: remediation.service.clone(), check: remediation.check.clone() }
}

/// What becomes of a run of which the log has no like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assume {
    /// It succeeds, and the check passes from then on.
    #[default]
    Succeeded,
    /// It fails, and the check goes as it went.
    Failed,
}

impl Assume {
    /// The assumption in a word, as on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// What an edited rule would have done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Simulation {
    /// From when on the edit was to count.
    pub from: UnixMillis,
    /// When the log begins; after `from` where the history is shorter.
    pub begins: UnixMillis,
    /// Until when.
    pub until: UnixMillis,
    /// How many records were read.
    pub records: u64,
    /// What becomes of a run of which the log has no like.
    pub assumed: Assume,
    /// After how long such a run ends.
    #[serde(with = "millis", rename = "assumed_after_ms")]
    pub assumed_after: Duration,
    /// The faults that the edited rules answer, oldest first; at most [`MAX_FAULTS_TOLD`].
    pub faults: Vec<SimulatedFault>,
    /// Checks that the edit's remediations answer, and that were never critical in that time.
    pub quiet: Vec<CheckRef>,
    /// All of it added up.
    pub summary: Summary,
}

/// What the decisions add up to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Faults that the edited rules answer.
    pub faults: u64,
    /// Runs that would have been permitted.
    pub runs: u64,
    /// Hosts on which they would have run.
    pub hosts: u64,
    /// The most of them that would have been in progress at once.
    pub most_at_once: u64,
    /// Faults for which people would have been asked.
    pub proposed: u64,
    /// Faults for which a plan would have been recorded, and no more.
    pub planned: u64,
    /// Faults for which a host would not have asked.
    pub withheld: u64,
    /// Faults that each rule refused at least once, by the rule's name.
    pub refused: BTreeMap<String, u64>,
    /// Runs that there were for these faults.
    pub runs_then: u64,
    /// Hosts on which they were.
    pub hosts_then: u64,
}

/// One fault: a check's transition to critical on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimulatedFault {
    /// The host.
    pub host: HostName,
    /// Its environment.
    pub environment: EnvironmentName,
    /// The check.
    pub check: CheckRef,
    /// When it became critical, on the control plane's clock.
    pub at: UnixMillis,
    /// The record of that.
    pub position: LogPosition,
    /// The rule that answers it.
    pub remediation: RemediationName,
    /// Where the request comes from.
    pub asked: Asked,
    /// What would have been decided, in order; at most [`MAX_DECISIONS_TOLD`].
    pub decisions: Vec<SimulatedDecision>,
    /// How many more decisions there were.
    pub more_decisions: u64,
    /// What did happen, in order; at most [`MAX_HAPPENED_TOLD`].
    pub happened: Vec<Happened>,
    /// How much more happened.
    pub more_happened: u64,
}

/// Where a simulated request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// The agent asked then, about this fault.
    Then,
    /// It did not: the request is made up from the transition and from what the host said is bound.
    Synthesised,
}

/// One decision, or several refusals by the same rules in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimulatedDecision {
    /// When it would have been taken.
    pub at: UnixMillis,
    /// The rung.
    pub rung: Rung,
    /// The playbook there.
    pub playbook: PlaybookName,
    /// What it would have been.
    pub says: Says,
}

/// What would have been decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "says", deny_unknown_fields)]
pub enum Says {
    /// A permit.
    Acts {
        /// How its run ends.
        ending: Ending,
        /// When.
        ends: UnixMillis,
        /// What says so.
        by: EndedBy,
    },
    /// A proposal. Nobody is taken to have said yes.
    Proposes,
    /// A plan, in mode `observe`.
    Plans,
    /// A refusal.
    Refuses {
        /// Every reason, of the first where there are several.
        reasons: Vec<Reason>,
        /// How many times in a row.
        times: u64,
    },
    /// No request: the agent said then that its host could not run this playbook.
    Withheld {
        /// Everything that hindered it.
        because: Hindrances,
    },
}

/// What says how a simulated run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by", deny_unknown_fields)]
pub enum EndedBy {
    /// This run of the same playbook for the same fault ended so.
    Record {
        /// The run.
        run: RunId,
    },
    /// Nothing: it is assumed.
    Assumption,
}

/// Something that did happen because of a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what", deny_unknown_fields)]
pub enum Happened {
    /// A permit was granted.
    Granted {
        /// Where.
        position: LogPosition,
        /// Its run.
        run: RunId,
        /// Of which playbook.
        playbook: PlaybookName,
        /// How the run ended; `None`: the log does not say yet.
        ending: Option<Ending>,
    },
    /// Requests were refused.
    Refused {
        /// Where, the first.
        position: LogPosition,
        /// The rules that spoke against it.
        rules: BTreeSet<String>,
        /// How many times in a row.
        times: u64,
    },
    /// The agent did not ask.
    Withheld {
        /// Where it said so.
        position: LogPosition,
        /// Everything that hindered it.
        because: Hindrances,
    },
    /// A plan waited for people.
    Proposed {
        /// Where.
        position: LogPosition,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::PlaybookDigest;
    use crate::guard::Guard;
    use crate::remediation::{Parameters, PlaybookVersion};
    use crate::service::{Selector, Tier};

    fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("sound text")
    }

    fn service(name: &str) -> Service {
        let hosts = Selector::new(BTreeSet::from([parsed("staging")]), BTreeSet::new()).expect("a selector");
        let text = "[[service]]\nname = \"x\"\nowner = \"team\"\ntier = 1\nhosts = { environments = [\"staging\"] }\n\
                    [[service.check]]\nname = \"http\"\nkind = \"tcp\"\naddress = \"a:1\"\n";
        let source = crate::config_file::Source { file: "x", text };
        let checks = crate::config_file::parse(&[source]).expect("sound").services()[0].checks.clone();
        Service { name: parsed(name), owner: parsed("team"), tier: Tier(1), hosts, checks }
    }

    fn rule(name: &str, service: &str) -> Remediation {
        Remediation {
            name: parsed(name),
            service: parsed(service),
            check: parsed("http"),
            playbook: PlaybookVersion { name: parsed("mend"), digest: PlaybookDigest::of(b"mend") },
            parameters: Parameters::default(),
            modes: BTreeMap::new(),
            guard: Guard::default(),
            escalation: crate::escalation::Escalation::default(),
            offline: None,
        }
    }

    #[test]
    fn an_edit_replaces_by_name_and_by_the_check_and_leaves_the_rest() {
        let declared = Declared {
            services: vec![service("web"), service("db")],
            remediations: vec![rule("mend-web", "web"), rule("mend-db", "db")],
            ..Declared::default()
        };
        let edit = Edit { remediations: vec![rule("other-web", "web")], ..Edit::default() };
        let names = |declared: &Declared| -> Vec<String> {
            declared.remediations.iter().map(|remediation| remediation.name.to_string()).collect()
        };
        let over = edit.onto(&declared);
        assert_eq!(names(&over), ["other-web", "mend-db"]);
        let touched: Vec<bool> = over.remediations.iter().map(|it| edit.touches(&answers(it))).collect();
        assert_eq!(touched, [true, false]);
        let before = Declared { services: vec![service("db")], remediations: vec![rule("mend-db", "db")], ..declared };
        assert_eq!(names(&edit.onto(&before)), ["mend-db"], "the service was not there yet");
    }
}
