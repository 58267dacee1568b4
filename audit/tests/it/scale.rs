//! A verification is one pass over a log of any length.

use crate::log::{Log, host, policy};
use crate::story::{PRODUCTION, story, transition};
use fettle_audit::verify::{Verdict, verify_bundle};
use fettle_model::check::Status;

#[test]
fn a_longer_log_is_valid_and_counted() {
    const EPOCHS: u64 = 500;
    let mut log: Log = story();
    for epoch in 4..EPOCHS {
        let status = if epoch % 2 == 0 { Status::Passing } else { Status::Critical };
        log.agent(host(PRODUCTION), transition(epoch, status));
    }
    let report = verify_bundle(&log.bundle(), &policy());
    assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.findings);
    assert_eq!(report.records, log.records.len() as u64);
    assert_eq!(report.agents[1].sequence.0, 8 + EPOCHS - 4);
}
