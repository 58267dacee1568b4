//! Who may try to log in: so many at once, and nobody whose address failed too often.

use crate::core::Monotonic;
use crate::gateway::Pace;
use crate::operators::problem::unavailable;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Semaphore;
use tonic::Status;

/// Logins that are worked on at once. Each verifies one signature, or waits for the provider like the others.
const MAX_LOGINS: usize = 16;

/// The bounds of logins.
#[derive(Debug)]
pub(super) struct Door {
    turns: Semaphore,
    /// Its lock is held for a look-up, never across a wait.
    pace: Mutex<Pace>,
}

impl Default for Door {
    fn default() -> Self {
        Self { turns: Semaphore::new(MAX_LOGINS), pace: Mutex::default() }
    }
}

impl Door {
    /// Does something for an address that has not failed too often.
    pub(super) async fn paced<T>(
        &self,
        now: Monotonic,
        address: IpAddr,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let pace = || self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace()
            .may_try(address, now)
            .map_err(|error| unavailable(error.to_string(), "wait a minute, and log in again"))?;
        let turn = self.turns.try_acquire();
        let _turn = turn.map_err(|_| unavailable("too many people log in at once", "log in again in a few seconds"))?;
        work.await.inspect_err(|refused| {
            pace().failed(address, now);
            tracing::warn!(%address, why = refused.message(), "a login was refused");
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};
    use tokio::sync::oneshot;
    use tonic::Code;

    /// The address of one of many people.
    fn address(person: usize) -> IpAddr {
        IpAddr::from([10, 0, 0, u8::try_from(person).expect("few")])
    }

    type Login<'a> = Pin<Box<dyn Future<Output = Result<(), Status>> + 'a>>;

    fn poll(login: &mut Login<'_>) -> Poll<Result<(), Status>> {
        login.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn sixteen_log_in_at_once_and_the_next_when_one_of_them_is_through() {
        let (door, now) = (Door::default(), Monotonic::default());
        let waits = |person| -> (oneshot::Sender<()>, Login<'_>) {
            let (provider, answer) = oneshot::channel();
            let work = async { answer.await.map_err(|_| Status::internal("the provider is gone")) };
            (provider, Box::pin(door.paced(now, address(person), work)))
        };
        let (mut provider, mut logins): (Vec<_>, Vec<_>) = (0..16).map(waits).unzip();
        assert!(logins.iter_mut().all(|login| poll(login).is_pending()), "all wait for the provider");
        let next = || -> Login<'_> { Box::pin(door.paced(now, address(16), async { Ok(()) })) };
        let Poll::Ready(Err(refused)) = poll(&mut next()) else { unreachable!("a seventeenth is let in") };
        assert_eq!(refused.code(), Code::Unavailable);
        provider.remove(0).send(()).expect("it is awaited");
        assert!(matches!(poll(&mut logins[0]), Poll::Ready(Ok(()))));
        assert!(matches!(poll(&mut next()), Poll::Ready(Ok(()))), "there is room again");
    }
}
