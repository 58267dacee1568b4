//! An identity: a certificate chain, its key and the root, checked to belong together.
//!
//! Agents, control planes and people hold one; [`crate::tls`] makes configurations of it and
//! [`crate::store`] keeps it. What arrives from the network (a rotated certificate) becomes an
//! identity here before it is stored or used.

use crate::key::{KeyProblem, PrivateKey};
use crate::peer::{self, PeerIdentity, PeerRefused};
use crate::pem::{self, InvalidPem};
use crate::root::{InvalidRoot, Root};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroize as _;

/// A chain, its key and its root.
#[derive(Debug, Clone)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
    root: Root,
    holder: PeerIdentity,
}

/// Chain, key and root do not make an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// The chain is not in PEM.
    #[error("the certificate chain is not in PEM")]
    Chain(#[source] InvalidPem),
    /// The key.
    #[error("the key cannot be used")]
    Key(#[source] KeyProblem),
    /// The root.
    #[error("the root certificate cannot be used")]
    Root(#[source] InvalidRoot),
    /// The leaf.
    #[error("the certificate cannot be used")]
    Leaf(#[source] PeerRefused),
    /// The leaf is for another key.
    #[error("the certificate is not for this key")]
    KeyMismatch,
    /// The leaf was not issued by the root.
    #[error("the certificate was not issued by this root")]
    NotIssuedByRoot,
}

impl Identity {
    /// Puts an identity together. Its validity in time is not checked: an expired one can be read.
    ///
    /// # Errors
    /// [`InvalidIdentity`].
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKey, root: Root) -> Result<Self, InvalidIdentity> {
        use rcgen::PublicKeyData as _;
        let holder = peer::peer_identity(&chain).map_err(InvalidIdentity::Leaf)?;
        let [leaf, ..] = &chain[..] else { return Err(InvalidIdentity::Leaf(PeerRefused::NoCertificate)) };
        let leaf = peer::parse(leaf).map_err(InvalidIdentity::Leaf)?;
        let mut signer = key.signer().map_err(InvalidIdentity::Key)?;
        let public = signer.subject_public_key_info();
        signer.zeroize();
        if leaf.public_key().raw != public {
            return Err(InvalidIdentity::KeyMismatch);
        }
        let anchor = peer::parse(root.der()).map_err(InvalidIdentity::Leaf)?;
        leaf.verify_signature(Some(anchor.public_key())).map_err(|_| InvalidIdentity::NotIssuedByRoot)?;
        if holder.id.trust_domain != *root.trust_domain() {
            let wanted = root.trust_domain().clone();
            return Err(InvalidIdentity::Leaf(PeerRefused::TrustDomain { peer: holder.id, wanted }));
        }
        Ok(Self { chain, key, root, holder })
    }

    /// Reads a chain, leaf first, as a control plane sends it in PEM.
    ///
    /// # Errors
    /// [`InvalidIdentity`].
    pub fn from_pem(chain: &[u8], key: PrivateKey, root: Root) -> Result<Self, InvalidIdentity> {
        Self::new(pem::certificates(chain).map_err(InvalidIdentity::Chain)?, key, root)
    }

    /// Who this is, with the certificate's serial number and validity.
    #[must_use]
    pub const fn holder(&self) -> &PeerIdentity {
        &self.holder
    }

    /// The root.
    #[must_use]
    pub const fn root(&self) -> &Root {
        &self.root
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The chain, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The chain, leaf first, PEM.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        let mut text = String::new();
        for certificate in &self.chain {
            pem::append(&mut text, pem::CERTIFICATE, certificate);
        }
        text
    }
}
