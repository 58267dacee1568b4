//! The people who decide what is proposed. Some are slow, some never answer, and some sign in another's name.

use crate::fixture;
use crate::scene::{Event, Scene};
use anyhow::Context as _;
use fettle_audit::key::SigningKey;
use fettle_audit::signed_record::SignedRecord;
use fettle_model::proposal::{Approval, Proposal, Verdict};
use fettle_model::record::{Author, Body, Record};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Who may say yes; one more than have to.
pub(crate) const APPROVERS: [&str; 3] = ["ann", "ben", "cid"];

/// How long somebody takes who sees it at once, and who comes back from lunch, in milliseconds.
const SOON: Range<u64> = 500..15_000;
const LATE: Range<u64> = 15_000..150_000;

/// The key with which a person signs.
pub(crate) fn person_key(person: usize) -> SigningKey {
    let mut seed = [3; 32];
    seed[0] = u8::try_from(person).unwrap_or(u8::MAX);
    SigningKey::from_seed(&seed)
}

/// A proposal is in the log, and people look at it.
pub(crate) fn are_shown(scene: &mut Scene, proposal: &Arc<Proposal>) {
    for person in 0..APPROVERS.len() {
        if scene.chance(150) {
            continue;
        }
        let takes = if scene.chance(200) { scene.within(LATE) } else { scene.within(SOON) };
        scene.after(takes, Event::Decides { person, proposal: Arc::clone(proposal) });
    }
}

/// A person signs what they think of a proposal.
pub(crate) fn decides(scene: &mut Scene, person: usize, proposal: &Proposal) -> anyhow::Result<()> {
    let no = scene.chance(60);
    let verdict = if no { Verdict::Reject { why: "not today".to_owned() } } else { Verdict::Approve };
    let approval = Approval { proposal: proposal.proposal, request: proposal.request(), verdict };
    if !no {
        scene.truth.says_yes(person, approval.request);
    }
    bring(scene, person, person, &approval)?;
    if scene.mishap(200) {
        bring(scene, person, (person + 1) % APPROVERS.len(), &approval)?;
    }
    Ok(())
}

/// Somebody brings what they signed; `by` is in whose name.
fn bring(scene: &mut Scene, signer: usize, by: usize, approval: &Approval) -> anyhow::Result<()> {
    let person = fixture::name(APPROVERS.get(by).context("a person")?)?;
    let body = Body::ApprovalGiven(Box::new(approval.clone()));
    let record = Record { author: Author::Person { person }, at: scene.wall(Duration::ZERO), body };
    let signed = SignedRecord::seal(record, &person_key(signer))?;
    let envelope = Arc::new(signed.envelope().as_bytes().to_vec());
    for _ in 0..if scene.mishap(100) { 2 } else { 1 } {
        let delay = scene.within(5..2_000);
        scene.after(delay, Event::Brought { by, envelope: Arc::clone(&envelope) });
    }
    Ok(())
}
