//! What a certificate says of its holder.
//!
//! Called by the TLS verifiers after the chain was verified, and by the servers for every call:
//! TLS looks at validity only at the handshake, a stream may outlive it. Nothing here verifies a
//! signature.

use crate::serial::Serial;
use fettle_model::identity::{InvalidSpiffeId, SpiffeId, TrustDomain};
use fettle_model::time::UnixMillis;
use rustls_pki_types::CertificateDer;
use std::time::Duration;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// Largest certificate that is parsed: ours have 600 bytes, with sixteen server names 5 KiB.
pub const MAX_CERTIFICATE_BYTES: usize = 8 * 1024;

/// A certificate's holder is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefused {
    /// The peer sent no certificate.
    #[error("the peer sent no certificate")]
    NoCertificate,
    /// The certificate does not parse, or has more than [`MAX_CERTIFICATE_BYTES`].
    #[error("the certificate is malformed")]
    Malformed,
    /// Not exactly one URI among its names.
    #[error("the certificate has {found} URI names where exactly one is wanted")]
    UriNames {
        /// How many it has.
        found: usize,
    },
    /// The URI is not a SPIFFE id of ours.
    #[error("the certificate's URI name is no identity of ours")]
    Id(#[source] InvalidSpiffeId),
    /// The serial number is not one that our authority gives.
    #[error("the certificate's serial number is not one of ours")]
    Serial,
    /// The holder belongs to another trust domain.
    #[error("the peer {peer} is not of the trust domain {wanted}")]
    TrustDomain {
        /// The holder.
        peer: SpiffeId,
        /// The trust domain of the root.
        wanted: TrustDomain,
    },
    /// The holder is of a kind that has no business here.
    #[error("the peer {peer} is not {wanted}")]
    Kind {
        /// The holder.
        peer: SpiffeId,
        /// Who is expected here.
        wanted: &'static str,
    },
    /// None of the certificates that the server sent has the pinned key.
    #[error("the server did not show a root certificate with the pinned key")]
    Pin,
}

/// The instants between which a certificate is valid, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first.
    pub not_before: UnixMillis,
    /// The last.
    pub not_after: UnixMillis,
}

/// The certificate is not valid now: it is too old, too new, or a clock is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutsideValidity {
    /// Not yet.
    #[error("the certificate is not valid for another {wait:?}, or the clock here is slow")]
    Early {
        /// Until it is.
        wait: Duration,
    },
    /// No more.
    #[error("the certificate expired {since:?} ago, or the clock here is fast")]
    Late {
        /// Since it is not.
        since: Duration,
    },
}

impl Validity {
    /// Checks that `now` is inside.
    ///
    /// # Errors
    /// On which side, and how far.
    pub fn check(&self, now: UnixMillis) -> Result<(), OutsideValidity> {
        if now < self.not_before {
            Err(OutsideValidity::Early { wait: self.not_before.since(now) })
        } else if now > self.not_after {
            Err(OutsideValidity::Late { since: now.since(self.not_after) })
        } else {
            Ok(())
        }
    }

    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        let millis = |seconds: i64| u64::try_from(seconds).ok()?.checked_mul(1_000).map(UnixMillis);
        let validity = certificate.validity();
        Some(Self {
            not_before: millis(validity.not_before.timestamp())?,
            not_after: millis(validity.not_after.timestamp())?,
        })
    }
}

/// The holder of a certificate of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Who it is.
    pub id: SpiffeId,
    /// The certificate's serial number: which of the holder's certificates this is.
    pub serial: Serial,
    /// When the certificate is valid. Check it for each call: `validity.check(now)`.
    pub validity: Validity,
}

/// Reads the holder from the chain that a peer presented, leaf first. The chain's signatures must
/// have been verified: [`crate::tls`] does so in the handshake.
///
/// # Errors
/// [`PeerRefused`] when the leaf is not a certificate that our authority issues.
pub fn peer_identity(chain: &[CertificateDer<'_>]) -> Result<PeerIdentity, PeerRefused> {
    let leaf = parse(chain.first().ok_or(PeerRefused::NoCertificate)?)?;
    let uris = uri_names(&leaf)?;
    let [uri] = uris[..] else {
        return Err(PeerRefused::UriNames { found: uris.len() });
    };
    Ok(PeerIdentity {
        id: uri.parse().map_err(PeerRefused::Id)?,
        serial: Serial::from_certificate(leaf.raw_serial()).ok_or(PeerRefused::Serial)?,
        validity: Validity::of(&leaf).ok_or(PeerRefused::Malformed)?,
    })
}

/// Parses one certificate: bounded, and nothing after its end.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, PeerRefused> {
    if der.len() > MAX_CERTIFICATE_BYTES {
        return Err(PeerRefused::Malformed);
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(PeerRefused::Malformed),
    }
}

/// The URIs among a certificate's names.
pub(crate) fn uri_names<'a>(certificate: &'a X509Certificate<'_>) -> Result<Vec<&'a str>, PeerRefused> {
    let Some(extension) = certificate.subject_alternative_name().map_err(|_| PeerRefused::Malformed)? else {
        return Ok(Vec::new());
    };
    let mut uris = Vec::new();
    for name in &extension.value.general_names {
        if let GeneralName::URI(uri) = name {
            uris.push(*uri);
        } else if let GeneralName::Invalid(..) = name {
            // It may be a second URI that is not UTF-8.
            return Err(PeerRefused::Malformed);
        }
    }
    Ok(uris)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(now: u64, expected: Result<(), OutsideValidity>) {
        let validity = Validity { not_before: UnixMillis(1_000), not_after: UnixMillis(5_000) };
        assert_eq!(validity.check(UnixMillis(now)), expected);
    }

    #[test]
    fn validity_includes_both_ends_and_says_how_far_outside_an_instant_is() {
        check(1_000, Ok(()));
        check(5_000, Ok(()));
        check(999, Err(OutsideValidity::Early { wait: Duration::from_millis(1) }));
        check(7_000, Err(OutsideValidity::Late { since: Duration::from_secs(2) }));
    }

    #[test]
    fn rubbish_is_no_certificate() {
        assert_eq!(peer_identity(&[]), Err(PeerRefused::NoCertificate));
        for der in [vec![], vec![0x30, 0x03, 1, 2, 3], vec![0x30; MAX_CERTIFICATE_BYTES + 1]] {
            assert_eq!(peer_identity(&[CertificateDer::from(der)]), Err(PeerRefused::Malformed));
        }
    }
}
