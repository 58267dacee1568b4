//! Counts a run's memory over all its memories and tables; the engine's own limits are per memory.

use super::guest::halt;
use crate::execution::{Limits, Stop};
use wasmtime::{ResourceLimiter, Result};

/// Core instances of one component. A Rust guest has three: itself, and two of indirect calls.
const MAX_INSTANCES: usize = 8;
/// Memories of one component: one per core instance at most.
const MAX_MEMORIES: usize = 8;
/// Tables of one component: a Rust guest has two.
const MAX_TABLES: usize = 8;

/// What is left of memory and tables.
pub(super) struct Meter {
    memory_bytes_left: u64,
    table_elements_left: u64,
}

impl Meter {
    pub(super) const fn new(limits: &Limits) -> Self {
        Self { memory_bytes_left: limits.memory_bytes, table_elements_left: limits.table_elements }
    }
}

/// Takes a growth from what is left. What exceeds the thing's own maximum is refused without being
/// taken, as the engine will not grow it.
fn take(
    left: &mut u64,
    current: usize,
    desired: usize,
    maximum: Option<usize>,
    stop: impl FnOnce() -> Stop,
) -> Result<bool> {
    if maximum.is_some_and(|maximum| desired > maximum) {
        return Ok(false);
    }
    let grown = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX);
    *left = left.checked_sub(grown).ok_or_else(|| halt(stop()))?;
    Ok(true)
}

// Growth beyond the limit ends the run at once: a guest that saw its allocation fail would trap
// anyway, and the reader of the run would not learn why.
impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        take(&mut self.memory_bytes_left, current, desired, maximum, || Stop::MemoryLimit)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        take(&mut self.table_elements_left, current, desired, maximum, || Stop::TableLimit)
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }
}
