//! The proof that a person holds the signing key that is registered for them.
//!
//! Made by the command line, checked by the control plane before it takes a key, and by whoever verifies the
//! log. The proof names the installation and the person, so it registers the key nowhere else and for nobody else.

use crate::key::{PublicKey, Signature, SigningKey};
use fettle_model::identity::TrustDomain;
use fettle_model::name::PersonName;
use fettle_model::person_key::SigningKeyProof;

/// Begins every statement. No envelope is signed over anything that begins so: those begin with `DSSEv1`.
const PREFIX: &str = "fettle person key v1";

/// Why a key is not registered for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnprovenKey {
    /// The text is no public key.
    #[error("the signing key is not a public key")]
    Key(#[source] crate::key::InvalidPublicKey),
    /// The text is no signature.
    #[error("the signing key's proof is not a signature")]
    Proof(#[source] crate::key::InvalidSignature),
    /// The signature does not hold for this installation and person.
    #[error("the signing key's proof does not hold for this person and control plane")]
    Mismatch,
}

/// Proves that its holder registers a key for this person.
#[must_use]
pub fn prove(key: &SigningKey, trust_domain: &TrustDomain, person: &PersonName) -> SigningKeyProof {
    let public = key.public();
    let proof = key.sign(&statement(&public, trust_domain, person));
    SigningKeyProof { key: public.to_string(), proof: proof.to_string() }
}

/// Checks the proof, and gives the key.
///
/// # Errors
/// When it is no key, or the proof does not hold for this installation and person.
pub fn check(
    given: &SigningKeyProof,
    trust_domain: &TrustDomain,
    person: &PersonName,
) -> Result<PublicKey, UnprovenKey> {
    let key: PublicKey = given.key.parse().map_err(UnprovenKey::Key)?;
    let proof: Signature = given.proof.parse().map_err(UnprovenKey::Proof)?;
    key.verify(&statement(&key, trust_domain, person), &proof).map_err(|_| UnprovenKey::Mismatch)?;
    Ok(key)
}

/// What the proof is signed over. None of its parts can contain a line's end.
fn statement(key: &PublicKey, trust_domain: &TrustDomain, person: &PersonName) -> Vec<u8> {
    format!("{PREFIX}\n{trust_domain}\n{person}\n{key}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name<T: std::str::FromStr>(text: &str) -> T
    where
        T::Err: std::fmt::Debug,
    {
        text.parse().expect("a name")
    }

    #[test]
    fn a_proof_holds_for_its_key_its_person_and_its_installation_only() {
        let (key, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let (here, bob) = (name("fettle.example"), name("bob"));
        let given = prove(&key, &here, &bob);
        assert_eq!(check(&given, &here, &bob), Ok(key.public()));
        assert_eq!(check(&given, &name("other.example"), &bob), Err(UnprovenKey::Mismatch));
        assert_eq!(check(&given, &here, &name("mallory")), Err(UnprovenKey::Mismatch));
        let stolen = SigningKeyProof { key: other.public().to_string(), ..given.clone() };
        assert_eq!(check(&stolen, &here, &bob), Err(UnprovenKey::Mismatch));
        assert!(matches!(
            check(&SigningKeyProof { key: "x".to_owned(), ..given.clone() }, &here, &bob),
            Err(UnprovenKey::Key(_))
        ));
        let garbled = SigningKeyProof { proof: "x".to_owned(), ..given };
        assert!(matches!(check(&garbled, &here, &bob), Err(UnprovenKey::Proof(_))));
    }
}
