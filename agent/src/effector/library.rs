//! The playbooks that the configuration assigns to this host: fetched, verified, compiled in advance.
//!
//! Owned by the effector's loop. A playbook is ready when its package has the admitted digest, a
//! publisher that *this host's owner* trusts signed it, and a worker has compiled it for the engine that
//! runs here. Nothing is fetched or compiled when an alert fires.

use super::store::{Store, StoreError, StoredPlaybook};
use crate::check::Reason;
use crate::config::TrustedPublisher;
use fettle_audit::envelope::Envelope;
use fettle_audit::key::PublicKey;
use fettle_model::digest::PlaybookDigest;
use fettle_model::playbook::{GrantKind, Manifest, PUBLICATION_PAYLOAD_TYPE, Publication};
use fettle_model::record::PlaybookAdmitted;
use fettle_model::withheld::{Hindrance, Lack};
use fettle_sandbox::engine::{Fingerprint, InvalidFingerprint};
use fettle_sandbox::package::Package;
use std::collections::{BTreeMap, BTreeSet};

/// How often a playbook's compilation is begun anew when the worker is merely gone. Once may be a lack of
/// memory, or somebody's signal; a package that ends every worker must not start workers for ever.
const MAX_LOST: u32 = 3;

/// One assigned playbook.
#[derive(Debug)]
pub struct Shelf {
    admitted: PlaybookAdmitted,
    publisher: Trust,
    package: Option<Vec<u8>>,
    /// The engine that it was compiled for, and the sealed artifact.
    artifact: Option<(Fingerprint, Vec<u8>)>,
    /// Workers in a row that were gone before they had compiled it.
    lost: u32,
    /// Why it cannot be used, once that is certain.
    refused: Option<String>,
}

/// Whether a publisher that this host trusts signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Trusted,
    Untrusted,
}

/// Whether a package was what had been asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was, or nobody wants it any more.
    Yes,
    /// Its bytes have another digest: it is asked for again.
    No,
}

/// What a playbook needs next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Its package.
    Fetch(PlaybookDigest),
    /// To be compiled.
    Compile(PlaybookDigest),
}

/// Everything on the shelves.
#[derive(Debug, Default)]
pub struct Library {
    /// The engine that playbooks run on here; `None`: no worker has named it yet.
    engine: Option<Fingerprint>,
    shelves: BTreeMap<PlaybookDigest, Shelf>,
}

impl Library {
    /// Reads what was kept. A kept admission was verified when it came.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn load(store: &Store, publishers: &[TrustedPublisher]) -> Result<Self, StoreError> {
        let mut library = Self::default();
        for StoredPlaybook { digest, admitted, package, artifact } in store.playbooks()? {
            let admitted: PlaybookAdmitted =
                serde_json::from_str(&admitted).map_err(|_| StoreError::Malformed { what: "admitted playbook" })?;
            let publisher = trust(&admitted, publishers);
            let artifact = artifact
                .map(|(engine, bytes)| match engine.parse() {
                    Ok(engine) => Ok((engine, bytes)),
                    Err(InvalidFingerprint) => {
                        Err(StoreError::Malformed { what: "fingerprint of a compiled playbook" })
                    }
                })
                .transpose()?;
            library.shelves.insert(digest, Shelf { admitted, publisher, package, artifact, lost: 0, refused: None });
        }
        Ok(library)
    }

    /// Takes in an admission that was verified to be in the log.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn admit(
        &mut self,
        admitted: PlaybookAdmitted,
        publishers: &[TrustedPublisher],
        store: &Store,
    ) -> Result<(), StoreError> {
        let digest = admitted.digest;
        if self.shelves.contains_key(&digest) {
            return Ok(());
        }
        let text = serde_json::to_string(&admitted).map_err(|_| StoreError::Malformed { what: "admitted playbook" })?;
        store.keep_playbook(digest, &text)?;
        let publisher = trust(&admitted, publishers);
        if publisher == Trust::Untrusted {
            tracing::warn!(playbook = %admitted.manifest.playbook.name, publisher = %admitted.publisher, "this host does not trust the playbook's publisher");
        }
        self.shelves
            .insert(digest, Shelf { admitted, publisher, package: None, artifact: None, lost: 0, refused: None });
        Ok(())
    }

    /// Takes in a package.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn fetched(&mut self, digest: PlaybookDigest, package: Vec<u8>, store: &Store) -> Result<Taken, StoreError> {
        let Some(shelf) = self.shelves.get_mut(&digest) else { return Ok(Taken::Yes) };
        if PlaybookDigest::of(&package) != digest {
            return Ok(Taken::No);
        }
        match Package::read(package) {
            Ok(package) if package.manifest() == &shelf.admitted.manifest => {
                store.keep_package(digest, package.bytes())?;
                shelf.package = Some(package.bytes().to_vec());
            }
            Ok(_) => shelf.refused = Some("its manifest is not the admitted one".to_owned()),
            Err(error) => shelf.refused = Some(error.to_string()),
        }
        Ok(Taken::Yes)
    }

    /// Takes in a sealed artifact.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn compiled(
        &mut self,
        digest: PlaybookDigest,
        engine: Fingerprint,
        artifact: Vec<u8>,
        store: &Store,
    ) -> Result<(), StoreError> {
        let Some(shelf) = self.shelves.get_mut(&digest) else { return Ok(()) };
        store.keep_artifact(digest, &engine.to_string(), &artifact)?;
        shelf.artifact = Some((engine, artifact));
        shelf.lost = 0;
        Ok(())
    }

    /// The worker that compiled a playbook is gone and has said nothing: it is compiled again, some times.
    pub fn lost(&mut self, digest: PlaybookDigest, why: &str) {
        let Some(shelf) = self.shelves.get_mut(&digest) else { return };
        shelf.lost += 1;
        if shelf.lost < MAX_LOST {
            tracing::warn!(playbook = %shelf.admitted.manifest.playbook.name, why, "a compiler is gone; another one tries");
        } else {
            self.refused(digest, why);
        }
    }

    /// A playbook cannot be compiled.
    pub fn refused(&mut self, digest: PlaybookDigest, why: &str) {
        if let Some(shelf) = self.shelves.get_mut(&digest) {
            tracing::error!(playbook = %shelf.admitted.manifest.playbook.name, why, "a playbook cannot be used");
            shelf.refused = Some(why.to_owned());
        }
    }

    /// Drops what is no longer assigned.
    ///
    /// # Errors
    /// When it cannot be dropped.
    pub fn keep_only(&mut self, assigned: &BTreeSet<PlaybookDigest>, store: &Store) -> Result<(), StoreError> {
        let dropped: Vec<_> = self.shelves.keys().filter(|digest| !assigned.contains(digest)).copied().collect();
        for digest in dropped {
            store.drop_playbook(digest)?;
            self.shelves.remove(&digest);
        }
        Ok(())
    }

    /// A worker named its engine. What was compiled for another one is not ready from here on.
    pub const fn runs_on(&mut self, engine: Fingerprint) {
        self.engine = Some(engine);
    }

    /// The artifact that runs on the engine at hand.
    fn artifact<'a>(&self, shelf: &'a Shelf) -> Option<&'a (Fingerprint, Vec<u8>)> {
        shelf.artifact.as_ref().filter(|(compiled_for, _)| self.engine == Some(*compiled_for))
    }

    /// What is needed next. An artifact for another engine than the one at hand does not count, but none is
    /// made anew before that is known.
    #[must_use]
    pub fn needs(&self, assigned: &BTreeSet<PlaybookDigest>) -> Vec<Need> {
        let wanted = self.shelves.iter().filter(|(digest, shelf)| {
            assigned.contains(digest) && shelf.publisher == Trust::Trusted && shelf.refused.is_none()
        });
        wanted
            .filter_map(|(digest, shelf)| match (&shelf.package, &shelf.artifact) {
                (None, _) => Some(Need::Fetch(*digest)),
                (Some(_), Some((compiled_for, _))) if self.engine.is_none_or(|engine| engine == *compiled_for) => None,
                (Some(_), _) => Some(Need::Compile(*digest)),
            })
            .collect()
    }

    /// The manifest of an admitted playbook.
    #[must_use]
    pub fn manifest(&self, digest: PlaybookDigest) -> Option<&Manifest> {
        self.shelves.get(&digest).map(|shelf| &shelf.admitted.manifest)
    }

    /// A package, for the compiler.
    #[must_use]
    pub fn package(&self, digest: PlaybookDigest) -> Option<&[u8]> {
        self.shelves.get(&digest).and_then(|shelf| shelf.package.as_deref())
    }

    /// Why a playbook may not run here now; `None` exactly when it is [`Self::ready`].
    #[must_use]
    pub fn hindrance(&self, digest: PlaybookDigest) -> Option<Hindrance> {
        let Some(shelf) = self.shelves.get(&digest) else {
            return Some(Hindrance::PlaybookNotReady { lacks: Lack::Admission });
        };
        match (shelf.publisher, &shelf.refused, &shelf.package, self.artifact(shelf)) {
            (Trust::Untrusted, _, _, _) => {
                Some(Hindrance::PublisherUntrusted { publisher: shelf.admitted.publisher.clone() })
            }
            // A worker may have said it, which speaks for a stranger's component.
            (Trust::Trusted, Some(why), _, _) => {
                Some(Hindrance::PlaybookUnusable { why: Reason::new(why).into_string() })
            }
            (Trust::Trusted, None, _, Some(_)) => None,
            (Trust::Trusted, None, None, None) => Some(Hindrance::PlaybookNotReady { lacks: Lack::Package }),
            (Trust::Trusted, None, Some(_), None) => Some(Hindrance::PlaybookNotReady { lacks: Lack::Compilation }),
        }
    }

    /// A playbook that may run here now.
    #[must_use]
    pub fn ready(&self, digest: PlaybookDigest) -> Option<Ready<'_>> {
        let shelf = self.shelves.get(&digest).filter(|_| self.hindrance(digest).is_none())?;
        let (engine, artifact) = self.artifact(shelf)?;
        let manifest = &shelf.admitted.manifest;
        Some(Ready {
            manifest,
            engine: *engine,
            artifact,
            grants: manifest.grants.iter().map(|grant| grant.kind).collect(),
        })
    }
}

/// A playbook that may run.
#[derive(Debug)]
pub struct Ready<'a> {
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// The engine that it was compiled for.
    pub engine: Fingerprint,
    /// The sealed artifact.
    pub artifact: &'a [u8],
    /// The kinds of capability that it was granted.
    pub grants: BTreeSet<GrantKind>,
}

/// Whether the publication inside an admission is signed by a publisher of this host's own list, and
/// says what the admission says. The control plane's own word is not enough.
fn trust(admitted: &PlaybookAdmitted, publishers: &[TrustedPublisher]) -> Trust {
    let signed_by = |publisher: &&TrustedPublisher| {
        let envelope = Envelope::parse(admitted.publication.clone().into_bytes()).ok()?;
        let key = PublicKey::from_bytes(publisher.key.as_bytes()).ok()?;
        let payload = envelope.verify(&key, PUBLICATION_PAYLOAD_TYPE).ok()?;
        let publication: Publication = serde_json::from_slice(payload).ok()?;
        let same = publication.digest == admitted.digest
            && publication.name == admitted.manifest.playbook.name
            && publication.publisher == publisher.name
            && publication.key == key.key_id();
        same.then_some(())
    };
    match publishers.iter().find(|publisher| signed_by(publisher).is_some()) {
        Some(_) => Trust::Trusted,
        None => Trust::Untrusted,
    }
}

#[cfg(test)]
mod tests;
