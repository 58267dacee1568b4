//! What an author and an auditor may not do they are refused, and the refusal is a record.

use anyhow::{Context as _, ensure};
use fettle_model::record::Body;
use fettle_tests::operator::{Operator, Said};
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::site::Site;

#[test]
fn a_role_that_is_taken_away_allows_nothing_at_the_next_command() -> anyhow::Result<()> {
    Site::test_bare(|site| {
        let profile = site.path("bob");
        site.operator.add_person("bob", "operator", &profile)?;
        site.operator.done(&["person", "grant", "bob", "--role", "viewer"])?;
        let bob = Operator::new(&site.control_plane, &profile);
        bob.done(&["stop", "global", "--why", "while it is his to stop"])?;
        let end = ["person", "revoke-role", "bob", "operator", "--reason", "another team"];
        site.operator.done(&end)?;
        let (code, said) = bob.refused(&["resume", "global", "--why", "not his any more"])?;
        ensure!(code == 7, "exit {code}: {said}");
        bob.hosts().context("what he holds besides goes on")?;
        let (code, said) = site.operator.refused(&end)?;
        ensure!(code == 5 && said.contains("bob is not operator"), "exit {code}: {said}");
        let last = ["person", "revoke-role", "olga", "administrator", "--reason", "nobody would be left"];
        let (code, said) = site.operator.refused(&last)?;
        ensure!(code == 8 && said.contains("last administrator"), "exit {code}: {said}");
        let log = site.verified_log()?;
        let revoked = log.records().iter().filter(|record| matches!(record.body, Body::RoleRevoked(_))).count();
        ensure!(revoked == 1, "one role was taken away");
        Ok(())
    })
}

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
        let scenarios = Remedy::Restart.scenarios();
        let said = Said::ByRunning { scenarios: &scenarios };
        author.publish(&package, said, &key)?;
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
        ensure!(auditor.publish(&package, said, &key).is_err(), "an auditor publishes nothing");

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
