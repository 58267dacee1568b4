//! The whole path once for each standard playbook, as shipped, and what its log is worth.

use anyhow::{Context as _, ensure};
use fettle_model::record::Body;
use fettle_model::run::Ending;
use fettle_tests::log::effects;
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::site::{PATIENCE, Plan, Site};
use std::fs;

const PLAN: Plan<'_> = Plan {
    remedies: &Remedy::ALL,
    production: &["prod-1", "prod-2"],
    pace: Pace::AsShipped,
    // One staging host cannot leave half of its group healthy; everything else is the default.
    guard: "{ min-healthy = 0 }",
};

#[test]
fn the_shipped_playbooks_mend_their_faults_and_no_damage_to_the_log_of_it_goes_unseen() -> anyhow::Result<()> {
    Site::test(&PLAN, |site| {
        for (remedy, host) in [(Remedy::Restart, "prod-1"), (Remedy::Rollback, "prod-2"), (Remedy::Disable, "prod-1")] {
            mends(site, remedy, host)?;
        }
        let log = site.verified_log()?;
        log.every_permit_has_one_end()?;
        let evidence = log.records().iter().filter(|record| matches!(record.body, Body::EvidenceEarned(_))).count();
        ensure!(evidence == Remedy::ALL.len(), "each playbook has earned its evidence once: {evidence}");
        no_damage_goes_unseen(site)
    })
}

fn mends(site: &mut Site, remedy: Remedy, host: &str) -> anyhow::Result<()> {
    let before = site.run_ids()?;
    remedy.break_it(site.host(host)?.shop(remedy)?)?;
    let (row, ending) = site.wait_for_run(host, &before)?;
    ensure!(ending == Ending::Succeeded, "{remedy:?}: {row:?}");
    ensure!(row.playbook.as_ref().is_some_and(|name| name.as_str() == remedy.playbook()), "{row:?}");
    let record = site.operator.run_detail(row.run)?.record.context("its account is in the log")?;
    ensure!(effects(&record).made == 1, "one effect was enough: {:?}", record.steps);
    let shop = site.host(host)?.shop(remedy)?;
    ensure!(remedy.is_mended(shop)?, "{remedy:?} says so, and it is not");
    let starts = shop.starts()?;
    ensure!(starts == usize::from(remedy == Remedy::Restart), "{starts} starts");
    site.wait("every check passes again", PATIENCE, |site| Ok(site.is_quiet()?.then_some(())))
}

/// A sample, through the process; the verifier's own tests change every bit.
fn no_damage_goes_unseen(site: &Site) -> anyhow::Result<()> {
    let (bundle, policy) = site.export()?;
    let whole = fs::read(&bundle).context("read the bundle")?;
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let mut damaged: Vec<(String, Vec<u8>)> = Vec::new();
    for part in 0..24 {
        let mut bytes = whole.clone();
        let at = whole.len() * part / 24;
        bytes[at] ^= 1 << (part % 8);
        damaged.push((format!("bit {} of byte {at} changed", part % 8), bytes));
    }
    for line in [0, 1, lines.len() / 2, lines.len() - 2, lines.len() - 1] {
        let rest = [&lines[..line], &lines[line + 1..]].concat().concat();
        damaged.push((format!("line {line} dropped"), rest));
        damaged.push((format!("cut after line {line}"), lines[..line].concat()));
    }
    let middle = lines.len() / 2;
    let mut swapped = lines.clone();
    swapped.swap(middle, middle + 1);
    damaged.push(("two records exchanged".to_owned(), swapped.concat()));
    damaged.push(("a record twice".to_owned(), [&lines[..=middle], &lines[middle..]].concat().concat()));
    damaged.push(("half a line cut off".to_owned(), whole[..whole.len() - 40].to_vec()));
    let path = site.path("damaged.bundle");
    let arguments =
        ["log", "verify", &path.display().to_string(), "--policy", &policy.display().to_string()].map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    for (what, bytes) in damaged {
        fs::write(&path, bytes).context("write a damaged bundle")?;
        let code = site.operator.run(&arguments)?.status.code();
        ensure!(matches!(code, Some(1 | 2)), "{what}: {code:?}");
    }
    fs::write(&path, whole).context("write the bundle")?;
    let code = site.operator.run(&arguments)?.status.code();
    ensure!(code == Some(0), "the whole bundle: {code:?}");
    Ok(())
}
