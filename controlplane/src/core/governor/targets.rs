//! The rule on targets: every label of the manifest bound exactly once to a thing of its kind, and
//! nothing else. An empty list is a reason of its own; it never means "everything".

use crate::core::playbooks::Admitted;
use fettle_model::permit::{BoundTarget, PermittedTarget, Target};
use fettle_model::playbook::{GrantKind, Manifest};
use fettle_model::refusal::Reason;
use std::collections::BTreeSet;

/// The kind of grant that a target can be bound to.
pub(super) const fn kind(target: &Target) -> GrantKind {
    match target {
        Target::SystemdUnit { .. } | Target::CommandService { .. } => GrantKind::Service,
        Target::ReleaseRoot { .. } => GrantKind::Release,
        Target::Flag { .. } => GrantKind::Flag,
        Target::Health { .. } => GrantKind::Health,
        Target::Facts => GrantKind::Facts,
    }
}

/// What the request binds the playbook's labels to; `None` with every reason why not.
pub(super) fn bound_to(
    playbook: Option<&Admitted>,
    targets: &[BoundTarget],
    reasons: &mut Vec<Reason>,
) -> Option<Vec<PermittedTarget>> {
    let Some(playbook) = playbook else {
        reasons.push(Reason::PlaybookNotAdmitted);
        return None;
    };
    match bind(&playbook.admission.manifest, targets) {
        Ok(bound) => Some(bound),
        Err(unbound) => {
            reasons.extend(unbound);
            None
        }
    }
}

/// Binds the requested targets to the manifest's grants.
///
/// # Errors
/// With one reason per label that is unbound, bound twice, bound to a thing of another kind, or not
/// asked for by the manifest.
pub(in crate::core) fn bind(manifest: &Manifest, targets: &[BoundTarget]) -> Result<Vec<PermittedTarget>, Vec<Reason>> {
    if targets.is_empty() {
        return Err(vec![Reason::Unbound { label: None }]);
    }
    let mut permitted = Vec::with_capacity(manifest.grants.len());
    let mut wrong = BTreeSet::new();
    for grant in &manifest.grants {
        let mut bound = targets.iter().filter(|target| target.label == grant.label);
        match (bound.next(), bound.next()) {
            (Some(only), None) if kind(&only.target) == grant.kind => permitted.push(PermittedTarget {
                label: grant.label.clone(),
                target: only.target.clone(),
                actions: grant.actions.clone(),
            }),
            (Some(_) | None, Some(_) | None) => {
                wrong.insert(grant.label.clone());
            }
        }
    }
    wrong.extend(targets.iter().map(|target| &target.label).filter(|label| manifest.grant(label).is_none()).cloned());
    match (permitted.is_empty(), wrong.is_empty()) {
        (false, true) => Ok(permitted),
        (true, true) => Err(vec![Reason::Unbound { label: None }]),
        (true | false, false) => Err(wrong.into_iter().map(|label| Reason::Unbound { label: Some(label) }).collect()),
    }
}
