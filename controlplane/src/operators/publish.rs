//! A playbook's admission: the publisher's signature, the package, its manifest and its imports; and with it the
//! publisher's word on its scenarios.
//!
//! Whether the publisher is trusted is decided twice: here, so that nobody else's bytes are parsed, and by
//! the leader; so is whether the report says that all passed. The package is durable before its record. No scenario is
//! run here: whoever holds the permit key runs no code that somebody sent.

use super::Caller;
use super::execute::decided;
use super::problem::{self, invalid, not_found, status};
use crate::core::{PersonRefusal, PersonRequest, SignedReport};
use crate::gateway::{gone, internal};
use fettle_audit::envelope::Envelope;
use fettle_audit::key::PublicKey;
use fettle_model::digest::PlaybookDigest;
use fettle_model::playbook::{MAX_PACKAGE_BYTES, PUBLICATION_PAYLOAD_TYPE, Publication};
use fettle_model::record::PlaybookAdmitted;
use fettle_model::scenarios::{MAX_REPORT_BYTES, SCENARIOS_PAYLOAD_TYPE, ScenarioReport};
use fettle_proto::operator::{CommandReply, Problem, ProblemCode};
use fettle_proto::v1::{PlaybookPart, playbook_part};
use fettle_sandbox::package::{InvalidPackage, Package};
use std::time::Duration;
use tokio::sync::oneshot;
use tonic::{Status, Streaming};

/// Longest publication: names, a digest and a key id in an envelope have 1 KiB.
const MAX_PUBLICATION_BYTES: usize = 16 * 1024;
/// Longest wait for the next part: whoever publishes has the file at hand.
const PART_WITHIN: Duration = Duration::from_secs(30);

/// Admits what the stream brings.
pub(super) async fn publish(caller: &Caller<'_>, mut parts: Streaming<PlaybookPart>) -> Result<CommandReply, Status> {
    let Some(playbook_part::Part::Publication(publication)) = next(&mut parts).await? else {
        return Err(wrong_order("the first part must be the publication"));
    };
    let (publication, key, envelope) = believed(caller, publication).await?;
    let (report, first) = match next(&mut parts).await? {
        Some(playbook_part::Part::Scenarios(bytes)) => (Some(reported(bytes, &key, &publication)?), None),
        Some(playbook_part::Part::Data(data)) => (None, Some(data)),
        Some(playbook_part::Part::Publication(_)) | None => {
            return Err(wrong_order("the publication comes once, before the package"));
        }
    };
    let bytes = package(&mut parts, first).await?;
    let digest = PlaybookDigest::of(&bytes);
    if digest != publication.digest {
        return Err(differs(format!("the package has the digest {digest}, not {}", publication.digest)));
    }
    let package = checked(bytes).await?.map_err(|error| {
        invalid(format!("{:#}", anyhow::Error::from(error)), "see: fettle playbook pack, which checks the same")
    })?;
    let about = &package.manifest().playbook;
    if about.name != publication.name || about.version != publication.version {
        return Err(differs(format!(
            "the package is {} {}, not {} {}",
            about.name, about.version, publication.name, publication.version
        )));
    }
    let name = publication.name.clone();
    let admission = PlaybookAdmitted {
        digest,
        manifest: package.manifest().clone(),
        publisher: publication.publisher,
        key: key.key_id(),
        publication: envelope,
        imports: package.imports().iter().map(|import| import.name().to_owned()).collect(),
        size_bytes: u64::try_from(package.bytes().len()).unwrap_or(u64::MAX),
        by: caller.person.clone(),
    };
    caller.shared.packages.keep(digest, package.bytes()).await.map_err(internal)?;
    let request = PersonRequest::AdmitPlaybook {
        admission: Box::new(admission),
        report: report.map(Box::new),
        key: key.to_string(),
    };
    decided(caller, request).await?;
    tracing::info!(%name, %digest, by = %caller.person, "a playbook was admitted");
    Ok(CommandReply::Playbook { name, digest })
}

async fn next(parts: &mut Streaming<PlaybookPart>) -> Result<Option<playbook_part::Part>, Status> {
    let part = tokio::time::timeout(PART_WITHIN, parts.message()).await;
    let part = part.map_err(|_elapsed| Status::deadline_exceeded("the next part did not come in time"))??;
    Ok(part.and_then(|part| part.part))
}

/// The publication, once a trusted key of its publisher has signed it, and its envelope as text.
async fn believed(caller: &Caller<'_>, bytes: Vec<u8>) -> Result<(Publication, PublicKey, String), Status> {
    let malformed = |what: &dyn std::fmt::Display| {
        invalid(format!("the publication is malformed: {what}"), "sign it with: fettle playbook publish")
    };
    if bytes.len() > MAX_PUBLICATION_BYTES {
        return Err(malformed(&format!("more than {MAX_PUBLICATION_BYTES} bytes")));
    }
    let envelope = Envelope::parse(bytes).map_err(|error| malformed(&error))?;
    // Only to choose the key; nothing is believed before the signature holds.
    let claimed: Publication =
        serde_json::from_slice(envelope.unverified_payload()).map_err(|error| malformed(&error))?;
    let publisher = claimed.publisher.clone();
    let keys = caller.shared.leader.inspect(move |view| view.core.state().publisher_keys(&publisher));
    let keys = keys.await.map_err(gone)?;
    if keys.is_empty() {
        return Err(not_found(
            format!("the publisher {} is not trusted here", claimed.publisher),
            "an administrator trusts the key first: fettle publisher trust NAME PUBLIC_KEY",
        ));
    }
    let mut keys = keys.iter().filter_map(|key| key.parse::<PublicKey>().ok());
    let key = keys.find(|key| key.key_id() == envelope.key_id()).ok_or_else(|| {
        refused(
            format!(
                "the publication is signed by {}, which is no trusted key of {}",
                envelope.key_id(),
                claimed.publisher
            ),
            "sign it with the publisher's key, or let an operator trust this one",
        )
    })?;
    envelope.verify(&key, PUBLICATION_PAYLOAD_TYPE).map_err(|error| {
        refused(format!("the publication does not verify: {error}"), "sign it with: fettle playbook publish")
    })?;
    if claimed.key != key.key_id() {
        return Err(refused(
            "the publication names another key than the one that signed it".to_owned(),
            "sign it with: fettle playbook publish",
        ));
    }
    let text = String::from_utf8(envelope.into_bytes()).map_err(internal)?;
    Ok((claimed, key, text))
}

/// The report on the scenarios of what is published, once the key that signed the publication has signed it too.
fn reported(bytes: Vec<u8>, key: &PublicKey, publication: &Publication) -> Result<SignedReport, Status> {
    const REMEDY: &str = "sign it with: fettle playbook publish";
    let malformed = |what: &dyn std::fmt::Display| invalid(format!("the scenario report is malformed: {what}"), REMEDY);
    if bytes.len() > MAX_REPORT_BYTES {
        return Err(malformed(&format!("more than {MAX_REPORT_BYTES} bytes")));
    }
    let envelope = Envelope::parse(bytes).map_err(|error| malformed(&error))?;
    let payload = envelope
        .verify(key, SCENARIOS_PAYLOAD_TYPE)
        .map_err(|error| refused(format!("the scenario report does not verify: {error}"), REMEDY))?;
    let report: ScenarioReport = serde_json::from_slice(payload).map_err(|error| malformed(&error))?;
    report.check(&publication.digest).map_err(|flaw| problem::refused(&PersonRefusal::ScenarioReport(flaw)))?;
    let signed = String::from_utf8(envelope.into_bytes()).map_err(internal)?;
    Ok(SignedReport { report, signed })
}

async fn package(parts: &mut Streaming<PlaybookPart>, first: Option<Vec<u8>>) -> Result<Vec<u8>, Status> {
    let mut bytes = first.unwrap_or_default();
    while let Some(part) = next(parts).await? {
        let playbook_part::Part::Data(data) = part else {
            return Err(wrong_order("the publication and the scenario report come once, before the package"));
        };
        if bytes.len() + data.len() > MAX_PACKAGE_BYTES {
            return Err(invalid(format!("the package has more than {MAX_PACKAGE_BYTES} bytes"), "make it smaller"));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Checks a package on a thread of its own: it takes a core for up to a second. The caller's turn bounds how
/// many there are.
async fn checked(bytes: Vec<u8>) -> Result<Result<Package, InvalidPackage>, Status> {
    let (tell, answer) = oneshot::channel();
    std::thread::Builder::new()
        .name("package".to_owned())
        // Whoever asked may have given up; then nobody misses the answer.
        .spawn(move || drop(tell.send(Package::read(bytes))))
        .map_err(internal)?;
    answer.await.map_err(internal)
}

fn refused(message: String, remedy: &str) -> Status {
    status(Problem { code: ProblemCode::Refused, message, remedy: remedy.to_owned() })
}

fn differs(message: String) -> Status {
    refused(message, "publish the package that was signed")
}

fn wrong_order(message: &str) -> Status {
    invalid(message, "use a client of the same version as the control plane")
}
