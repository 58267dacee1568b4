//! What an author and an auditor may not do they are refused, and the refusal is a record.

use anyhow::ensure;
use fettle_model::record::Body;
use fettle_tests::operator::Operator;
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::site::Site;

#[test]
fn an_author_and_an_auditor_are_refused_what_is_not_theirs_and_that_is_recorded() -> anyhow::Result<()> {
    Site::test_bare(|site| {
        site.make_publisher()?;
        let package = Remedy::Restart.pack(&site.operator, Pace::AsShipped, &site.path("."))?;
        let [author, auditor] = ["author", "auditor"].map(|role| -> anyhow::Result<Operator> {
            let profile = site.path(role);
            site.operator.add_person(role, role, &profile)?;
            Ok(Operator::new(&site.control_plane, &profile))
        });
        let (author, auditor) = (author?, auditor?);
        let key = site.path("publisher.key");
        author.publish(&package, &key)?;
        let (bundle, policy) = (site.path("audit.bundle"), site.path("audit.policy"));
        auditor.export(&bundle, &policy)?;

        let refused: [(&Operator, &[&str]); 4] = [
            (&author, &["stop", "global", "--why", "not mine to stop"]),
            (&author, &["token", "create", "--environment", "staging", "--out", "never"]),
            (&auditor, &["stop", "global", "--why", "not mine to stop"]),
            (&auditor, &["host", "revoke", "web-1", "--why", "not mine to revoke"]),
        ];
        for (person, arguments) in refused {
            let (code, said) = person.refused(arguments)?;
            ensure!(code > 2 && !said.is_empty(), "{arguments:?}: exit {code}: {said}");
        }
        ensure!(auditor.publish(&package, &key).is_err(), "an auditor publishes nothing");

        let log = site.verified_log()?;
        let records = log.records().iter();
        let by: Vec<_> = records
            .filter_map(|record| {
                let Body::ActionRefused(refused) = &record.body else { return None };
                Some((refused.by.as_str().to_owned(), refused.action.clone()))
            })
            .collect();
        for (person, count) in [("author", 2), ("auditor", 3)] {
            let found = by.iter().filter(|(by, _)| by == person).count();
            ensure!(found == count, "{person}: {by:?}");
        }
        let stopped = log.records().iter().any(|record| matches!(record.body, Body::AutomationStopped(_)));
        ensure!(!stopped, "nothing was stopped");
        Ok(())
    })
}
