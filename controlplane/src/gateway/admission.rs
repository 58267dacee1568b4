//! Admission of a call: whose certificate it shows, whether that is live, and whether Cedar lets its host.
//!
//! Asked for every call, because TLS looks at a certificate only once, at the handshake. The connection that
//! shows a replaced certificate belongs to a copy of the host's disk, or to the host after it was copied:
//! both are quarantined.

use super::{Shared, gone, internal};
use crate::authority::AgentAction;
use crate::core::{Authorisation, Command, DeadCertificate};
use crate::server::Peer;
use fettle_certs::peer::PeerIdentity;
use fettle_model::counter::CertificateGeneration;
use fettle_model::host::HostState;
use fettle_model::id::HostId;
use fettle_model::identity::Principal;
use tonic::Status;

/// An agent that may call.
#[derive(Debug, Clone)]
pub(super) struct Admitted {
    /// Its host.
    pub(super) host: HostId,
    /// The count of the certificate that it shows.
    pub(super) presented: CertificateGeneration,
    /// The count of its newest.
    pub(super) newest: CertificateGeneration,
    /// Its record key, base64.
    pub(super) record_key: String,
}

/// What the log knows of a host that calls.
struct Known {
    state: HostState,
    record_key: String,
    newest: CertificateGeneration,
    newest_serial: String,
    presented: Option<CertificateGeneration>,
}

impl Shared {
    /// Admits an agent's call.
    pub(super) async fn admit(&self, peer: &Peer, action: AgentAction) -> Result<Admitted, Status> {
        let (host, identity) = agent(peer)?;
        identity.validity.check(self.wall()).map_err(|error| Status::unauthenticated(error.to_string()))?;
        let serial = identity.serial.to_string();
        let shown = serial.clone();
        let known = self.leader.inspect(move |view| {
            view.core.state().host(host).map(|known| Known {
                state: known.state,
                record_key: known.record_key.clone(),
                newest: known.certificates.newest,
                newest_serial: known.certificates.newest_serial().to_owned(),
                presented: known.certificates.generation(&shown),
            })
        });
        let known = known.await.map_err(gone)?;
        let known = known.ok_or_else(|| Status::permission_denied("this host is not enrolled here"))?;
        match self.policies.agent(host, known.state, action) {
            Authorisation::Allowed => {}
            Authorisation::Denied { policies } => {
                tracing::info!(%host, action = ?action, policies = policies.join(", "), "an agent's call was denied");
                return Err(Status::permission_denied("this host's identity is withdrawn"));
            }
        }
        let Some(presented) = self.live(host, &serial, &known).await? else {
            return Err(self.dead(host, serial, action).await);
        };
        Ok(Admitted { host, presented, newest: known.newest, record_key: known.record_key })
    }

    /// The count of a certificate, while it is live.
    async fn live(&self, host: HostId, serial: &str, known: &Known) -> Result<Option<CertificateGeneration>, Status> {
        let Some(presented) = known.presented else { return Ok(None) };
        let seen = self.vault.seen(host).await.map_err(internal)?;
        let newest_seen = seen.as_deref() == Some(known.newest_serial.as_str());
        if presented == known.newest {
            if !newest_seen {
                // From here on the one before is dead.
                self.vault.see(host, serial.to_owned()).await.map_err(internal)?;
            }
            return Ok(Some(presented));
        }
        Ok((!newest_seen).then_some(presented))
    }

    async fn dead(&self, host: HostId, serial: String, action: AgentAction) -> Status {
        match action {
            AgentAction::OpenSession | AgentAction::RotateCertificate => {
                tracing::warn!(%host, serial, "a replaced certificate was presented; the host is quarantined");
                let dead = Command::DeadCertificate(DeadCertificate { host, serial });
                if let Err(error) = self.leader.command(dead).await {
                    return gone(error);
                }
            }
            // A fetch of the last session may still be on its way when the next one has begun.
            AgentAction::FetchPlaybook => {}
        }
        Status::unauthenticated("this certificate was replaced by a newer one")
    }
}

fn agent(peer: &Peer) -> Result<(HostId, &PeerIdentity), Status> {
    let identity = peer.identity.as_ref().ok_or_else(|| Status::unauthenticated("a certificate is needed"))?;
    match identity.id.principal {
        Principal::Agent(host) => Ok((host, identity)),
        Principal::ControlPlane(_) | Principal::Person(_) => Err(Status::permission_denied("this port is for agents")),
    }
}
