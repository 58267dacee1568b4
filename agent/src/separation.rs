//! Which users the agent's processes get, and what is weaker where they cannot have their own.
//!
//! Called once by the command line at the start of the effector. As root the daemon and the workers get the
//! accounts [`DAEMON_ACCOUNT`] and [`WORKER_ACCOUNT`]; changing to them drops every capability. Nothing here
//! makes an account: the package's sysusers file does, and the error says how to do it by hand.

use crate::effector::children::{Account, Separation};
use fettle_model::host::Isolation;
use std::path::PathBuf;

/// The daemon's account.
pub const DAEMON_ACCOUNT: &str = "fettle-agent";
/// The workers' account.
pub const WORKER_ACCOUNT: &str = "fettle-worker";

/// Local accounts. The agent's own are system accounts, which no directory service holds.
const PASSWD: &str = "/etc/passwd";

/// What the host's owner wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Users of their own, where the agent is root.
    OwnUsers,
    /// The effector's user for all.
    SameUser,
}

/// Why the agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum NoSeparation {
    /// The accounts cannot be looked up.
    #[error("failed to read {}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The agent is root and an account is missing.
    #[error(
        "there is no account {account}, which a part of the agent runs as when it is started as root; remedy: \
         useradd --system --no-create-home --shell /usr/sbin/nologin {account}, or run with --same-user to let \
         every part run as root"
    )]
    NoAccount {
        /// The account.
        account: &'static str,
    },
    /// An account is root, or both are the same one.
    #[error("the accounts {DAEMON_ACCOUNT} and {WORKER_ACCOUNT} must be two different users, neither of them root")]
    NotSeparate,
}

/// Decides for this process, from its user and the host's accounts.
///
/// # Errors
/// When the agent is root and an account is missing.
pub fn decide(choice: Choice) -> Result<(Separation, Isolation), NoSeparation> {
    if !rustix::process::geteuid().is_root() {
        return Ok(same_user("the agent was not started as root: its processes have one user in common"));
    }
    match choice {
        Choice::SameUser => {
            Ok(same_user("--same-user: the daemon, which speaks to the network, and the workers run as root"))
        }
        Choice::OwnUsers => {
            let file = PathBuf::from(PASSWD);
            let accounts =
                std::fs::read_to_string(&file).map_err(|source| NoSeparation::Unreadable { file, source })?;
            own_users(&accounts)
        }
    }
}

fn same_user(what: &str) -> (Separation, Isolation) {
    (Separation::SameUser, Isolation::Weaker { missing: vec![what.to_owned()] })
}

fn own_users(passwd: &str) -> Result<(Separation, Isolation), NoSeparation> {
    let find = |account| find(passwd, account).ok_or(NoSeparation::NoAccount { account });
    let (daemon, worker) = (find(DAEMON_ACCOUNT)?, find(WORKER_ACCOUNT)?);
    if daemon.uid == worker.uid || daemon.uid == 0 || worker.uid == 0 {
        return Err(NoSeparation::NotSeparate);
    }
    Ok((Separation::Users { daemon, worker }, Isolation::Full))
}

/// passwd(5): name, password, user id, group id, and more, separated by colons.
fn find(passwd: &str, account: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(account)).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "root:x:0:0:root:/root:/bin/bash\n";

    #[test]
    fn both_accounts_are_found_by_name() {
        let passwd = format!(
            "{ROOT}fettle-agent-2:x:1:1::/:/bin/false\nfettle-agent:x:990:980::/:/usr/sbin/nologin\n\
             fettle-worker:x:991:981::/:/usr/sbin/nologin\n"
        );
        let expected =
            Separation::Users { daemon: Account { uid: 990, gid: 980 }, worker: Account { uid: 991, gid: 981 } };
        assert_eq!(own_users(&passwd).expect("accounts"), (expected, Isolation::Full));
    }

    #[track_caller]
    fn refused(passwd: &str, expected: &str) {
        let error = own_users(passwd).expect_err("no separation").to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_missing_account_is_named_with_the_command_that_makes_it() {
        refused(ROOT, "useradd --system --no-create-home --shell /usr/sbin/nologin fettle-agent");
        refused(&format!("{ROOT}fettle-agent:x:990:980::/:/bin/false\n"), "there is no account fettle-worker");
        refused(&format!("{ROOT}fettle-agent:x:many:980::/:/bin/false\n"), "there is no account fettle-agent");
    }

    #[test]
    fn accounts_that_are_root_or_one_and_the_same_separate_nothing() {
        let both = |daemon, worker| {
            format!("fettle-agent:x:{daemon}:9::/:/bin/false\nfettle-worker:x:{worker}:9::/:/bin/false\n")
        };
        refused(&both(0, 991), "neither of them root");
        refused(&both(991, 0), "neither of them root");
        refused(&both(991, 991), "two different users");
    }
}
