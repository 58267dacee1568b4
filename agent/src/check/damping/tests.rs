//! Damping against its definition: every probe is kept and the rule is read off the history.

use super::*;
use fettle_model::check::{HostValue, Probe};
use proptest::prelude::*;
use std::time::Duration;

fn definition(fail_after: u32, recover_after: u32) -> Check {
    Check {
        name: "answers".parse().expect("a name"),
        probe: Probe::Tcp { address: HostValue("127.0.0.1:1".to_owned()) },
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        fail_after,
        recover_after,
    }
}

fn status(letter: char) -> Status {
    match letter {
        'p' => Status::Passing,
        'w' => Status::Warning,
        'c' => Status::Critical,
        'u' => Status::Unknown,
        other => unreachable!("{other} is no status"),
    }
}

/// Probes as letters; the damped status after each as a letter, `-` for none.
#[track_caller]
fn check(last: Option<char>, fail_after: u32, recover_after: u32, probes: &str, expected: &str) {
    let mut damping = Damping::start(&definition(fail_after, recover_after), last.map(status));
    let mut seen = String::new();
    for probe in probes.chars() {
        let before = damping.current();
        let shift = damping.feed(status(probe));
        assert_eq!(shift.is_some(), before != damping.current(), "a shift is told exactly when there is one");
        if let Some(shift) = shift {
            assert_eq!((shift.from, Some(shift.to)), (before, damping.current()));
        }
        seen.push(damping.current().and_then(|status| status.as_str().chars().next()).unwrap_or('-'));
    }
    assert_eq!(seen, expected, "{probes} from {last:?} with {fail_after} and {recover_after}");
}

#[test]
fn a_status_changes_after_its_number_of_consecutive_probes() {
    check(Some('p'), 3, 2, "cccpp", "ppccp");
    check(Some('p'), 3, 2, "ccpccpccc", "ppppppppc");
    check(Some('p'), 1, 1, "cp", "cp");
}

#[test]
fn a_check_that_does_not_pass_needs_as_many_good_probes_as_it_takes_to_recover() {
    for (last, needed) in [(None, 1), (Some('p'), 1), (Some('w'), 3), (Some('c'), 3), (Some('u'), 3)] {
        let damping = Damping::start(&definition(5, 3), last.map(status));
        assert_eq!(damping.good_probes(), needed, "{last:?}");
    }
}

#[test]
fn a_mixed_run_counts_only_as_far_as_all_of_it_agrees() {
    check(Some('p'), 3, 2, "wwccc", "ppwwc");
    check(Some('p'), 3, 2, "cwcwcw", "ppwwww");
    check(Some('c'), 2, 3, "wpwpp", "ccwww");
    check(Some('c'), 2, 3, "wppp", "ccwp");
}

#[test]
fn a_probe_that_cannot_tell_never_makes_a_check_critical_and_breaks_a_run() {
    check(Some('p'), 3, 2, "ccuccuccc", "ppppppppc");
    check(Some('p'), 2, 2, "uuuu", "puuu");
    check(Some('c'), 2, 2, "pupp", "cccp");
    check(Some('c'), 2, 2, "uupp", "cuup");
}

#[test]
fn a_check_that_was_never_seen_takes_its_first_status_after_damping() {
    check(None, 3, 2, "pp", "-p");
    check(None, 3, 2, "ccc", "--c");
    check(None, 2, 1, "uu", "-u");
    check(None, 3, 3, "pcpcpc", "--wwww");
}

#[test]
fn a_restart_neither_forgets_a_fault_nor_tells_it_twice() {
    check(Some('c'), 1, 2, "cccc", "cccc");
    check(Some('c'), 1, 2, "pcpp", "cccp");
}

#[test]
fn a_redefined_check_keeps_its_status_and_counts_anew() {
    let mut damping = Damping::start(&definition(2, 2), Some(Status::Passing));
    assert_eq!(damping.feed(Status::Critical), None);
    damping.redefine(&definition(3, 1));
    assert_eq!(damping.current(), Some(Status::Passing));
    assert_eq!(damping.feed(Status::Critical), None);
    assert_eq!(damping.feed(Status::Critical), None);
    let shift = Shift { from: Some(Status::Passing), to: Status::Critical };
    assert_eq!(damping.feed(Status::Critical), Some(shift));
}

#[test]
fn a_threshold_of_zero_counts_as_one() {
    check(Some('p'), 0, 0, "cp", "cp");
}

/// The rule over the whole history.
fn by_definition(
    history: &[Status],
    current: Option<Status>,
    fail_after: usize,
    recover_after: usize,
) -> Option<Status> {
    let last = |count: usize, holds: &dyn Fn(Status) -> bool| {
        history.len() >= count && history.iter().rev().take(count).all(|status| holds(*status))
    };
    let at_least = |floor: Status| last(fail_after, &|s| s != Status::Unknown && s >= floor);
    let at_most = |roof: Status| last(recover_after, &|s| s <= roof);
    if last(fail_after, &|s| s == Status::Unknown) {
        return Some(Status::Unknown);
    }
    let settled = |s: Status| s != Status::Unknown && Some(s) != current;
    let candidates = match current {
        Some(Status::Passing | Status::Warning | Status::Critical) => {
            let worse = [Status::Critical, Status::Warning].into_iter().find(|s| Some(*s) > current && at_least(*s));
            let better = [Status::Passing, Status::Warning].into_iter().find(|s| Some(*s) < current && at_most(*s));
            worse.or(better)
        }
        Some(Status::Unknown) | None => {
            if at_least(Status::Critical) {
                Some(Status::Critical)
            } else if at_most(Status::Passing) {
                Some(Status::Passing)
            } else if at_least(Status::Warning) || last(fail_after.max(recover_after), &|s| s != Status::Unknown) {
                Some(Status::Warning)
            } else {
                None
            }
        }
    };
    candidates.filter(|s| settled(*s)).or(current)
}

proptest! {
    #[test]
    fn damping_follows_its_definition(
        probes in prop::collection::vec(prop::sample::select(vec!['p', 'w', 'c', 'u', 'c', 'p']), 0..60),
        last in prop::sample::select(vec![None, Some('p'), Some('w'), Some('c'), Some('u')]),
        fail_after in 1_u32..5,
        recover_after in 1_u32..5,
    ) {
        let mut damping = Damping::start(&definition(fail_after, recover_after), last.map(status));
        let mut current = last.map(status);
        let mut history = Vec::new();
        for probe in probes {
            history.push(status(probe));
            let expected = by_definition(&history, current, fail_after as usize, recover_after as usize);
            let shift = damping.feed(status(probe));
            prop_assert_eq!(damping.current(), expected, "after {:?}", history);
            prop_assert_eq!(shift.map(|s| (s.from, Some(s.to))), (current != expected).then_some((current, expected)));
            current = expected;
        }
    }
}

/// What a probe says of a service that stands still for `stopped` and runs for `running`, in turns from 0 on, when it asks at
/// `at` and waits for `timeout`. All in milliseconds.
fn in_turns(at: u64, stopped: u64, running: u64, timeout: u64) -> Status {
    let within = at % (stopped + running);
    if within + timeout >= stopped { Status::Passing } else { Status::Critical }
}

proptest! {
    /// The rule of `deploy/systemd/agent.toml.example` for `slow-responses`: longer than `fail_after` intervals and a timeout
    /// stopped, and running with a timeout for less than `recover_after` - 1 intervals.
    #[test]
    fn turns_that_fit_a_check_turn_it_critical_in_the_first_one_and_never_let_it_pass(
        interval in 100_u64..2_000,
        timeout_share in 1_u64..100,
        running_share in 1_u64..100,
        fail_after in 1_u32..5,
        recover_after in 2_u32..5,
        phase_share in 0_u64..100,
        more in 1_u64..5_000,
    ) {
        let timeout = interval * timeout_share / 100;
        let room = u64::from(recover_after - 1) * interval - timeout;
        let running = (room * running_share / 100).max(1).min(room - 1);
        let stopped = u64::from(fail_after) * interval + timeout + more;
        let mut damping = Damping::start(&definition(fail_after, recover_after), Some(Status::Passing));
        for ask in 0..2_000 {
            let at = interval * phase_share / 100 + ask * interval;
            damping.feed(in_turns(at, stopped, running, timeout));
            let expected = if ask + 1 < u64::from(fail_after) { Status::Passing } else { Status::Critical };
            prop_assert_eq!(damping.current(), Some(expected), "ask {} at {}", ask, at);
        }
    }
}
