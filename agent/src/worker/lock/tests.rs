//! What the filters answer, call by call, and that a process behind them still computes.

use super::*;
use std::process::Command;

const OWN: u32 = 4_711;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

/// What the kernel is told to do with a call: the steps of a classic BPF program over its `seccomp_data`.
fn verdict(program: &BpfProgram, call: i64, arguments: [u64; 3]) -> u32 {
    let number = u32::try_from(call).expect("a number of a call");
    let mut data = vec![number, ARCHITECTURE, 0, 0];
    for argument in arguments {
        data.extend([argument & u64::from(u32::MAX), argument >> 32].map(|half| u32::try_from(half).expect("a half")));
    }
    let (mut at, mut value) = (0, 0);
    loop {
        let step = &program[at];
        at += 1;
        let jump = |taken| usize::from(if taken { step.jt } else { step.jf });
        match step.code {
            0x20 => value = data[usize::try_from(step.k / 4).expect("an offset")],
            0x54 => value &= step.k,
            0x05 => at += usize::try_from(step.k).expect("a step"),
            0x15 => at += jump(value == step.k),
            0x25 => at += jump(value > step.k),
            0x35 => at += jump(value >= step.k),
            0x06 => return step.k,
            code => unreachable!("the compiler makes no such step: {code:#x}"),
        }
    }
}

/// Refused with this error; `None` when it is allowed.
fn refusal(call: i64, arguments: [u64; 3]) -> Option<i32> {
    let [first, second] = filters(OWN).expect("they compile").map(|filter| verdict(&filter, call, arguments));
    // Of two refusals the kernel takes that of the filter that came last.
    let answer = if second == libc::SECCOMP_RET_ALLOW { first } else { second };
    (answer != libc::SECCOMP_RET_ALLOW).then(|| {
        assert_eq!(answer & libc::SECCOMP_RET_ACTION_FULL, libc::SECCOMP_RET_ERRNO);
        i32::try_from(answer & libc::SECCOMP_RET_DATA).expect("an error number")
    })
}

fn bits(flags: i32) -> u64 {
    u64::from(flags.unsigned_abs())
}

#[test]
fn a_locked_in_worker_starts_threads_and_no_process() {
    // As the C library starts a thread, a process, and a process that shares its memory until it executes.
    let thread = bits(
        libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SYSVSEM
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD
            | libc::CLONE_SETTLS
            | libc::CLONE_PARENT_SETTID
            | libc::CLONE_CHILD_CLEARTID,
    );
    assert_eq!(refusal(libc::SYS_clone, [thread, 1, 1]), None);
    let signal = bits(libc::SIGCHLD);
    let fork = bits(libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID) | signal;
    let spawn = bits(libc::CLONE_VM | libc::CLONE_VFORK) | signal;
    for process in [signal, fork, spawn, thread | bits(libc::CLONE_NEWNET)] {
        assert_eq!(refusal(libc::SYS_clone, [process, 0, 0]), Some(libc::EPERM), "{process:#x}");
    }
    assert_eq!(refusal(libc::SYS_clone3, [1, 88, 0]), Some(libc::ENOSYS), "its flags cannot be seen");
    #[cfg(target_arch = "x86_64")]
    for call in [libc::SYS_fork, libc::SYS_vfork] {
        assert_eq!(refusal(call, [0; 3]), Some(libc::EPERM));
    }
    assert_eq!(refusal(libc::SYS_execve, [1, 1, 1]), Some(libc::EPERM));
}

#[test]
fn a_locked_in_worker_reaches_no_other_process() {
    let (own, other) = (u64::from(OWN), u64::from(OWN + 1));
    assert_eq!(refusal(libc::SYS_tgkill, [own, other, 6]), None, "a thread of its own");
    assert_eq!(refusal(libc::SYS_tgkill, [other, other, 9]), Some(libc::EPERM));
    for itself in [0, own] {
        assert_eq!(refusal(libc::SYS_prlimit64, [itself, 3, 0]), None, "it looks");
        assert_eq!(refusal(libc::SYS_prlimit64, [itself, 3, 1]), Some(libc::EPERM), "it sets");
    }
    assert_eq!(refusal(libc::SYS_prlimit64, [other, 3, 0]), Some(libc::EPERM));
    assert_eq!(refusal(libc::SYS_kill, [own, 9, 0]), Some(libc::EPERM));
}

#[test]
fn a_locked_in_worker_names_its_threads_and_does_nothing_else_by_prctl() {
    let operation = |operation: i32| u64::from(operation.unsigned_abs());
    assert_eq!(refusal(libc::SYS_prctl, [operation(libc::PR_SET_NAME), 1, 0]), None);
    for other in [
        libc::PR_SET_PDEATHSIG,
        libc::PR_SET_DUMPABLE,
        libc::PR_SET_PTRACER,
        libc::PR_SET_SECCOMP,
        libc::PR_CAPBSET_DROP,
        libc::PR_SET_KEEPCAPS,
        libc::PR_SET_MM,
        libc::PR_SET_NO_NEW_PRIVS,
    ] {
        assert_eq!(refusal(libc::SYS_prctl, [operation(other), 0, 0]), Some(libc::EPERM), "{other}");
    }
}

/// Set in the copy of this test that locks itself in.
const LOCKED_IN: &str = "FETTLE_TEST_LOCKED_IN";

#[test]
fn threads_start_and_end_behind_the_lock() {
    if std::env::var_os(LOCKED_IN).is_some() {
        lock_in().expect("locked in");
        let threads: Vec<_> = (1..=3).map(|number| std::thread::spawn(move || number * number)).collect();
        let squares: Vec<i32> = threads.into_iter().map(|thread| thread.join().expect("it ends")).collect();
        assert_eq!(squares, [1, 4, 9]);
        rustix::thread::set_name(c"by-hand").expect("a thread may be named");
        let forgets = rustix::process::set_parent_process_death_signal(None);
        assert_eq!(forgets, Err(rustix::io::Errno::PERM), "it dies with its parent");
        assert!(Command::new("/bin/true").status().is_err(), "no other program");
        return;
    }
    let own = std::env::current_exe().expect("this program");
    let copy = Command::new(own)
        .args(["--exact", "worker::lock::tests::threads_start_and_end_behind_the_lock", "--nocapture"])
        .env(LOCKED_IN, "1")
        .output()
        .expect("it starts");
    assert!(copy.status.success(), "{copy:?}");
    assert!(String::from_utf8_lossy(&copy.stdout).contains("1 passed"), "{copy:?}");
}
