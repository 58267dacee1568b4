//! Packs a component with its manifest, signs a package, and brings it to the control plane.

use super::key;
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
    let envelope = sign(&package, &key, command.publisher)?;
    let reply = context.connect().await?.publish(envelope.into_bytes(), package.bytes()).await?;
    let CommandReply::Playbook { name, digest } = &reply else { return unexpected("a playbook") };
    if *digest != package.digest() {
        return Err(Failure::internal(format!(
            "the control plane admitted {digest}, and {} was sent",
            package.digest()
        )));
    }
    let version = &package.manifest().playbook.version;
    let text = format!("{name} {version} is admitted\n{digest}\n");
    Answer::new(&reply, text)
}

fn sign(package: &Package, key: &SigningKey, publisher: PublisherName) -> Result<Envelope, Failure> {
    let about = &package.manifest().playbook;
    let publication = Publication {
        name: about.name.clone(),
        version: about.version.clone(),
        digest: package.digest(),
        publisher,
        key: key.public().key_id(),
    };
    let payload =
        serde_json::to_vec(&publication).map_err(|error| Failure::internal(format!("no publication: {error}")))?;
    Envelope::seal(PUBLICATION_PAYLOAD_TYPE, &payload, key).map_err(|error| Failure::internal(chain(&error)))
}
