//! The certificate authority: one self-signed root that issues the leaves directly.
//!
//! The control plane holds it. A certificate is made of three things only: the public key that a
//! request has proven, the template that the server chose, and the instant and random bytes that the
//! caller passes. Both of its dates are always set.

use crate::csr::ProvenKey;
use crate::key::{KeyProblem, PrivateKey};
use crate::peer::{self, PeerIdentity, PeerRefused};
use crate::pem;
use crate::root::{InvalidRoot, Root};
use crate::serial::Serial;
use fettle_model::digest::CaPin;
use fettle_model::id::HostId;
use fettle_model::identity::{Principal, SpiffeId, TrustDomain};
use fettle_model::name::PersonName;
use fettle_model::time::{UnixMillis, whole_millis};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls_pki_types::{CertificateDer, ServerName};
use std::fmt;
use std::time::Duration;
use x509_parser::time::ASN1Time;
use zeroize::Zeroizing;

/// How far before its issue a certificate is valid, for peers whose clock is slow.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// How long a root is valid: ten years of 365 days.
pub const ROOT_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Most DNS names and addresses of one control plane: a name and an address for each of eight networks.
pub const MAX_SERVER_NAMES: usize = 16;

/// How long after its issue a certificate is valid: more than nothing, at most a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life(Duration);

/// A certificate may not live so long, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a certificate may live from one second to 24 hours, not {wanted:?}")]
pub struct InvalidLife {
    /// What was asked for.
    pub wanted: Duration,
}

impl Life {
    /// 24 hours: what everybody gets unless the operator wants less.
    pub const DAY: Self = Self(Duration::from_secs(24 * 60 * 60));

    /// 8 hours: what a login gives. Whom the provider does not know any more is out by the evening.
    pub const WORKING_DAY: Self = Self(Duration::from_secs(8 * 60 * 60));

    /// A life of this length.
    ///
    /// # Errors
    /// When it is under a second or over a day.
    pub fn new(wanted: Duration) -> Result<Self, InvalidLife> {
        if (Duration::from_secs(1)..=Self::DAY.0).contains(&wanted) {
            Ok(Self(wanted))
        } else {
            Err(InvalidLife { wanted })
        }
    }
}

/// Who gets a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An agent: may authenticate as a client.
    Agent(HostId),
    /// A person: may authenticate as a client.
    Person(PersonName),
    /// A control plane's process: may authenticate as a server.
    ControlPlane {
        /// Its name.
        name: PersonName,
        /// DNS names and addresses, for tools that look at them; Fettle's own clients do not.
        server_names: Vec<ServerName<'static>>,
    },
}

/// What the server decided to certify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Who.
    pub subject: Subject,
    /// For how long, unless the root ends earlier.
    pub life: Life,
}

/// A certificate that the authority issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// Whose it is, its serial number and its validity, as read back from it.
    pub holder: PeerIdentity,
}

impl IssuedCertificate {
    /// The chain that the holder presents, PEM: the leaf alone, because the root issues directly.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        let mut text = String::new();
        pem::append(&mut text, pem::CERTIFICATE, &self.der);
        text
    }
}

/// The authority cannot be made or loaded.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityProblem {
    /// Its key.
    #[error("the authority's key cannot be used")]
    Key(#[source] KeyProblem),
    /// Its certificate.
    #[error("the authority's certificate cannot be used")]
    Root(#[source] InvalidRoot),
    /// The certificate and the key do not belong together.
    #[error("the authority's key is not that of its certificate")]
    KeyMismatch,
    /// The certificate could not be encoded.
    #[error("the authority's certificate could not be made")]
    Encode(#[source] rcgen::Error),
    /// An instant is beyond what a certificate can say.
    #[error("the instant {at:?} does not fit into a certificate")]
    Instant {
        /// The instant.
        at: UnixMillis,
    },
}

/// A certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueProblem {
    /// The root is not valid at this instant.
    #[error("the authority's root is not valid now")]
    Root(#[source] peer::OutsideValidity),
    /// More names than one certificate may have.
    #[error("a certificate may have {MAX_SERVER_NAMES} server names, not {found}")]
    ServerNames {
        /// How many were asked for.
        found: usize,
    },
    /// A server name cannot stand in a certificate.
    #[error("the server name {name:?} cannot stand in a certificate")]
    ServerName {
        /// The name.
        name: ServerName<'static>,
    },
    /// An instant is beyond what a certificate can say.
    #[error("the instant {at:?} does not fit into a certificate")]
    Instant {
        /// The instant.
        at: UnixMillis,
    },
    /// The certificate could not be signed or encoded.
    #[error("the certificate could not be made")]
    Encode(#[source] rcgen::Error),
    /// The certificate that was made does not read as wanted; it is thrown away.
    #[error("the certificate that was made is not acceptable")]
    ReadBack(#[source] PeerRefused),
}

/// A certificate authority.
pub struct Authority {
    root: Root,
    key: PrivateKey,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority with a new P-256 key.
    ///
    /// # Errors
    /// [`AuthorityProblem`].
    pub fn create(trust_domain: &TrustDomain, now: UnixMillis, serial: Serial) -> Result<Self, AuthorityProblem> {
        /// Longest common name (X.520, `ub-common-name`). The URI name below holds the whole.
        const MAX_COMMON_NAME: usize = 64;
        let key = PrivateKey::generate().map_err(AuthorityProblem::Key)?;
        let signer = key.signer().map_err(AuthorityProblem::Key)?;
        let instant = |at| calendar(at).ok_or(AuthorityProblem::Instant { at });
        let uri = format!("spiffe://{trust_domain}").try_into().map_err(AuthorityProblem::Encode)?;

        let mut params = CertificateParams::default();
        params.not_before = instant(backdated(now))?.to_datetime();
        params.not_after = instant(now.plus(ROOT_LIFE))?.to_datetime();
        params.serial_number = Some(serial.as_bytes().to_vec().into());
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Fettle");
        let common_name: String = trust_domain.as_str().chars().take(MAX_COMMON_NAME).collect();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&signer).map_err(AuthorityProblem::Encode)?;
        Self::assemble(certificate.into(), key)
    }

    /// Loads an authority from the text that [`Self::to_pem`] wrote: one certificate and one key.
    ///
    /// # Errors
    /// [`AuthorityProblem`].
    pub fn from_pem(text: &[u8]) -> Result<Self, AuthorityProblem> {
        let key = PrivateKey::from_pem(text).map_err(AuthorityProblem::Key)?;
        let root = Root::from_pem(text).map_err(AuthorityProblem::Root)?;
        Self::assemble(root.der().clone(), key)
    }

    fn assemble(certificate: CertificateDer<'static>, key: PrivateKey) -> Result<Self, AuthorityProblem> {
        use rcgen::PublicKeyData as _;
        let signer = key.signer().map_err(AuthorityProblem::Key)?;
        let root = Root::from_der(certificate).map_err(AuthorityProblem::Root)?;
        if CaPin::of(&signer.subject_public_key_info()) != root.pin() {
            return Err(AuthorityProblem::KeyMismatch);
        }
        let issuer = Issuer::from_ca_cert_der(root.der(), signer).map_err(AuthorityProblem::Encode)?;
        Ok(Self { root, key, issuer })
    }

    /// The authority as one text: certificate and key. Whoever has it can be anybody.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        let key = self.key.to_pem();
        let root = self.root.to_pem();
        let mut text = Zeroizing::new(String::with_capacity(root.len() + key.len()));
        text.push_str(&root);
        text.push_str(&key);
        text
    }

    /// The root certificate.
    #[must_use]
    pub const fn root(&self) -> &Root {
        &self.root
    }

    /// The pin that goes into install commands.
    #[must_use]
    pub const fn ca_pin(&self) -> CaPin {
        self.root.pin()
    }

    /// Issues a certificate for a proven key, as the template says. `serial` is fresh for each call.
    ///
    /// # Errors
    /// [`IssueProblem`].
    pub fn issue(
        &self,
        key: &ProvenKey,
        template: &Template,
        now: UnixMillis,
        serial: Serial,
    ) -> Result<IssuedCertificate, IssueProblem> {
        self.root.validity().check(now).map_err(IssueProblem::Root)?;
        let params = self.leaf_params(template, now, serial)?;
        let certificate = params.signed_by(key.public_key(), &self.issuer).map_err(IssueProblem::Encode)?;
        let der = CertificateDer::from(certificate);
        let holder = peer::peer_identity(std::slice::from_ref(&der)).map_err(IssueProblem::ReadBack)?;
        Ok(IssuedCertificate { der, holder })
    }

    fn leaf_params(
        &self,
        template: &Template,
        now: UnixMillis,
        serial: Serial,
    ) -> Result<CertificateParams, IssueProblem> {
        let Template { subject, life } = template;
        let (principal, usage, server_names) = match subject {
            Subject::Agent(host) => (Principal::Agent(*host), ExtendedKeyUsagePurpose::ClientAuth, &[][..]),
            Subject::Person(name) => (Principal::Person(name.clone()), ExtendedKeyUsagePurpose::ClientAuth, &[][..]),
            Subject::ControlPlane { name, server_names } => {
                (Principal::ControlPlane(name.clone()), ExtendedKeyUsagePurpose::ServerAuth, server_names.as_slice())
            }
        };
        if server_names.len() > MAX_SERVER_NAMES {
            return Err(IssueProblem::ServerNames { found: server_names.len() });
        }
        let id = SpiffeId { trust_domain: self.root.trust_domain().clone(), principal };
        let uri = id.to_string().try_into().map_err(IssueProblem::Encode)?;
        let instant = |at| calendar(at).ok_or(IssueProblem::Instant { at });
        let not_after = now.plus(life.0).min(self.root.validity().not_after);

        let mut params = CertificateParams::default();
        params.not_before = instant(backdated(now))?.to_datetime();
        params.not_after = instant(not_after)?.to_datetime();
        params.serial_number = Some(serial.as_bytes().to_vec().into());
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(uri)];
        for name in server_names {
            params.subject_alt_names.push(alternative_name(name)?);
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

fn alternative_name(name: &ServerName<'static>) -> Result<SanType, IssueProblem> {
    let refused = || IssueProblem::ServerName { name: name.clone() };
    if let ServerName::DnsName(dns) = name {
        dns.as_ref().try_into().map(SanType::DnsName).map_err(|_| refused())
    } else if let ServerName::IpAddress(address) = name {
        Ok(SanType::IpAddress((*address).into()))
    } else {
        Err(refused())
    }
}

fn backdated(now: UnixMillis) -> UnixMillis {
    UnixMillis(now.0.saturating_sub(whole_millis(BACKDATE)))
}

/// The instant in the form that a certificate carries: whole seconds, years up to 9999.
fn calendar(at: UnixMillis) -> Option<ASN1Time> {
    ASN1Time::from_timestamp(i64::try_from(at.0 / 1_000).ok()?).ok()
}
