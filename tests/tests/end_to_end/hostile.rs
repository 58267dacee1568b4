//! A playbook that loops, traps, or says `resolved` while the check still fails: each run ends as a
//! failure, the breaker counts it and opens.

use anyhow::{Context as _, ensure};
use fettle_model::refusal::Reason;
use fettle_model::run::{Claim, Ending};
use fettle_proto::operator::WhyDecision;
use fettle_tests::operator::Said;
use fettle_tests::remedy::Remedy;
use fettle_tests::site::{PATIENCE, STAGING, Site};
use fettle_tests::two_faced;

/// Two failures are allowed; the third opens the breaker.
const GUARD: &str = r#"{ min-healthy = 0, max-attempts = 1, cooldown = "1h", max-failures = 2 }"#;
const LOOPS: &str = "loops-1";
const TRAPS: &str = "traps-1";
const CLAIMS: &str = "claims-1";
const HONEST: &str = "other-1";

#[test]
fn a_playbook_that_loops_or_traps_or_lies_ends_its_run_and_opens_the_breaker() -> anyhow::Result<()> {
    Site::test_bare(|site| {
        site.make_publisher()?;
        let (component, manifest) = two_faced::write(&site.path("."))?;
        let package = site.operator.pack(&component, &manifest)?;
        // Its author lies about the scenarios: that they passed is a publisher's word.
        let report = two_faced::lie(&site.path("."), &package)?;
        site.operator.publish(&package, Said::Reported { report: &report }, &site.path("publisher.key"))?;
        for name in [STAGING, LOOPS, TRAPS, CLAIMS, HONEST] {
            site.add_host(name, &[Remedy::Restart])?;
        }
        site.wait_until_connected()?;
        site.configure(&[(Remedy::Restart, two_faced::NAME)], GUARD)?;
        site.drill(Remedy::Restart, two_faced::NAME)?;

        fails(site, LOOPS, Ending::Failed)?;
        fails(site, TRAPS, Ending::Failed)?;
        let claim = fails(site, CLAIMS, Ending::Ineffective)?;
        ensure!(matches!(claim, Some(Claim::Resolved { .. })), "its word was not enough: {claim:?}");

        site.host(HONEST)?.shop(Remedy::Restart)?.kill()?;
        let refusal = site.wait("the breaker's refusal is told", PATIENCE, |site| {
            let why = site.operator.why(&Remedy::Restart.check_ref(), HONEST)?;
            Ok(match why.decision {
                Some(WhyDecision::Refused { refusal, .. }) => Some(refusal),
                Some(WhyDecision::Granted { .. } | WhyDecision::Withheld { .. }) | None => None,
            })
        })?;
        let open = refusal.reasons.iter().any(|reason| matches!(reason, Reason::BreakerOpen { .. }));
        ensure!(open, "{refusal:?}");
        ensure!(site.host(HONEST)?.shop(Remedy::Restart)?.starts()? == 0, "something acted");
        site.verified_log()?.every_permit_has_one_end()
    })
}

fn fails(site: &mut Site, host: &str, wanted: Ending) -> anyhow::Result<Option<Claim>> {
    let before = site.run_ids()?;
    site.host(host)?.shop(Remedy::Restart)?.kill()?;
    let (row, ending) = site.wait_for_run(host, &before)?;
    ensure!(ending == wanted, "{row:?}");
    let record = site.operator.run_detail(row.run)?.record.context("it has an account")?;
    ensure!(record.steps.is_empty(), "{record:?}");
    ensure!(site.host(host)?.shop(Remedy::Restart)?.starts()? == 0, "something acted");
    Ok(record.claim)
}
