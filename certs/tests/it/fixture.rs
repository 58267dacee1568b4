//! An authority, identities under it, an attacker who can forge, and handshakes without a network.

use fettle_certs::authority::{Authority, Life, Subject, Template};
use fettle_certs::csr::{ProvenKey, certificate_request};
use fettle_certs::identity::Identity;
use fettle_certs::key::PrivateKey;
use fettle_certs::serial::Serial;
use fettle_certs::tls::TimeProvider;
use fettle_model::id::HostId;
use fettle_model::time::UnixMillis;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, DigitallySignedStruct, Error, ServerConfig, ServerConnection,
};
use rustls::{SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const TRUST_DOMAIN: &str = "fettle.test";
pub(crate) const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
/// When the authorities were made: ten days ago.
pub(crate) const FOUNDED: UnixMillis = UnixMillis(NOW.0 - 864_000_000);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A clock that stands.
#[derive(Debug)]
struct Standing(UnixMillis);

impl TimeProvider for Standing {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.0)))
    }
}

pub(crate) fn clock(at: UnixMillis) -> Arc<dyn TimeProvider> {
    Arc::new(Standing(at))
}

pub(crate) fn authority_of(trust_domain: &str) -> Authority {
    let trust_domain = trust_domain.parse().expect("a trust domain");
    Authority::create(&trust_domain, FOUNDED, Serial::from_random([9; 16])).expect("an authority")
}

pub(crate) fn authority() -> Authority {
    authority_of(TRUST_DOMAIN)
}

pub(crate) fn host() -> HostId {
    "7f8d4f0a-9f3e-4b7c-8a51-2a6d1c0b9e11".parse().expect("a host id")
}

pub(crate) fn agent() -> Subject {
    Subject::Agent(host())
}

pub(crate) fn person() -> Subject {
    Subject::Person("alice".parse().expect("a name"))
}

pub(crate) fn control_plane() -> Subject {
    Subject::ControlPlane { name: "cp-1".parse().expect("a name"), server_names: Vec::new() }
}

pub(crate) fn key_and_proof() -> (PrivateKey, ProvenKey) {
    let key = PrivateKey::generate().expect("a key");
    let csr = certificate_request(&key).expect("a request");
    (key, ProvenKey::from_csr(&csr).expect("our own request"))
}

pub(crate) fn identity_at(authority: &Authority, subject: Subject, now: UnixMillis) -> Identity {
    let (key, proof) = key_and_proof();
    let template = Template { subject, life: Life::DAY };
    let issued = authority.issue(&proof, &template, now, Serial::from_random([3; 16])).expect("a certificate");
    Identity::new(vec![issued.der], key, authority.root().clone()).expect("an identity")
}

pub(crate) fn identity(authority: &Authority, subject: Subject) -> Identity {
    identity_at(authority, subject, NOW)
}

/// A chain and its key, whatever they say.
pub(crate) struct Forged {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Forged {
    /// What an identity would show.
    pub(crate) fn copy_of(identity: &Identity) -> Self {
        let pem = identity.key().to_pem();
        let key = KeyPair::from_pem(&pem).expect("a key").serialize_der();
        Self { chain: identity.chain().to_vec(), key: PrivatePkcs8KeyDer::from(key).into() }
    }
}

/// A leaf that the authority's own key signed, with everything in it chosen: valid now, of a proper
/// serial number, and the rest as `change` leaves it.
pub(crate) fn forge(authority: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Forged {
    let pem = authority.to_pem();
    let (_, key) = pem.split_once("-----END CERTIFICATE-----\n").expect("certificate and key");
    let signer = KeyPair::from_pem(key).expect("the authority's key");
    let issuer = Issuer::from_ca_cert_der(authority.root().der(), signer).expect("the authority");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.serial_number = Some(vec![0x41; 16].into());
    change(&mut params);
    let leaf = params.signed_by(&key, &issuer).expect("a certificate");
    Forged { chain: vec![leaf.into()], key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() }
}

/// A client's verifier that accepts every server.
#[derive(Debug)]
struct Gullible(CryptoProvider);

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A client of somebody else's making: any version, any protocols, resumption and early data on.
pub(crate) fn foreign_client(
    shown: Option<Forged>,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&[u8]],
) -> Arc<ClientConfig> {
    let provider = aws_lc_rs::default_provider();
    let builder = ClientConfig::builder_with_details(Arc::new(provider.clone()), clock(NOW))
        .with_protocol_versions(versions)
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible(provider)));
    let mut config = match shown {
        Some(Forged { chain, key }) => builder.with_client_auth_cert(chain, key).expect("a chain"),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.enable_early_data = true;
    Arc::new(config)
}

/// A server of somebody else's making, that asks for no certificate.
pub(crate) fn foreign_server(shown: Forged) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_details(Arc::new(aws_lc_rs::default_provider()), clock(NOW))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(shown.chain, shown.key)
        .expect("a chain");
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// Both ends of a session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: ClientConnection,
    pub(crate) server: ServerConnection,
}

/// What each end says of a handshake that failed. At least one says something.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) client: Option<Error>,
    pub(crate) server: Option<Error>,
}

/// Shakes hands in memory until neither end has anything to say. The server is reached by an address
/// that no certificate names.
pub(crate) fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<Session, Box<Failed>> {
    let name = ServerName::try_from("192.0.2.1").expect("an address");
    let mut client = ClientConnection::new(Arc::clone(client), name).expect("a client");
    let mut server = ServerConnection::new(Arc::clone(server)).expect("a server");
    let mut failed = Failed { client: None, server: None };
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("memory");
        }
        if failed.server.is_none() {
            failed.server = deliver(&wire, &mut server).err();
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("memory");
        }
        if failed.client.is_none() {
            failed.client = deliver(&wire, &mut client).err();
        }
    }
    if failed.client.is_some() || failed.server.is_some() {
        return Err(Box::new(failed));
    }
    assert!(!client.is_handshaking() && !server.is_handshaking(), "neither end fails and neither is done");
    Ok(Session { client, server })
}

fn deliver<Data: rustls::SideData>(mut wire: &[u8], to: &mut ConnectionCommon<Data>) -> Result<(), Error> {
    while !wire.is_empty() {
        to.read_tls(&mut wire).expect("memory");
        to.process_new_packets()?;
    }
    Ok(())
}
