//! An edited rule against what did happen, through the command line.

use anyhow::{Context as _, ensure};
use fettle_model::run::Ending;
use fettle_model::simulation::{Asked, EndedBy, Happened, Says, Simulation};
use fettle_proto::operator::QueryReply;
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::site::{LOOSE, PATIENCE, Plan, Site};
use std::fs;

const HOST: &str = "prod-1";
const PLAN: Plan<'_> = Plan { remedies: &[Remedy::Restart], production: &[HOST], pace: Pace::Quick, guard: LOOSE };

#[test]
fn an_edited_rule_is_held_against_a_run_that_there_was_and_nothing_is_written() -> anyhow::Result<()> {
    Site::test(&PLAN, |site| {
        let before = site.run_ids()?;
        site.host(HOST)?.shop(Remedy::Restart)?.kill()?;
        let (row, ending) = site.wait_for_run(HOST, &before)?;
        ensure!(ending == Ending::Succeeded, "{row:?}");
        site.wait("every check passes again", PATIENCE, |site| Ok(site.is_quiet()?.then_some(())))?;
        let records = site.verified_log()?.records().len();

        let file = site.path("edited.toml");
        let rules = fs::read_to_string(site.path("remediations.toml")).context("read the rules")?;
        let simulate = |text: &str| -> anyhow::Result<Simulation> {
            fs::write(&file, text).context("write the edit")?;
            let path = file.display().to_string();
            let reply = site.operator.json(&["simulate", "-f", &path, "--since", "1h"])?;
            let QueryReply::Simulation { simulation } = reply else { anyhow::bail!("another answer: {reply:?}") };
            Ok(*simulation)
        };
        let as_it_is = simulate(&rules)?;
        let [fault] = as_it_is.faults.as_slice() else { anyhow::bail!("one fault: {:?}", as_it_is.faults) };
        ensure!(fault.host.as_str() == HOST && fault.asked == Asked::Then, "{fault:?}");
        let by = EndedBy::Record { run: row.run };
        let first = fault.decisions.first().map(|decision| &decision.says);
        let acts = matches!(first, Some(Says::Acts { ending: Ending::Succeeded, by: said, .. }) if *said == by);
        ensure!(acts, "it acts as it did: {fault:?}");
        ensure!(as_it_is.begins > as_it_is.from, "the log is younger than an hour");

        ensure!(rules.contains("max-attempts = 1000"), "{rules}");
        let never = simulate(&rules.replace("max-attempts = 1000", "max-attempts = 0"))?;
        let [fault] = never.faults.as_slice() else { anyhow::bail!("one fault: {:?}", never.faults) };
        let refuses = |says: &Says| matches!(says, Says::Refuses { reasons, .. } if reasons.len() == 1);
        ensure!(fault.decisions.iter().all(|decision| refuses(&decision.says)), "{fault:?}");
        ensure!(never.summary.refused.keys().eq(["max-attempts"]) && never.summary.runs == 0, "{:?}", never.summary);
        let did = matches!(fault.happened.as_slice(), [Happened::Granted { ending: Some(Ending::Succeeded), .. }]);
        ensure!(did && never.summary.runs_then == 1, "{fault:?}");

        let path = file.display().to_string();
        let text = site.operator.run(&["simulate", "-f", &path, "--assume", "failed"])?;
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        for part in ["it would act 0 times on 0 hosts", "max-attempts", HOST, "taken to have failed"] {
            ensure!(text.contains(part), "{part}: {text}");
        }
        ensure!(site.verified_log()?.records().len() == records, "a simulation writes nothing");
        Ok(())
    })
}
