//! How a worker locks itself in before it touches anything from outside.
//!
//! In this order: it dies with its parent, can gain no privileges, has hard limits on memory, time and
//! files, loses the file system (Landlock) and every system call that its work does not need (seccomp).
//! What a kernel does not offer is named to the effector, which tells it to people; what it offers and
//! refuses ends the worker.

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::collections::BTreeMap;

/// Why the lock could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A limit or a flag of the process was refused.
    #[error("{what} was refused")]
    Process {
        /// What.
        what: &'static str,
        /// By the kernel, because.
        #[source]
        source: rustix::io::Errno,
    },
    /// The seccomp filter was refused.
    #[error("the filter of system calls was refused")]
    Seccomp(#[source] seccompiler::Error),
    /// The filter could not be built for this processor.
    #[error("the filter of system calls could not be built")]
    Filter(#[source] seccompiler::BackendError),
}

/// Private memory of the process: 64 MiB for the component, its stacks, and the compiler, whose peak
/// was 37 MiB for a Rust guest and 520 MiB for the largest that was ever measured.
const DATA_BYTES: u64 = 768 * 1024 * 1024;
/// Processor seconds: a hundred times what compiling a Rust guest takes, and a run computes far less.
const CPU_SECONDS: u64 = 60;
/// Open files: three standard ones, the pipe, and what the engine had open before.
const OPEN_FILES: u64 = 32;

/// Locks this process in. Gives what this kernel does not offer.
///
/// # Errors
/// When the kernel offers something and refuses it.
pub fn lock_in() -> Result<Vec<String>, LockError> {
    let process = |what| move |source| LockError::Process { what, source };
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(process("dying with the parent"))?;
    rustix::thread::set_no_new_privs(true).map_err(process("giving up new privileges"))?;
    for (resource, limit, what) in [
        (Resource::Data, DATA_BYTES, "a limit on memory"),
        (Resource::Cpu, CPU_SECONDS, "a limit on processor time"),
        (Resource::Nofile, OPEN_FILES, "a limit on open files"),
        (Resource::Fsize, 0, "a limit on file sizes"),
        (Resource::Core, 0, "a limit on core dumps"),
    ] {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) }).map_err(process(what))?;
    }
    let mut missing = Vec::new();
    if let Some(lacking) = give_up_files() {
        missing.push(lacking);
    }
    let filter = filter()?;
    seccompiler::apply_filter_all_threads(&filter).map_err(LockError::Seccomp)?;
    Ok(missing)
}

/// Gives up every access to files and to TCP. Says what the kernel lacks.
fn give_up_files() -> Option<String> {
    use landlock::{ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, RulesetStatus};
    let restricted = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(ABI::V5)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self);
    match restricted {
        Ok(status) if status.ruleset == RulesetStatus::FullyEnforced => None,
        Ok(_) => Some("this kernel's Landlock lacks some restrictions of files and network".to_owned()),
        Err(error) => Some(format!("Landlock is not available: {error}")),
    }
}

/// What computing, threads, memory and the pipe need; everything else is answered with EPERM. There
/// is no opening of files, no socket, no exec, no new process, no tracing, no mount.
#[rustfmt::skip]
const ALLOWED: &[i64] = &[
    // The pipe.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_recvfrom, libc::SYS_sendto,
    libc::SYS_recvmsg, libc::SYS_sendmsg, libc::SYS_close, libc::SYS_ppoll, libc::SYS_fstat, libc::SYS_lseek,
    libc::SYS_fcntl,
    // Memory.
    libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mprotect, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_brk,
    libc::SYS_membarrier,
    // Threads and signals: the engine catches traps by signals and interrupts by a thread.
    libc::SYS_futex, libc::SYS_clone, libc::SYS_clone3, libc::SYS_set_robust_list, libc::SYS_rseq,
    libc::SYS_sigaltstack, libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn,
    libc::SYS_gettid, libc::SYS_getpid, libc::SYS_tgkill, libc::SYS_sched_yield, libc::SYS_sched_getaffinity,
    libc::SYS_exit, libc::SYS_exit_group, libc::SYS_restart_syscall, libc::SYS_prctl,
    // Time and randomness for hash tables.
    libc::SYS_clock_gettime, libc::SYS_clock_nanosleep, libc::SYS_nanosleep, libc::SYS_getrandom,
    // What a limit of this process is.
    libc::SYS_prlimit64,
];

/// System calls that exist on x86-64 only.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[i64] = &[libc::SYS_poll, libc::SYS_arch_prctl];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[i64] = &[];

fn filter() -> Result<BpfProgram, LockError> {
    let rules: BTreeMap<i64, Vec<seccompiler::SeccompRule>> =
        ALLOWED.iter().chain(ALLOWED_HERE).map(|call| (*call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let architecture = std::env::consts::ARCH.try_into().map_err(LockError::Filter)?;
    SeccompFilter::new(rules, refuse, SeccompAction::Allow, architecture)
        .and_then(TryInto::try_into)
        .map_err(LockError::Filter)
}
