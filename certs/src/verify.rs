//! The certificate verifiers that [`crate::tls`] puts into its configurations.
//!
//! Both verify the chain with webpki first and then the holder: exactly one SPIFFE id, of the root's
//! trust domain, of a kind that has business here. Neither looks at DNS names.

use crate::peer::{self, PeerIdentity, PeerRefused};
use crate::pem::MAX_CHAIN;
use crate::root::Root;
use fettle_model::digest::CaPin;
use fettle_model::identity::{Principal, TrustDomain};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError};
use rustls::{PeerIncompatible, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

fn refuse(reason: PeerRefused) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

/// TLS 1.2 is not among the versions of our configurations, so nothing asks for its signatures.
const fn tls12_refused() -> Error {
    Error::PeerIncompatible(PeerIncompatible::SupportedVersionsExtensionRequired)
}

fn anchor(root: &Root) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    store.add(root.der().clone())?;
    Ok(store)
}

fn of_trust_domain(peer: PeerIdentity, wanted: &TrustDomain) -> Result<PeerIdentity, PeerRefused> {
    if peer.id.trust_domain == *wanted {
        Ok(peer)
    } else {
        Err(PeerRefused::TrustDomain { peer: peer.id, wanted: wanted.clone() })
    }
}

/// The server's side of mutual TLS: the client is an agent or a person.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    trust_domain: TrustDomain,
}

impl ClientVerifier {
    pub(crate) fn new(root: &Root, provider: Arc<CryptoProvider>) -> Result<Self, VerifierBuilderError> {
        let anchors = anchor(root).map_err(|_| VerifierBuilderError::NoRootAnchors)?;
        let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), provider).build()?;
        Ok(Self { chain, trust_domain: root.trust_domain().clone() })
    }

    fn check_holder(&self, leaf: &CertificateDer<'_>) -> Result<(), PeerRefused> {
        let peer = of_trust_domain(peer::peer_identity(std::slice::from_ref(leaf))?, &self.trust_domain)?;
        match &peer.id.principal {
            Principal::Agent(_) | Principal::Person(_) => Ok(()),
            Principal::ControlPlane(_) => Err(PeerRefused::Kind { peer: peer.id, wanted: "an agent or a person" }),
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        self.check_holder(end_entity).map_err(refuse)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12_refused())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// By what a client knows the control plane's authority.
#[derive(Debug)]
enum Trust {
    /// It holds the root.
    Root(Arc<RootCertStore>, TrustDomain),
    /// It was given the root's pin; the server shows the root.
    Pin(CaPin),
}

/// The client's side: the server is a control plane.
#[derive(Debug)]
pub(crate) struct ControlPlaneVerifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ControlPlaneVerifier {
    pub(crate) fn with_root(root: &Root, provider: &CryptoProvider) -> Result<Self, Error> {
        let trust = Trust::Root(Arc::new(anchor(root)?), root.trust_domain().clone());
        Ok(Self { trust, algorithms: provider.signature_verification_algorithms })
    }

    pub(crate) const fn with_pin(pin: CaPin, provider: &CryptoProvider) -> Self {
        Self { trust: Trust::Pin(pin), algorithms: provider.signature_verification_algorithms }
    }

    fn anchors(&self, shown: &[CertificateDer<'_>]) -> Result<(Arc<RootCertStore>, TrustDomain), Error> {
        match &self.trust {
            Trust::Root(anchors, trust_domain) => Ok((Arc::clone(anchors), trust_domain.clone())),
            Trust::Pin(pin) => {
                // A certificate that is no root of ours is only not the one that is looked for.
                let root = shown
                    .iter()
                    .take(MAX_CHAIN)
                    .filter_map(|der| Root::from_der(der.clone().into_owned()).ok())
                    .find(|root| root.pin() == *pin)
                    .ok_or_else(|| refuse(PeerRefused::Pin))?;
                Ok((Arc::new(anchor(&root)?), root.trust_domain().clone()))
            }
        }
    }
}

impl ServerCertVerifier for ControlPlaneVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (anchors, trust_domain) = self.anchors(intermediates)?;
        let leaf = ParsedCertificate::try_from(end_entity)?;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &leaf,
            &anchors,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        let peer = peer::peer_identity(std::slice::from_ref(end_entity)).map_err(refuse)?;
        let peer = of_trust_domain(peer, &trust_domain).map_err(refuse)?;
        match &peer.id.principal {
            Principal::ControlPlane(_) => Ok(ServerCertVerified::assertion()),
            Principal::Agent(_) | Principal::Person(_) => {
                Err(refuse(PeerRefused::Kind { peer: peer.id, wanted: "a control plane" }))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12_refused())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
