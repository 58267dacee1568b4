//! Enrolment as the effector sees it: it proves its record key, and pins the host's id and the control
//! plane's keys, once.
//!
//! The daemon, which brings the answer, is not trusted: what is pinned stays, whatever it brings later. Only
//! a person who removes the state folder makes an agent forget whom it obeys.

use super::serve::{Effector, EffectorError};
use super::trust::Pins;
use crate::config::ControlPlaneSettings;
use crate::ipc::daemon::{Ask, JoinTokenText, ToDaemon};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_certs::enrol::is_record_key_statement;
use fettle_model::digest::EnvelopeDigest;
use fettle_model::id::HostId;
use fettle_model::permit::PermitRejection;
use fettle_model::record::{Body, PermitRejected};

/// What an answer to enrolment means for an agent.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// It is the first: its keys are pinned.
    Pin,
    /// It says what is pinned already.
    Known,
    /// It says something else than what is pinned.
    Foreign(PermitRejection),
    /// It says something else than this key of `agent.toml`.
    NotOwners(&'static str),
}

fn answer(known: (Option<HostId>, Option<&Pins>), given: (HostId, &Pins), wanted: &ControlPlaneSettings) -> Answer {
    let ((known_host, known_pins), (host, pins)) = (known, given);
    if let Some(key) = known_pins.and_then(|known| known.foreign_key(pins)) {
        return Answer::Foreign(PermitRejection::ForeignKey { key });
    }
    // The keys are the pinned ones, and what is left to differ is the log's name.
    if known_host.is_some_and(|known| known != host) || known_pins.is_some_and(|known| known != pins) {
        return Answer::Foreign(PermitRejection::OtherHost);
    }
    match (pins.unlike(wanted), known_host, known_pins) {
        (Some(key), _, _) => Answer::NotOwners(key),
        (None, Some(_), Some(_)) => Answer::Known,
        (None, None, _) | (None, _, None) => Answer::Pin,
    }
}

impl Effector {
    /// Reads the join token anew for every attempt: its file may come, or be replaced, while this agent waits.
    pub(super) async fn give_token(&mut self) {
        let file = self.capabilities.config().control_plane.join_token_file.as_ref();
        let token = file.and_then(|file| match crate::config::read_secret(file) {
            Ok(secret) => Some(JoinTokenText(secret.expose().to_owned())),
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::warn!(error = format!("{error:#}"), "the join token cannot be read");
                None
            }
        });
        self.tell_daemon(&ToDaemon::JoinToken { token }).await;
    }

    /// Signs the statement that goes with a request for enrolment, and nothing else. An enrolled host's too: its
    /// certificate may have expired, or a crash came before the daemon had kept it.
    pub(super) async fn prove(&mut self, ask: Ask, statement: &str) -> Result<(), EffectorError> {
        let Some(bytes) = STANDARD.decode(statement).ok().filter(|bytes| is_record_key_statement(bytes)) else {
            return Ok(());
        };
        let signature = STANDARD.encode(self.recorder.prove(&bytes).as_bytes());
        self.tell_daemon(&ToDaemon::RecordKeyProof { ask, signature }).await;
        Ok(())
    }

    /// The daemon says that the host was enrolled.
    pub(super) async fn enrolled(
        &mut self,
        host: HostId,
        log_key: &str,
        permit_key: &str,
    ) -> Result<(), EffectorError> {
        let pins = match Pins::parse(log_key, permit_key) {
            Ok(pins) => pins,
            Err(error) => {
                tracing::error!(%error, "enrolment answered with keys that are none; the answer is ignored");
                return Ok(());
            }
        };
        let known = (self.recorder.host(), self.pins.as_ref());
        match answer(known, (host, &pins), &self.capabilities.config().control_plane) {
            Answer::Known => Ok(()),
            Answer::Pin => {
                self.store.keep_enrolment(host, log_key, permit_key)?;
                self.pins = Some(pins);
                self.recorder.enrolled(host);
                tracing::info!(%host, "this host is enrolled");
                Ok(())
            }
            Answer::NotOwners(key) => {
                tracing::error!(
                    "enrolment answered with another {key} than agent.toml pins; nothing is kept, and this agent does \
                     nothing. Find out whose control plane that is; where agent.toml is wrong, correct it, remove the \
                     state folder and enrol again with a new join token"
                );
                Ok(())
            }
            Answer::Foreign(because) => {
                tracing::error!(%host, "enrolment answered with another host id or other keys than this agent pinned; they are ignored");
                self.refuse_keys(log_key, permit_key, because).await
            }
        }
    }

    /// Somebody tried to make this agent obey other keys: a record, once in the life of this process.
    async fn refuse_keys(
        &mut self,
        log_key: &str,
        permit_key: &str,
        because: PermitRejection,
    ) -> Result<(), EffectorError> {
        let envelope = EnvelopeDigest::of(format!("{log_key}\n{permit_key}").as_bytes());
        if self.recorder.host().is_none() || self.refused_keys.replace(envelope).is_some() {
            return Ok(());
        }
        let rejected = PermitRejected { permit: None, run: None, envelope, because };
        self.record(Body::PermitRejected(Box::new(rejected)), |store, sealed| store.append(sealed.as_new())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_audit::key::SigningKey;
    use fettle_audit::note::{NoteSigner, SignatureKind};

    fn keys(seed: u8) -> (String, String) {
        let signer = NoteSigner::new("fettle.test/log".parse().expect("a name"), SigningKey::from_seed(&[seed; 32]));
        let permit = SigningKey::from_seed(&[seed + 1; 32]).public();
        (signer.verifier(SignatureKind::Ed25519).to_string(), permit.to_string())
    }

    fn pins(log: u8, permit: u8) -> Pins {
        Pins::parse(&keys(log).0, &keys(permit).1).expect("they are keys")
    }

    fn wanted(log: Option<u8>, permit: Option<u8>) -> ControlPlaneSettings {
        ControlPlaneSettings {
            address: "127.0.0.1:1".parse().expect("an address"),
            enrol_address: "127.0.0.1:1".parse().expect("an address"),
            ca_pin: fettle_model::digest::DocumentDigest::of(b"root"),
            trust_domain: "fettle.test".parse().expect("a domain"),
            log_key: log.map(|seed| keys(seed).0.parse().expect("a key")),
            permit_key: permit.map(|seed| keys(seed).1.parse().expect("a key")),
            join_token_file: None,
        }
    }

    fn host(last: u8) -> HostId {
        format!("00000000-0000-4000-8000-0000000000{last:02x}").parse().expect("an id")
    }

    #[test]
    fn the_first_answer_is_pinned_and_no_later_one_changes_it() {
        let (own, anybody) = (pins(1, 1), wanted(None, None));
        let enrolled = (Some(host(1)), Some(&own));
        assert_eq!(answer((None, None), (host(1), &own), &anybody), Answer::Pin);
        assert_eq!(answer(enrolled, (host(1), &pins(1, 1)), &anybody), Answer::Known);
        let foreign = |at, log, permit| match answer(enrolled, (host(at), &pins(log, permit)), &anybody) {
            Answer::Foreign(because) => Some(because),
            Answer::Pin | Answer::Known | Answer::NotOwners(_) => None,
        };
        let key = |seed| PermitRejection::ForeignKey { key: SigningKey::from_seed(&[seed; 32]).public().key_id() };
        assert_eq!(foreign(2, 1, 1), Some(PermitRejection::OtherHost));
        // The permit key of the seed `n` is made from `n + 1`.
        assert_eq!(foreign(1, 9, 1), Some(key(9)));
        assert_eq!(foreign(1, 1, 9), Some(key(10)));
        assert_eq!(foreign(2, 9, 9), Some(key(10)));
    }

    #[test]
    fn an_answer_with_other_keys_than_the_owner_wrote_is_not_pinned() {
        let own = pins(1, 1);
        let check = |log, permit| answer((None, None), (host(1), &own), &wanted(log, permit));
        assert_eq!(check(Some(1), Some(1)), Answer::Pin);
        assert_eq!(check(Some(9), None), Answer::NotOwners("log-key"));
        assert_eq!(check(None, Some(9)), Answer::NotOwners("permit-key"));
    }
}
