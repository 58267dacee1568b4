//! The gateway: everything that agents say and are told.
//!
//! | module | holds |
//! |---|---|
//! | `enrolment` | the enrolment port: a join token becomes an identity |
//! | `pace` | how many enrolments, or logins, of one address may fail |
//! | `allowance` | how much one host may add to the log |
//! | `admission` | whose certificate it is, whether it is live, and whether Cedar lets it |
//! | `agents` | the agents' service: sessions, packages, rotation |
//! | `session` | one agent's stream |
//! | [`switchboard`] | which agent has a session, and who is told what is new |
//!
//! Decides nothing: the leader does. Signatures, certificates and bounds are checked here, before.

mod admission;
mod agents;
mod allowance;
mod enrolment;
pub(crate) mod hearing;
pub(crate) mod holding;
mod pace;
mod session;
pub mod switchboard;

pub use agents::AgentsService;
pub use enrolment::EnrolmentService;
pub(crate) use pace::Pace;

use crate::authority::Authority as Policies;
use crate::core::NewCertificate;
use crate::leader::{Clocks, Gone, Leader, View};
use crate::mint::{self, NoRandomness};
use crate::operators::LoginProvider;
use crate::packages::Packages;
use crate::vault::Vault;
use fettle_audit::published::PublishedError;
use fettle_certs::authority::{Authority, IssueProblem, IssuedCertificate, Life, Subject, Template};
use fettle_certs::csr::ProvenKey;
use fettle_model::counter::LogPosition;
use fettle_model::time::UnixMillis;
use std::sync::Arc;
use switchboard::Switchboard;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// What every service of the rim holds.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The leader's address.
    pub leader: Leader,
    /// The vault's.
    pub vault: Vault,
    /// The certificate authority.
    pub authority: Arc<Authority>,
    /// Cedar.
    pub policies: Arc<Policies>,
    /// Packages.
    pub packages: Packages,
    /// Who is connected.
    pub switchboard: Switchboard,
    /// Who identifies people, where one is configured.
    pub provider: Option<Arc<LoginProvider>>,
    /// The clocks.
    pub clocks: Clocks,
    /// What others are told about where it listens.
    pub addresses: Arc<Addresses>,
    /// Set when the server stops.
    pub stop: CancellationToken,
}

/// Where agents and people find the ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// For agents with an identity.
    pub agents: String,
    /// For agents that have none yet.
    pub enrol: String,
    /// For people.
    pub operators: String,
}

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub enum CertifyError {
    /// No serial number.
    #[error("no serial number could be drawn")]
    Random(#[source] NoRandomness),
    /// The authority.
    #[error("the authority issued nothing")]
    Issue(#[source] IssueProblem),
}

impl Shared {
    /// The wall clock.
    #[must_use]
    pub fn wall(&self) -> UnixMillis {
        self.clocks.now().wall
    }

    /// Issues a certificate from the server's template, for a day.
    ///
    /// # Errors
    /// [`CertifyError`].
    pub fn certify(&self, key: &ProvenKey, subject: Subject) -> Result<IssuedCertificate, CertifyError> {
        self.certify_for(key, subject, Life::DAY)
    }

    /// Issues a certificate from the server's template, for so long.
    ///
    /// # Errors
    /// [`CertifyError`].
    pub fn certify_for(
        &self,
        key: &ProvenKey,
        subject: Subject,
        life: Life,
    ) -> Result<IssuedCertificate, CertifyError> {
        let serial = mint::serial().map_err(CertifyError::Random)?;
        let template = Template { subject, life };
        self.authority.issue(key, &template, self.wall(), serial).map_err(CertifyError::Issue)
    }
}

/// A certificate as its record names it.
pub(crate) fn as_new(issued: &IssuedCertificate) -> NewCertificate {
    NewCertificate { serial: issued.holder.serial.to_string(), not_after: issued.holder.validity.not_after }
}

/// Why a record could not be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShowError {
    #[error("the record could not be shown")]
    Show(#[source] crate::leader::ShowError),
    #[error("the record could not be written as JSON")]
    Json(#[source] PublishedError),
}

/// A record with its proof, as it travels.
pub(crate) fn shown(view: &View<'_>, position: LogPosition) -> Result<Vec<u8>, ShowError> {
    view.published(position).map_err(ShowError::Show)?.to_json().map_err(ShowError::Json)
}

/// A fault of ours, for a caller: the details stay here.
pub(crate) fn internal(error: impl Into<anyhow::Error>) -> Status {
    let error = error.into();
    tracing::error!(error = format!("{error:#}"), "a call failed by a fault of ours");
    Status::internal("the control plane failed; its log says why")
}

/// The leader has ended: the caller tries again when there is another.
pub(crate) fn gone(_: Gone) -> Status {
    Status::unavailable("the control plane is stopping")
}
