//! In mode `approve` nothing is done until enough people signed exactly what is done; after so many runs that held, `auto`
//! is proposed.

use anyhow::{Context as _, bail, ensure};
use fettle_model::check::Status;
use fettle_model::promotion::PromotionRow;
use fettle_model::record::{Author, Body};
use fettle_model::remediation::Mode;
use fettle_model::run::Ending;
use fettle_proto::operator::{ProposalState, ProposalView, QueryReply};
use fettle_tests::control_plane::Hold;
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
        let [ann, ben] = approvers(site)?;
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

#[test]
fn what_was_earned_survives_a_restart_and_a_promotion_is_proposed_and_made_by_a_person() -> anyhow::Result<()> {
    Site::test(&PLAN, |site| {
        let services = site.path("services.toml");
        fs::write(&services, fs::read_to_string(&services)? + "\n[promotion]\nafter = 2\n")?;
        decide_by_people(site)?;
        let people = approvers(site)?;
        heal_by_people(site, &people)?;
        let one = site.wait("the first run has held", PATIENCE, |site| {
            Ok(earning(site)?.filter(|row| row.earned_by.len() == 1 && row.proving == 0))
        })?;
        ensure!(one.proposed.is_none() && one.after == 2, "{one:?}");
        site.control_plane.kill()?;
        site.control_plane.start(Hold::Never)?;
        let after = site.wait("the control plane answers", PATIENCE, |site| earning(site))?;
        ensure!(after == one, "{after:?} was {one:?}");

        heal_by_people(site, &people)?;
        let two =
            site.wait("auto is proposed", PATIENCE, |site| Ok(earning(site)?.filter(|row| row.proposed.is_some())))?;
        ensure!((two.earned_by.len(), two.to) == (2, Mode::Auto) && two.earned_by[0] == one.earned_by[0], "{two:?}");
        heal_by_people(site, &people).context("it is only proposed")?;

        set_production(site, Mode::Approve, Mode::Auto)?;
        let (services, remediations) = (services.display().to_string(), site.path("remediations.toml"));
        let applied: serde_json::Value =
            site.operator.json(&["apply", &services, &remediations.display().to_string()])?;
        ensure!(applied["raised"][0]["to"] == "auto", "{applied}");
        ensure!(applied["raised"][0]["earned"]["is"] == "proposed", "{applied}");
        site.verified_log().map(drop)
    })
}

/// Two people who may approve.
fn approvers(site: &Site) -> anyhow::Result<[Operator; 2]> {
    let approver = |person| -> anyhow::Result<Operator> {
        let profile = site.path(person);
        site.operator.add_person(person, "approver", &profile)?;
        Ok(Operator::new(&site.control_plane, &profile))
    };
    Ok([approver("ann")?, approver("ben")?])
}

/// Breaks the service; people approve what is planned, and it is mended.
fn heal_by_people(site: &mut Site, people: &[Operator; 2]) -> anyhow::Result<()> {
    let before = site.run_ids()?;
    site.host(HOST)?.shop(Remedy::Restart)?.kill()?;
    let proposal = site.wait("it is proposed", PATIENCE, |_| waiting(&people[0]))?;
    for person in people {
        person.done(&["approve", &proposal.proposal.proposal.to_string()])?;
    }
    let (row, ending) = site.wait_for_run(HOST, &before)?;
    ensure!(ending == Ending::Succeeded, "{row:?}");
    site.wait_for_status(HOST, Remedy::Restart, Status::Passing)
}

/// What production earns.
fn earning(site: &Site) -> anyhow::Result<Option<PromotionRow>> {
    let QueryReply::Promotions { promotions } = site.operator.json(&["promotion", "list"])? else {
        bail!("promotions were asked for: fettle answered something else")
    };
    Ok(promotions.into_iter().find(|row| row.of.environment.as_str() == "production"))
}

/// Sets production to mode approve.
fn decide_by_people(site: &Site) -> anyhow::Result<()> {
    set_production(site, Mode::Auto, Mode::Approve)?;
    site.operator.apply(&[&site.path("services.toml"), &site.path("remediations.toml")])
}

/// Writes another mode for production into the file.
fn set_production(site: &Site, from: Mode, to: Mode) -> anyhow::Result<()> {
    let remediations = site.path("remediations.toml");
    let text = fs::read_to_string(&remediations)?;
    let [from, to] = [from, to].map(|mode| format!("production = \"{}\"", mode.as_str()));
    ensure!(text.contains(&from), "{text}");
    fs::write(&remediations, text.replace(&from, &to)).context("write remediations.toml")
}

fn waiting(person: &Operator) -> anyhow::Result<Option<ProposalView>> {
    let proposals = person.proposals()?;
    Ok(proposals.into_iter().find(|view| view.state == ProposalState::Waiting))
}
