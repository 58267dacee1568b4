//! How a worker locks itself in before it touches anything from outside.
//!
//! In this order: it dies with its parent, can gain no privileges, has hard limits on memory, time and
//! files, loses the file system (Landlock) and every system call that its work does not need (seccomp).
//! What a kernel does not offer is named to the effector, which tells it to people; what it offers and
//! refuses ends the worker.

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
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
    Filter(#[source] BackendError),
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
    for filter in filters(std::process::id()).map_err(LockError::Filter)? {
        seccompiler::apply_filter_all_threads(&filter).map_err(LockError::Seccomp)?;
    }
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
/// is no opening of files, no socket, no exec, no new process, no tracing, no mount. What [`bounded`] lists
/// is allowed for this process alone. Its threads have no limit but its memory: the kernel counts them by
/// user, and with them what else that user runs.
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
    libc::SYS_futex, libc::SYS_set_robust_list, libc::SYS_rseq,
    libc::SYS_sigaltstack, libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn,
    libc::SYS_gettid, libc::SYS_getpid, libc::SYS_sched_yield, libc::SYS_sched_getaffinity,
    libc::SYS_exit, libc::SYS_exit_group, libc::SYS_restart_syscall,
    // Time and randomness for hash tables.
    libc::SYS_clock_gettime, libc::SYS_clock_nanosleep, libc::SYS_nanosleep, libc::SYS_getrandom,
];

/// System calls that exist on x86-64 only.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[i64] = &[libc::SYS_poll, libc::SYS_arch_prctl];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[i64] = &[];

/// What makes a thread and no process.
const THREAD: i32 = libc::CLONE_THREAD | libc::CLONE_VM;
/// A thread of this process, and no namespace of its own.
const THREAD_ONLY: i32 = THREAD
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// What is allowed with some arguments only: threads and their names, signals to this process's own, and looking
/// at its own limits, which nothing may set again. Of prctl's operations the others would undo the lock (dying with
/// the parent, being dumped and traced) or are of no use.
fn bounded(own: u32) -> Result<[(i64, Vec<SeccompRule>); 4], BackendError> {
    let flags = |flags: i32| u64::from(flags.unsigned_abs());
    // A process id has 32 bits: what stands in the other half of the register is not read.
    let process = |id: u32| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, u64::from(id));
    // An operation of prctl is an int, too.
    let names = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, flags(libc::PR_SET_NAME))?;
    let looks = || SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0);
    let thread = SeccompCmpOp::MaskedEq(flags(THREAD_ONLY));
    let thread = SeccompCondition::new(0, SeccompCmpArgLen::Qword, thread, flags(THREAD))?;
    Ok([
        (libc::SYS_clone, vec![SeccompRule::new(vec![thread])?]),
        (libc::SYS_prctl, vec![SeccompRule::new(vec![names])?]),
        (libc::SYS_tgkill, vec![SeccompRule::new(vec![process(own)?])?]),
        (
            libc::SYS_prlimit64,
            vec![SeccompRule::new(vec![process(0)?, looks()?])?, SeccompRule::new(vec![process(own)?, looks()?])?],
        ),
    ])
}

/// The two filters, in the order in which they are applied. Whatever is refused by either is refused.
fn filters(own: u32) -> Result<[BpfProgram; 2], BackendError> {
    // The flags of clone3 lie in memory, where no filter sees them. Told that there is no such call, the C
    // library starts its threads by clone. One filter has one way to refuse: the second one lets it pass.
    let absent = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let absent = compiled(absent, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS.unsigned_abs()))?;
    let unbounded = ALLOWED.iter().chain(ALLOWED_HERE).chain(&[libc::SYS_clone3]).map(|call| (*call, Vec::new()));
    let allowed = unbounded.chain(bounded(own)?).collect();
    let allowed = compiled(allowed, SeccompAction::Errno(libc::EPERM.unsigned_abs()), SeccompAction::Allow)?;
    Ok([absent, allowed])
}

fn compiled(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    others: SeccompAction,
    these: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    SeccompFilter::new(rules, others, these, std::env::consts::ARCH.try_into()?)?.try_into()
}

#[cfg(test)]
mod tests;
