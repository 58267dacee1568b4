//! Explores the cases and prints what came of them: how many states, how long, what broke and on which path.

use anyhow::ensure;
use clap::Parser;
use fettle_permit_model::cases::{Case, FLAWED, LARGE, SOUND};
use fettle_permit_model::explore::explore;
use std::num::NonZeroUsize;

/// Explores the permit protocol, as it is and with every known flaw.
#[derive(Debug, Parser)]
struct Arguments {
    /// The cases whose name contains this; all, if it is left out.
    name: Option<String>,
    /// How many threads explore. One finds the shortest paths.
    #[arg(long, default_value = "2")]
    threads: NonZeroUsize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let wanted = |case: &&Case| arguments.name.as_deref().is_none_or(|part| case.name.contains(part));
    let cases: Vec<_> = SOUND.iter().chain(&LARGE).chain(&FLAWED).filter(wanted).collect();
    ensure!(!cases.is_empty(), "no case has this in its name; without a name all are explored");
    let mut unexpected = Vec::new();
    for case in cases {
        println!("{}", case.name);
        let report = explore(case, arguments.threads);
        print!("{report}");
        let is_expected = report.broken_names() == case.breaks;
        if !is_expected || (case.breaks.is_empty() && case.flaws.is_empty() && !report.unreached.is_empty()) {
            unexpected.push(case.name);
        }
    }
    ensure!(unexpected.is_empty(), "not what was expected: {}", unexpected.join(", "));
    Ok(())
}
