//! In mode `approve` nothing is done until enough people signed exactly what is done.

use anyhow::{Context as _, ensure};
use fettle_model::record::{Author, Body};
use fettle_model::run::Ending;
use fettle_proto::operator::{ProposalState, ProposalView};
use fettle_tests::operator::Operator;
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::site::{LOOSE, PATIENCE, Plan, Site};
use std::fs;

const HOST: &str = "prod-1";
const PLAN: Plan<'_> = Plan { remedies: &[Remedy::Restart], production: &[HOST], pace: Pace::Quick, guard: LOOSE };

#[test]
fn a_fault_waits_for_two_signatures_and_is_healed_as_planned() -> anyhow::Result<()> {
    Site::test(&PLAN, |site| {
        decide_by_people(site)?;
        let [ann, ben] = ["ann", "ben"].map(|person| -> anyhow::Result<Operator> {
            let profile = site.path(person);
            site.operator.add_person(person, "approver", &profile)?;
            Ok(Operator::new(&site.control_plane, &profile))
        });
        let (ann, ben) = (ann?, ben?);
        let before = site.run_ids()?;
        site.host(HOST)?.shop(Remedy::Restart)?.kill()?;
        let proposal = site.wait("it is proposed", PATIENCE, |_| waiting(&ann))?;
        let (id, hash) = (proposal.proposal.proposal.to_string(), proposal.proposal.request().to_string());
        ensure!(proposal.proposal.required == 2, "a restart cannot be undone: {proposal:?}");
        ensure!(proposal.proposal.steps.len() == 1, "{proposal:?}");

        // The operator wrote the configuration and is no approver.
        let (_, said) = site.operator.refused(&["approve", &id])?;
        ensure!(said.contains("no signing key"), "{said}");
        site.operator.done(&["person", "key"])?;
        let (code, said) = site.operator.refused(&["approve", &id])?;
        ensure!(said.contains("proposal.approve"), "exit {code}: {said}");
        ann.done(&["approve", &id, "--hash", &hash])?;
        let (code, said) = ann.refused(&["approve", &id])?;
        ensure!(said.contains("has approved it already"), "exit {code}: {said}");
        ensure!(site.run_ids()? == before, "one of two is not enough");
        ben.done(&["approve", &id])?;

        let (row, ending) = site.wait_for_run(HOST, &before)?;
        ensure!(ending == Ending::Succeeded, "{row:?}");
        ensure!(Remedy::Restart.is_mended(site.host(HOST)?.shop(Remedy::Restart)?)?, "it says so, and it is not");
        let approved = site.operator.run_detail(row.run)?.permit.approved.context("the permit carries the plan")?;
        ensure!(approved.steps == proposal.proposal.steps, "{approved:?}");
        let after = ann.proposals()?.into_iter().next().context("the proposal")?;
        ensure!(after.state == ProposalState::Granted { run: row.run }, "{after:?}");

        let log = site.verified_log()?;
        let signed = log.records().iter().filter_map(|record| match (&record.author, &record.body) {
            (Author::Person { person }, Body::ApprovalGiven(_)) => Some(person.to_string()),
            (Author::Person { .. } | Author::ControlPlane | Author::Agent { .. }, _) => None,
        });
        let signed: Vec<_> = signed.collect();
        ensure!(signed == ["ann", "ben"], "{signed:?}");
        Ok(())
    })
}

/// Sets production to mode approve.
fn decide_by_people(site: &Site) -> anyhow::Result<()> {
    let (services, remediations) = (site.path("services.toml"), site.path("remediations.toml"));
    let text = fs::read_to_string(&remediations)?;
    ensure!(text.contains("production = \"auto\""), "{text}");
    fs::write(&remediations, text.replace("production = \"auto\"", "production = \"approve\""))?;
    site.operator.apply(&[&services, &remediations])
}

fn waiting(person: &Operator) -> anyhow::Result<Option<ProposalView>> {
    let proposals = person.proposals()?;
    Ok(proposals.into_iter().find(|view| view.state == ProposalState::Waiting))
}
