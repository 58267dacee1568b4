//! What many hosts describe alike, kept once: the hosts of one kind carry the same services and bind the same things,
//! and a fleet has tens of thousands of them.
//!
//! Called by [`State`](super::state::State) when a description comes in.

use fettle_model::host::{Binding, CarriedService, HostDescription};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Lists, each with how many hosts have it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lists<T: Ord>(BTreeMap<Arc<[T]>, usize>);

impl<T: Ord> Default for Lists<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord> Lists<T> {
    fn take(&mut self, list: &mut Arc<[T]>) {
        if let Some((known, _)) = self.0.get_key_value(list) {
            *list = Arc::clone(known);
        }
        *self.0.entry(Arc::clone(list)).or_default() += 1;
    }

    fn give_back(&mut self, list: &Arc<[T]>) {
        if let Some(hosts) = self.0.get_mut(list) {
            *hosts -= 1;
            if *hosts == 0 {
                self.0.remove(list);
            }
        }
    }
}

/// The long lists of all hosts' newest descriptions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Descriptions {
    services: Lists<CarriedService>,
    bindings: Lists<Binding>,
}

impl Descriptions {
    /// The description that a host has from now on, in the place of the one before.
    pub(in crate::core) fn replace(
        &mut self,
        before: Option<&HostDescription>,
        description: &HostDescription,
    ) -> HostDescription {
        let mut shared = description.clone();
        self.services.take(&mut shared.services);
        self.bindings.take(&mut shared.bindings);
        if let Some(before) = before {
            self.services.give_back(&before.services);
            self.bindings.give_back(&before.bindings);
        }
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_are_one_and_a_list_that_nobody_has_is_forgotten() {
        let mut lists = Lists::default();
        let [mut first, mut second, mut other]: [Arc<[u8]>; 3] = [[1, 2].into(), [1, 2].into(), [3, 4].into()];
        for list in [&mut first, &mut second, &mut other] {
            lists.take(list);
        }
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(lists.0.len(), 2);
        lists.give_back(&first);
        assert_eq!(lists.0.len(), 2, "one host still has it");
        lists.give_back(&second);
        assert_eq!(lists.0.keys().collect::<Vec<_>>(), [&other]);
    }
}
