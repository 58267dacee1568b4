//! Admitted playbook versions and the evidence that they earned.

use super::entry::Stamp;
use super::governor::targets;
use fettle_model::counter::LogPosition;
use fettle_model::digest::{DocumentDigest, EnvelopeDigest, PlaybookDigest};
use fettle_model::evidence::{Evidence, HostClass, ProvedGrant};
use fettle_model::host::HostDescription;
use fettle_model::name::{Label, PlaybookName};
use fettle_model::playbook::Parameter;
use fettle_model::record::PlaybookAdmitted;
use fettle_model::refusal::Reason;
use fettle_model::remediation::{Parameters, PlaybookVersion, Remediation};
use fettle_model::scenarios::{KnownScenarios, ScenariosPassed};
use fettle_model::time::{UnixMillis, whole_millis};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Evidence kept per playbook version; the oldest goes first. A version is drilled once per class and
/// parameters and again every 30 days: 256 cover 20 classes for a year.
const MAX_EVIDENCE_PER_VERSION: usize = 256;

/// Longest text parameter, as the manifest's format has it.
const MAX_TEXT_PARAMETER_BYTES: usize = 1_024;

/// An admitted playbook version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// What was admitted.
    pub admission: PlaybookAdmitted,
    /// When.
    pub stamp: Stamp,
    /// What its publisher says of its scenarios; `None`: nothing.
    pub scenarios: Option<SaidOfScenarios>,
    /// The evidence that it earned, oldest first.
    pub evidence: VecDeque<KnownEvidence>,
}

/// A publisher's word on a version's scenarios.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaidOfScenarios {
    /// Where it stands, and how much it holds.
    pub known: KnownScenarios,
    /// What was signed: the same again is no news.
    pub signed: EnvelopeDigest,
}

/// Evidence with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownEvidence {
    /// The evidence.
    pub evidence: Evidence,
    /// Its place in the log.
    pub stamp: Stamp,
}

/// What a run needs evidence for, besides the playbook's version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Needed {
    /// The parameters.
    pub parameters: DocumentDigest,
    /// The class of host.
    pub class: HostClass,
    /// What the labels stand for there; `None` where they are not all bound, which is a reason of its own.
    pub grants: Option<Vec<ProvedGrant>>,
}

/// Whether evidence covers a version with these parameters on this class of host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof<'a> {
    /// It does.
    Covered(&'a KnownEvidence),
    /// It did, until this, which counted longest, expired.
    Expired {
        /// The evidence.
        by: &'a KnownEvidence,
    },
    /// It does, but for these labels, which stood for other things.
    Differs {
        /// The labels.
        labels: Vec<Label>,
    },
    /// It does not.
    Missing {
        /// The classes that are covered with these parameters.
        covered: Vec<HostClass>,
    },
}

impl Admitted {
    /// Its name and digest.
    #[must_use]
    pub fn version(&self) -> PlaybookVersion {
        PlaybookVersion { name: self.admission.manifest.playbook.name.clone(), digest: self.admission.digest }
    }

    /// Whether these are complete parameters for it, as `Manifest::complete` makes them: every declared
    /// one within its bounds, durations in whole milliseconds, and no other.
    #[must_use]
    pub fn accepts(&self, parameters: &Parameters) -> bool {
        let declared = &self.admission.manifest.parameters;
        let fits = |name: &String, value: &serde_json::Value| match declared.get(name) {
            None => false,
            Some(Parameter::Integer { minimum, maximum, .. }) => {
                value.as_i64().is_some_and(|value| (*minimum..=*maximum).contains(&value))
            }
            Some(Parameter::Text { .. }) => value.as_str().is_some_and(|value| value.len() <= MAX_TEXT_PARAMETER_BYTES),
            Some(Parameter::Duration { maximum, .. }) => {
                value.as_u64().is_some_and(|value| value <= whole_millis(maximum.0))
            }
            Some(Parameter::Boolean { .. }) => value.is_boolean(),
        };
        parameters.0.len() == declared.len() && parameters.0.iter().all(|(name, value)| fits(name, value))
    }

    /// Whether evidence covers what is needed at this time.
    #[must_use]
    pub fn proof(&self, needed: &Needed, wall: UnixMillis) -> Proof<'_> {
        let with_parameters = || self.evidence.iter().filter(|known| known.evidence.parameters == needed.parameters);
        let of_class = || with_parameters().filter(|known| known.evidence.class == needed.class);
        let same_things =
            |known: &&KnownEvidence| needed.grants.as_ref().is_none_or(|grants| &known.evidence.grants == grants);
        // The position makes the choice unique, so that replays agree on the grounds.
        let newest = of_class()
            .filter(same_things)
            .filter(|known| known.is_whole())
            .max_by_key(|known| (known.evidence.expires_at, known.stamp.position));
        let other = of_class().rfind(|known| known.is_whole() && known.evidence.expires_at > wall);
        match (newest, other) {
            (Some(known), _) if known.evidence.expires_at > wall => Proof::Covered(known),
            (Some(known), None) => Proof::Expired { by: known },
            (Some(_) | None, Some(other)) => Proof::Differs { labels: differing(other, needed) },
            (None, None) => {
                let covered: BTreeSet<HostClass> = with_parameters()
                    .filter(|known| known.is_whole() && known.evidence.expires_at > wall)
                    .map(|known| known.evidence.class.clone())
                    .collect();
                Proof::Missing { covered: covered.into_iter().collect() }
            }
        }
    }
}

impl KnownEvidence {
    /// Whether the version and the drill went through all of their stages.
    pub(in crate::core) fn is_whole(&self) -> bool {
        let Evidence { repetition, killed, grants, scenarios, .. } = &self.evidence;
        scenarios.is_some() && repetition.is_some() && killed.is_some() && !grants.is_empty()
    }
}

/// The labels that stood for something else.
fn differing(known: &KnownEvidence, needed: &Needed) -> Vec<Label> {
    let needed: BTreeSet<&ProvedGrant> = needed.grants.iter().flatten().collect();
    let proved: BTreeSet<&ProvedGrant> = known.evidence.grants.iter().collect();
    let labels: BTreeSet<Label> = needed.symmetric_difference(&proved).map(|grant| grant.label.clone()).collect();
    labels.into_iter().collect()
}

impl Needed {
    /// What a host needs evidence for to run a remediation's playbook; `None` where it does not carry the service.
    #[must_use]
    pub fn by(host: &HostDescription, remediation: &Remediation, playbook: &Admitted) -> Option<Self> {
        let class = HostClass::of(host, &remediation.service)?;
        let bound = host
            .bindings
            .iter()
            .find(|binding| binding.playbook == remediation.playbook.name && binding.service == remediation.service);
        let permitted = bound.and_then(|bound| targets::bind(&playbook.admission.manifest, &bound.targets).ok());
        let grants = permitted.map(|permitted| ProvedGrant::of(&permitted));
        Some(Self { parameters: remediation.parameters.digest(), class, grants })
    }
}

impl Proof<'_> {
    /// The refusal's reason, unless it covers.
    #[must_use]
    pub fn reason(&self, class: &HostClass) -> Option<Reason> {
        match self {
            Self::Covered(_) => None,
            Self::Expired { by } => Some(Reason::EvidenceExpired { at: by.evidence.expires_at }),
            Self::Differs { labels } => Some(Reason::EvidenceDiffers { labels: labels.clone() }),
            Self::Missing { covered } => Some(Reason::NoEvidence { class: class.clone(), covered: covered.clone() }),
        }
    }
}

/// All admitted versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Playbooks(BTreeMap<PlaybookDigest, Admitted>);

impl Playbooks {
    pub(in crate::core) fn get(&self, digest: &PlaybookDigest) -> Option<&Admitted> {
        self.0.get(digest)
    }

    /// The version, when it is admitted under exactly this name.
    pub(in crate::core) fn version(&self, version: &PlaybookVersion) -> Option<&Admitted> {
        self.get(&version.digest).filter(|admitted| admitted.admission.manifest.playbook.name == version.name)
    }

    pub(in crate::core) fn iter(&self) -> impl Iterator<Item = &Admitted> {
        self.0.values()
    }

    pub(in crate::core) fn named<'a>(&'a self, name: &'a PlaybookName) -> impl Iterator<Item = &'a Admitted> {
        self.iter().filter(move |admitted| &admitted.admission.manifest.playbook.name == name)
    }

    pub(in crate::core) fn admit(&mut self, admission: &PlaybookAdmitted, stamp: Stamp) {
        self.0.entry(admission.digest).or_insert_with(|| Admitted {
            admission: admission.clone(),
            stamp,
            scenarios: None,
            evidence: VecDeque::new(),
        });
    }

    /// Where the newest word on a version's scenarios stands.
    pub(in crate::core) fn scenarios_at(&self, version: &PlaybookVersion) -> Option<LogPosition> {
        self.version(version)?.scenarios.as_ref().map(|said| said.known.position)
    }

    pub(in crate::core) fn pass_scenarios(&mut self, passed: &ScenariosPassed, stamp: Stamp) {
        if let Some(admitted) = self.0.get_mut(&passed.playbook.digest) {
            let known = KnownScenarios { position: stamp.position, tally: passed.report.tally() };
            let signed = EnvelopeDigest::of(passed.signed.as_bytes());
            admitted.scenarios = Some(SaidOfScenarios { known, signed });
        }
    }

    pub(in crate::core) fn earn(&mut self, evidence: &Evidence, stamp: Stamp) {
        if let Some(admitted) = self.0.get_mut(&evidence.playbook.digest) {
            admitted.evidence.push_back(KnownEvidence { evidence: evidence.clone(), stamp });
            while admitted.evidence.len() > MAX_EVIDENCE_PER_VERSION {
                admitted.evidence.pop_front();
            }
        }
    }
}
