//! A TCP port of this host that refuses connections: one nftables table of ours with one rule.
//!
//! `nft` gets a script on its standard input, built from a number; there is no shell. A script is one transaction of the
//! kernel: all of it holds, or nothing.

use super::{Look, TakenBack};
use crate::capability::Done;
use crate::capability::program::{Ran, feed, read_output};
use crate::config::{Argv, WrongScalar};
use fettle_sandbox::call::ActError;
use std::time::Duration;

/// nftables' program, where every distribution has it.
const NFT: &str = "/usr/sbin/nft";
/// `nft` takes milliseconds; on a busy host a second.
const WITHIN: Duration = Duration::from_secs(5);
/// The names of 1 000 tables, of which a host has ten.
const MAX_LISTING: u64 = 64 * 1024;

fn table(port: u16) -> String {
    format!("fettle_drill_{port}")
}

fn nft(arguments: &[&str]) -> Result<Argv, String> {
    let argv = std::iter::once(&NFT).chain(arguments).map(|&argument| argument.to_owned()).collect();
    Argv::new(argv).map_err(|wrong: WrongScalar| wrong.to_string())
}

async fn script(text: &str) -> Ran {
    match nft(&["-f", "-"]) {
        Ok(argv) => feed(&argv, text.as_bytes(), WITHIN).await,
        Err(why) => Ran::NotStarted(why),
    }
}

/// Has the port refuse new connections and answer open ones with a reset.
pub(in crate::capability) async fn refuse(port: u16) -> Result<Done, ActError> {
    let table = table(port);
    // Before other tables' filters, so that one that accepts the port does not come first.
    let ran = script(&format!(
        "create table inet {table}\n\
         add chain inet {table} input {{ type filter hook input priority -10; policy accept; }}\n\
         add rule inet {table} input tcp dport {port} reject with tcp reset\n"
    ))
    .await;
    match ran {
        Ran::Exited(0) => Ok(Done::of_injection()),
        Ran::Exited(_) | Ran::NotStarted(_) => {
            Err(ActError::Failed(format!("{NFT} {ran}, so the port is not refused")))
        }
        Ran::Signalled(_) | Ran::TimedOut | Ran::Lost(_) => Err(ActError::Indeterminate(format!("{NFT} {ran}"))),
    }
}

/// Removes the table, which nobody else does. That it is made first makes removing one that is not there no mistake, in every version.
pub(super) async fn accept(port: u16) -> Result<TakenBack, String> {
    let table = table(port);
    match script(&format!("add table inet {table}\ndelete table inet {table}\n")).await {
        Ran::Exited(0) => Ok(TakenBack::Now),
        ran @ (Ran::Exited(_) | Ran::NotStarted(_) | Ran::Signalled(_) | Ran::TimedOut | Ran::Lost(_)) => {
            Err(format!("{NFT} {ran}, so the table {table} may still refuse the port"))
        }
    }
}

/// Whether the table is there.
pub(super) async fn look(port: u16) -> Look {
    let argv = match nft(&["list", "tables", "inet"]) {
        Ok(argv) => argv,
        Err(why) => return Look::cannot_tell(why),
    };
    match read_output(&argv, MAX_LISTING, WITHIN).await {
        Ok(listing) => {
            let line = format!("table inet {}", table(port));
            let there = String::from_utf8_lossy(&listing).lines().any(|listed| listed == line);
            if there { Look::Applied(Done::of_injection()) } else { Look::NotApplied }
        }
        Err(ran) => Look::cannot_tell(format!("{NFT} {ran}, so the tables cannot be seen")),
    }
}
