//! Packs a component with its manifest, signs a package with what came of its scenarios, and brings both to the control
//! plane.

use super::key;
use super::scenarios::{self, Traces};
use super::show::scenario_tally;
use crate::answer::Answer;
use crate::connection::unexpected;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::file;
use clap::Args;
use fettle_audit::envelope::Envelope;
use fettle_audit::key::SigningKey;
use fettle_model::digest::PlaybookDigest;
use fettle_model::name::{PlaybookName, PublisherName};
use fettle_model::playbook::{MAX_MANIFEST_BYTES, MAX_PACKAGE_BYTES, PUBLICATION_PAYLOAD_TYPE, Publication};
use fettle_model::scenarios::{MAX_REPORT_BYTES, SCENARIOS_PAYLOAD_TYPE, ScenarioReport};
use fettle_proto::operator::CommandReply;
use fettle_sandbox::package::{InvalidPackage, Package};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A component to pack.
#[derive(Debug, Args)]
pub(crate) struct Pack {
    /// The component, built for wasm32-wasip2.
    #[arg(long, value_name = "X.wasm")]
    component: PathBuf,
    /// Its manifest.
    #[arg(long, value_name = "playbook.toml")]
    manifest: PathBuf,
    /// The package.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// A package to publish.
#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// The package that `fettle playbook pack` wrote.
    #[arg(long, value_name = "FILE")]
    package: PathBuf,
    /// The publisher's key file, from `fettle playbook keygen`.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The publisher's name.
    #[arg(long)]
    publisher: PublisherName,
    /// The folder of the scenarios; else the folder scenarios beside the package.
    #[arg(long, value_name = "DIR")]
    scenarios: Option<PathBuf>,
    /// What `fettle playbook test --report` wrote about this package, instead of running the scenarios here.
    #[arg(long, value_name = "FILE", conflicts_with = "scenarios")]
    report: Option<PathBuf>,
}

#[derive(Serialize)]
struct Packed<'a> {
    out: &'a Path,
    name: &'a PlaybookName,
    version: &'a str,
    digest: PlaybookDigest,
    bytes: usize,
    imports: Vec<String>,
}

pub(super) fn pack(command: &Pack) -> Result<Answer, Failure> {
    let component = file::read(&command.component, MAX_PACKAGE_BYTES)?;
    let manifest = file::read_text(&command.manifest, MAX_MANIFEST_BYTES)?;
    let package = Package::build(&component, &manifest).map_err(|error| match &error {
        InvalidPackage::Manifest(_) | InvalidPackage::HostVersion { .. } => unsound(&command.manifest, &error),
        InvalidPackage::TooLarge { .. }
        | InvalidPackage::NotWebAssembly
        | InvalidPackage::Precompiled
        | InvalidPackage::CoreModule
        | InvalidPackage::Malformed { .. }
        | InvalidPackage::TooManyFunctions
        | InvalidPackage::OwnResource
        | InvalidPackage::ManifestMissing
        | InvalidPackage::ManifestTwice
        | InvalidPackage::ManifestTooLarge { .. }
        | InvalidPackage::ManifestNotText
        | InvalidPackage::ForbiddenImport { .. }
        | InvalidPackage::NotGranted { .. }
        | InvalidPackage::NoPlaybook => unsound(&command.component, &error),
    })?;
    file::write(&command.out, package.bytes())?;
    let about = &package.manifest().playbook;
    let text = format!(
        "{} {} in {}, {} bytes\n{}\n",
        about.name,
        about.version,
        command.out.display(),
        package.bytes().len(),
        package.digest()
    );
    let packed = Packed {
        out: &command.out,
        name: &about.name,
        version: &about.version,
        digest: package.digest(),
        bytes: package.bytes().len(),
        imports: package.imports().iter().map(|import| import.name().to_owned()).collect(),
    };
    Answer::new(&packed, text)
}

/// Reads and checks a package.
pub(super) fn read_package(path: &Path) -> Result<Package, Failure> {
    Package::read(file::read(path, MAX_PACKAGE_BYTES)?).map_err(|error| unsound(path, &error))
}

fn unsound(path: &Path, error: &InvalidPackage) -> Failure {
    let remedy = match error {
        InvalidPackage::Manifest(_) | InvalidPackage::ManifestTooLarge { .. } | InvalidPackage::ManifestNotText => {
            "correct the manifest; the standard playbooks' playbook.toml show every key"
        }
        InvalidPackage::ManifestMissing => "embed the manifest first: `fettle playbook pack`",
        InvalidPackage::ManifestTwice => "pack the component as the compiler made it, not a package",
        InvalidPackage::HostVersion { .. } => "set playbook.host, and build against that version of the SDK",
        InvalidPackage::NotGranted { .. } => "add the grant to the manifest, or remove the use of the interface",
        InvalidPackage::ForbiddenImport { .. } | InvalidPackage::OwnResource | InvalidPackage::TooManyFunctions => {
            "remove what the playbook does not need; it gets capabilities only through its grants"
        }
        InvalidPackage::TooLarge { .. }
        | InvalidPackage::NotWebAssembly
        | InvalidPackage::Precompiled
        | InvalidPackage::CoreModule
        | InvalidPackage::Malformed { .. }
        | InvalidPackage::NoPlaybook => {
            "build it: cargo build --profile guest --target wasm32-wasip2, with #[fettle_sdk::playbook]"
        }
    };
    Failure::new(Exit::Invalid, format!("{}: {}", path.display(), chain(error)), remedy)
}

pub(super) async fn publish(command: Publish, context: &Context) -> Result<Answer, Failure> {
    let package = read_package(&command.package)?;
    let key = key::load(&command.key)?;
    let report = match &command.report {
        Some(path) => written(path, &package)?,
        None => passed_here(&command, &package)?,
    };
    let tally = report.tally();
    let report = seal(SCENARIOS_PAYLOAD_TYPE, &report, &key)?;
    let publication = seal(PUBLICATION_PAYLOAD_TYPE, &said(&package, &key, &command.publisher), &key)?;
    let mut connection = context.connect().await?;
    let reply = connection.publish(publication.into_bytes(), report.into_bytes(), package.bytes()).await?;
    let CommandReply::Playbook { name, digest } = &reply else { return unexpected("a playbook") };
    if *digest != package.digest() {
        return Err(Failure::internal(format!(
            "the control plane admitted {digest}, and {} was sent",
            package.digest()
        )));
    }
    let version = &package.manifest().playbook.version;
    let text = format!(
        "{name} {version} is admitted\n{digest}\n{} passed, on your word as {}\n",
        scenario_tally(&tally),
        command.publisher
    );
    Answer::new(&reply, text)
}

/// A report that was made before, once it says of this package that all passed.
fn written(path: &Path, package: &Package) -> Result<ScenarioReport, Failure> {
    let text = file::read_text(path, MAX_REPORT_BYTES)?;
    let remedy = "let it be written for this package: fettle playbook test PACKAGE --report FILE";
    let report: ScenarioReport = serde_json::from_str(&text)
        .map_err(|error| Failure::new(Exit::Invalid, format!("{}: {error}", path.display()), remedy))?;
    report
        .check(&package.digest())
        .map_err(|flaw| Failure::new(Exit::Invalid, format!("{}: {flaw}", path.display()), remedy))?;
    Ok(report)
}

/// Runs the scenarios, of which all have to pass.
fn passed_here(command: &Publish, package: &Package) -> Result<ScenarioReport, Failure> {
    let beside = || command.package.parent().unwrap_or(Path::new("")).join("scenarios");
    let folder = command.scenarios.clone().unwrap_or_else(beside);
    if !folder.is_dir() {
        let message = format!("{} has no scenarios: {} is no folder", command.package.display(), folder.display());
        return Err(Failure::new(Exit::NotFound, message, "name their folder with --scenarios, or a --report on them"));
    }
    let outcomes = scenarios::run(package, &folder, Traces::Compared)?;
    let report = scenarios::report(package, &outcomes);
    report.check(&package.digest()).map_err(|flaw| {
        let message = format!("{flaw}\n\n{}", scenarios::told(&outcomes));
        Failure::new(Exit::Wrong, message, "mend the playbook or the scenario: fettle playbook test")
    })?;
    Ok(report)
}

fn said(package: &Package, key: &SigningKey, publisher: &PublisherName) -> Publication {
    let about = &package.manifest().playbook;
    Publication {
        name: about.name.clone(),
        version: about.version.clone(),
        digest: package.digest(),
        publisher: publisher.clone(),
        key: key.public().key_id(),
    }
}

fn seal<T: Serialize>(payload_type: &str, document: &T, key: &SigningKey) -> Result<Envelope, Failure> {
    let payload = serde_json::to_vec(document)
        .map_err(|error| Failure::internal(format!("no payload of type {payload_type}: {error}")))?;
    Envelope::seal(payload_type, &payload, key).map_err(|error| Failure::internal(chain(&error)))
}
