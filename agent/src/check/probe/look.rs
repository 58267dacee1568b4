//! Looks at the file system without holding the daemon up.
//!
//! A dead network file system blocks `stat` for minutes, and the daemon has one thread. Probes that take a
//! path from the configuration therefore look on a thread of their own, which ends with its look.

use std::sync::Arc;
use tokio::sync::{Semaphore, oneshot};

/// Most looks of one check that have not come back. One for the schedule, one for a probe that the
/// effector ordered, and two that may hang; with 64 KiB of stack each a check holds at most 256 KiB.
const MAX_LOOKS: usize = 4;

/// A look needs a few system calls and no recursion.
const LOOK_STACK_BYTES: usize = 64 * 1024;

/// The looks of one check, shared by all its probers.
#[derive(Debug, Clone)]
pub(in crate::check) struct Looks(Arc<Semaphore>);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoLook {
    /// Earlier ones hang.
    #[error("{MAX_LOOKS} earlier looks at the file system have not come back")]
    Stuck,
    /// No thread.
    #[error("no thread could be started")]
    NoThread(#[source] std::io::Error),
    /// The thread ended without an answer.
    #[error("the look ended without an answer")]
    Died,
}

impl Looks {
    pub(in crate::check) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_LOOKS)))
    }

    /// Runs `look` on a thread of its own. When the caller gives up, the thread goes on and its answer is
    /// dropped.
    pub(super) async fn take<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> Result<T, NoLook> {
        let permit = Arc::clone(&self.0).try_acquire_owned().map_err(|_| NoLook::Stuck)?;
        let (answer, answered) = oneshot::channel();
        std::thread::Builder::new()
            .name("look".to_owned())
            .stack_size(LOOK_STACK_BYTES)
            .spawn(move || {
                let seen = look();
                drop(permit);
                // The probe may have timed out; then nobody wants the answer.
                drop(answer.send(seen));
            })
            .map_err(NoLook::NoThread)?;
        answered.await.map_err(|_| NoLook::Died)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[tokio::test]
    async fn looks_that_hang_are_bounded_and_free_their_place_when_they_return() {
        let looks = Looks::new();
        let (let_go, held) = mpsc::sync_channel::<()>(0);
        let held = Arc::new(std::sync::Mutex::new(held));
        for _ in 0..MAX_LOOKS {
            let held = Arc::clone(&held);
            let hanging = looks.take(move || held.lock().expect("nobody panics").recv().is_ok());
            assert!(tokio::time::timeout(Duration::from_millis(1), hanging).await.is_err(), "it hangs");
        }
        assert!(matches!(looks.take(|| ()).await, Err(NoLook::Stuck)));
        drop(let_go);
        let all = u32::try_from(MAX_LOOKS).expect("small");
        let free = tokio::time::timeout(Duration::from_secs(10), looks.0.acquire_many(all)).await;
        drop(free.expect("they return").expect("never closed"));
        assert_eq!(looks.take(|| 7).await.expect("a look"), 7);
    }
}
