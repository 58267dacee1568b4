//! A root certificate: parsed, checked, and named by its pin.
//!
//! The root carries the trust domain as its own URI name (`spiffe://<trust-domain>`, SPIFFE-ID 1.0,
//! section 2): whoever holds the root knows which identities to accept.

use crate::peer::{self, Validity};
use crate::pem::{self, InvalidPem};
use fettle_model::digest::CaPin;
use fettle_model::identity::{InvalidSpiffeId, TrustDomain};
use rustls_pki_types::CertificateDer;

/// A root certificate that issues identities of one trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    der: CertificateDer<'static>,
    trust_domain: TrustDomain,
    pin: CaPin,
    validity: Validity,
}

/// The certificate is not a root of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoot {
    /// The text is not one PEM certificate.
    #[error("the root certificate is not in PEM")]
    Pem(#[source] InvalidPem),
    /// It does not parse.
    #[error("the root certificate is malformed")]
    Malformed,
    /// It may not sign certificates.
    #[error("the certificate is not that of an authority")]
    NotAuthority,
    /// It is not signed by its own key.
    #[error("the root certificate is not signed by its own key")]
    Signature,
    /// It does not carry exactly one URI name `spiffe://<trust-domain>`.
    #[error("the root certificate does not name one trust domain")]
    NoTrustDomain,
    /// Its URI name holds no trust domain.
    #[error("the root certificate's trust domain is not valid")]
    TrustDomain(#[source] InvalidSpiffeId),
    /// It is another root than the pinned one.
    #[error("the root certificate has the pin {found}, not {wanted}")]
    Pin {
        /// The pin that was given.
        wanted: CaPin,
        /// The pin of the certificate.
        found: CaPin,
    },
}

impl Root {
    /// Parses and checks a root certificate. Its validity is not checked: TLS does not look at the
    /// validity of an anchor, and no certificate below it outlives it.
    ///
    /// # Errors
    /// [`InvalidRoot`]: everything but `Pem` and `Pin`.
    pub fn from_der(der: CertificateDer<'static>) -> Result<Self, InvalidRoot> {
        let certificate = peer::parse(&der).map_err(|_| InvalidRoot::Malformed)?;
        let may_sign = certificate
            .key_usage()
            .map_err(|_| InvalidRoot::Malformed)?
            .is_some_and(|usage| usage.value.key_cert_sign());
        if !certificate.is_ca() || !may_sign {
            return Err(InvalidRoot::NotAuthority);
        }
        certificate.verify_signature(None).map_err(|_| InvalidRoot::Signature)?;
        let uris = peer::uri_names(&certificate).map_err(|_| InvalidRoot::Malformed)?;
        let [uri] = uris[..] else { return Err(InvalidRoot::NoTrustDomain) };
        let name = uri.strip_prefix("spiffe://").ok_or(InvalidRoot::NoTrustDomain)?;
        let trust_domain = name.parse().map_err(InvalidRoot::TrustDomain)?;
        let pin = CaPin::of(certificate.public_key().raw);
        let validity = Validity::of(&certificate).ok_or(InvalidRoot::Malformed)?;
        Ok(Self { trust_domain, pin, validity, der })
    }

    /// Parses and checks the only certificate of a text.
    ///
    /// # Errors
    /// [`InvalidRoot`]: everything but `Pin`.
    pub fn from_pem(text: &[u8]) -> Result<Self, InvalidRoot> {
        Self::from_der(pem::certificate(text).map_err(InvalidRoot::Pem)?)
    }

    /// Parses and checks the root that a control plane sent, against the pin that a person gave.
    ///
    /// # Errors
    /// [`InvalidRoot`].
    pub fn pinned_from_pem(text: &[u8], pin: CaPin) -> Result<Self, InvalidRoot> {
        let root = Self::from_pem(text)?;
        if root.pin == pin { Ok(root) } else { Err(InvalidRoot::Pin { wanted: pin, found: root.pin }) }
    }

    /// SHA-256 of the SubjectPublicKeyInfo, as it is written into install commands.
    #[must_use]
    pub const fn pin(&self) -> CaPin {
        self.pin
    }

    /// The trust domain whose identities this root issues.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// When it is valid.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// The certificate, DER.
    #[must_use]
    pub const fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The certificate, PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let mut text = String::new();
        pem::append(&mut text, pem::CERTIFICATE, &self.der);
        text
    }
}
