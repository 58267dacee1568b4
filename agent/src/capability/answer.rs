//! Answers a playbook's observing calls from the host.
//!
//! Called by the effector when the journal has no answer. Nothing here changes anything.

use super::open::{Handle, OpenTargets};
use super::service::ServiceHandle;
use fettle_model::name::Label;
use fettle_sandbox::call::{
    Activity, Call, FactsCall, FlagCall, HealthCall, OpenError, ReadError, ReleaseCall, ReleaseInfo, Reply, ServiceCall,
};
use std::time::Duration;

impl OpenTargets {
    /// Looks at the host for a call; `within` is the longest that it may wait, whatever the call
    /// asks for. `None` for the calls that the effector answers itself (clock, log, probes of
    /// health) and for those that change something ([`OpenTargets::perform`]).
    pub async fn answer(&self, call: &Call, within: Duration) -> Option<Reply> {
        match call {
            Call::Clock(_) | Call::Log(_) => None,
            Call::Facts(FactsCall::Get { key }) => Some(Reply::Fact(self.fact(key))),
            Call::Service { label, op } => self.answer_service(label, op, within).await,
            Call::Release { label, op } => self.answer_release(label, op, within).await,
            Call::Flag { label, op: FlagCall::Open } => {
                Some(self.opened(label, |handle| matches!(handle, Handle::Flag(_))))
            }
            Call::Flag { label, op: FlagCall::Read } => Some(Reply::Flag(match self.handles.get(label) {
                Some(Handle::Flag(flag)) => flag.setting(),
                Some(_) | None => Err(ReadError::NotFound),
            })),
            Call::Flag { op: FlagCall::Set { .. }, .. } => None,
            Call::Health { label, op: HealthCall::Open } => {
                Some(self.opened(label, |handle| matches!(handle, Handle::Health)))
            }
            Call::Health { op: HealthCall::Probe | HealthCall::WaitHealthy { .. }, .. } => None,
        }
    }

    fn opened(&self, label: &Label, is_of_kind: impl Fn(&Handle) -> bool) -> Reply {
        Reply::Opened(match self.handles.get(label) {
            Some(handle) if is_of_kind(handle) => Ok(()),
            Some(_) => Err(OpenError::Undeclared),
            None => Err(OpenError::Unbound),
        })
    }

    fn fact(&self, key: &str) -> Result<fettle_sandbox::call::Fact, ReadError> {
        if !self.handles.values().any(|handle| matches!(handle, Handle::Facts)) {
            return Err(ReadError::Unavailable("the run has no grant for facts".to_owned()));
        }
        self.facts.get(key).ok_or(ReadError::NotFound)
    }

    async fn answer_service(&self, label: &Label, op: &ServiceCall, within: Duration) -> Option<Reply> {
        let service = match self.handles.get(label) {
            Some(Handle::Service(service)) => Ok(service),
            Some(_) | None => Err(ReadError::NotFound),
        };
        match op {
            ServiceCall::Open => Some(self.opened(label, |handle| matches!(handle, Handle::Service(_)))),
            ServiceCall::Status => Some(Reply::Service(match service {
                Ok(service) => service.observe().await.map(|observed| observed.status),
                Err(error) => Err(error),
            })),
            ServiceCall::Tail { lines } => Some(Reply::Lines(match service {
                Ok(service) => service.tail(*lines).await,
                Err(error) => Err(error),
            })),
            ServiceCall::WaitFor { activity, timeout_ms } => Some(Reply::Service(match service {
                Ok(service) => service.wait_for(*activity, bounded(*timeout_ms, within)).await,
                Err(error) => Err(error),
            })),
            ServiceCall::Change { .. } => None,
        }
    }

    async fn answer_release(&self, label: &Label, op: &ReleaseCall, within: Duration) -> Option<Reply> {
        let handle = match self.handles.get(label) {
            Some(Handle::Release { releases, service }) => Ok((releases, service.as_ref())),
            Some(_) | None => Err(ReadError::NotFound),
        };
        match op {
            ReleaseCall::Open => Some(self.opened(label, |handle| matches!(handle, Handle::Release { .. }))),
            ReleaseCall::Current => Some(Reply::CurrentRelease(handle.and_then(|(releases, _)| releases.current()))),
            ReleaseCall::History => Some(Reply::Releases(handle.and_then(|(releases, _)| releases.history()))),
            ReleaseCall::Activate { .. } => None,
            ReleaseCall::WaitSettled { timeout_ms } => Some(Reply::Settled(match handle {
                Ok((releases, service)) => {
                    let served = serves(service, bounded(*timeout_ms, within)).await;
                    served.and_then(|()| -> Result<ReleaseInfo, ReadError> { releases.settled() })
                }
                Err(error) => Err(error),
            })),
        }
    }
}

async fn serves(service: Option<&ServiceHandle>, within: Duration) -> Result<(), ReadError> {
    match service {
        Some(service) => service.wait_for(Activity::Active, within).await.map(|_| ()),
        None => Ok(()),
    }
}

fn bounded(asked_ms: u32, within: Duration) -> Duration {
    Duration::from_millis(u64::from(asked_ms)).min(within)
}
