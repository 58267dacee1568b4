//! A schedule drills by itself when it is due, and what it proves lets the playbook act in production.

use anyhow::{Context as _, bail, ensure};
use fettle_model::evidence::DrillResult;
use fettle_model::record::Body;
use fettle_model::run::Ending;
use fettle_proto::operator::{DueEnd, QueryReply, ScheduleRow};
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::site::{LOOSE, PATIENCE, STAGING, Site};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

const HOST: &str = "prod-1";
const REMEDY: Remedy = Remedy::Disable;
/// Applying a configuration takes some 50 ms; beside a compilation a hundred times that, and four times as long at worst.
const SECONDS_TO_APPLY: u64 = 20;

#[test]
fn a_schedule_drills_when_it_is_due_and_production_acts_by_what_it_proved() -> anyhow::Result<()> {
    Site::test_bare(|site| {
        site.make_publisher()?;
        site.publish(REMEDY, Pace::Quick)?;
        for name in [STAGING, HOST] {
            site.add_host(name, &[REMEDY])?;
        }
        site.wait_until_connected()?;
        site.configure(&[(REMEDY, REMEDY.playbook())], LOOSE)?;

        let (minute, at) = next_minute()?;
        let schedule = format!(
            "[[schedule]]\nname = \"every-day\"\nremediation = \"{}\"\nhosts = {{ environments = [\"staging\"] }}\n\
             time-zone = \"UTC\"\ndays = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"]\nat = \"{at}\"\n",
            REMEDY.remediation(),
        );
        let files = ["services.toml", "remediations.toml", "schedules.toml"].map(|name| site.path(name));
        fs::write(&files[2], schedule).context("write the schedule")?;
        site.operator.apply(&[&files[0], &files[1], &files[2]])?;
        ensure!(shown(site)?.last.is_none(), "nothing was due yet");

        let last = site.wait("the scheduled drill has ended", 2 * PATIENCE, |site| {
            Ok(shown(site)?.last.filter(|last| match &last.end {
                DueEnd::Drilled { result, .. } => result.is_some(),
                DueEnd::Refused { .. } => true,
            }))
        })?;
        ensure!(last.due.0 == minute * 60_000, "{last:?}");
        let DueEnd::Drilled { drill, host, result } = last.end else { bail!("it was refused: {last:?}") };
        ensure!(host.is_some_and(|host| host.as_str() == STAGING) && result == Some(DrillResult::Proved), "{result:?}");

        let before = site.run_ids()?;
        REMEDY.break_it(site.host(HOST)?.shop(REMEDY)?)?;
        let (row, ending) = site.wait_for_run(HOST, &before)?;
        ensure!(ending == Ending::Succeeded, "{row:?}");

        let log = site.verified_log()?;
        let mut drills = Vec::new();
        for record in log.records() {
            if let Body::DrillStarted(started) = &record.body {
                drills.push((started.drill, started.scheduled.as_ref().map(|was| was.due)));
            }
        }
        ensure!(drills == [(drill, Some(last.due))], "one due time, one drill: {drills:?}");
        Ok(())
    })
}

/// The next minute that is far enough away, since 1970, and as the time of day of a schedule in UTC.
#[expect(clippy::disallowed_methods, reason = "the schedule's due time is one of today, soon")]
fn next_minute() -> anyhow::Result<(u64, String)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("read the clock")?.as_secs();
    let minute = (now + SECONDS_TO_APPLY) / 60 + 1;
    Ok((minute, format!("{:02}:{:02}", minute / 60 % 24, minute % 60)))
}

fn shown(site: &Site) -> anyhow::Result<ScheduleRow> {
    let QueryReply::Schedules { schedules } = site.operator.json(&["schedule", "list"])? else {
        bail!("schedules were asked for: fettle answered something else")
    };
    schedules.into_iter().next().context("there is a schedule")
}
