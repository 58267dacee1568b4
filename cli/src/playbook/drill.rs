//! Starts a drill and, with `--wait`, follows it to its end.

use crate::answer::Answer;
use crate::connection::{Connection, unexpected};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal;
use clap::Args;
use fettle_model::evidence::{DrillResult, DrillStage};
use fettle_model::id::DrillId;
use fettle_model::name::{HostName, PlaybookName, RemediationName};
use fettle_proto::operator::{Command, CommandReply, DrillStageRow, DrillView, Query, QueryReply};
use std::time::Duration;

/// A drill to start.
#[derive(Debug, Args)]
pub(crate) struct StartDrill {
    /// The playbook to prove.
    playbook: PlaybookName,
    /// A staging host whose owner allows drills.
    #[arg(long)]
    host: HostName,
    /// The remediation that uses the playbook.
    #[arg(long)]
    remediation: RemediationName,
    /// Which of the manifest's drills, from 0: see `fettle playbook show`.
    #[arg(long, default_value_t = 0)]
    drill: u32,
    /// Wait for its end; exit 1 when the playbook did not prove itself.
    #[arg(long)]
    wait: bool,
}

/// Between two looks at a drill; one takes seconds to minutes.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A drill may last its allowance (20 min), and three times the longest run and the longest confirmation (30 min
/// each). The control plane gives it up then; this only guards against one that does not.
const WAIT_AT_MOST: Duration = Duration::from_mins(205);

/// Looks in a row without an answer: a restart of the control plane takes seconds, these are 30.
const MISSES_AT_MOST: u32 = 120;

pub(super) async fn run(command: StartDrill, context: &Context) -> Result<Answer, Failure> {
    let StartDrill { playbook, host, remediation, drill, wait } = command;
    let mut connection = context.connect().await?;
    let command = Command::StartDrill { playbook: playbook.clone(), host: host.clone(), remediation, drill };
    let reply = connection.execute(&command).await?;
    let CommandReply::Drill { drill } = reply else { return unexpected("a drill") };
    if !wait {
        let text = format!("drill {drill} of {playbook} on {host} has begun\n");
        return Answer::new(&reply, text);
    }
    let begun = format!("drill {drill} of {playbook} on {host} has begun; waiting for its end");
    terminal::progress(&begun, context.format);
    // Looking again costs nothing; when the command is ended, the drill goes on.
    let view = tokio::time::timeout(WAIT_AT_MOST, ended(&mut connection, drill, context)).await.map_err(|_| {
        let message = format!("drill {drill} did not end in time");
        Failure::new(Exit::Unavailable, message, "look into the control plane's own log, and at `fettle log list`")
    })??;
    let (text, exit) = told(&view);
    Ok(Answer::new(&QueryReply::Drill { drill: Box::new(view) }, text)?.ending(exit))
}

async fn ended(connection: &mut Connection, drill: DrillId, context: &Context) -> Result<DrillView, Failure> {
    let (mut misses, mut shown) = (0, 0);
    loop {
        match connection.query(&Query::Drill { drill }).await {
            Ok(QueryReply::Drill { drill: view }) => {
                misses = 0;
                for row in view.stages.iter().skip(shown) {
                    terminal::progress(&passed(row), context.format);
                }
                shown = view.stages.len();
                if view.result.is_some() {
                    return Ok(*view);
                }
            }
            Ok(_) => return unexpected("a drill"),
            // The drill outlives a restart of the control plane, and so does the wait for it.
            Err(failure) if failure.exit == Exit::Unavailable && misses < MISSES_AT_MOST => misses += 1,
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn passed(row: &DrillStageRow) -> String {
    let what = match row.stage {
        DrillStage::Healed => "the playbook healed the fault",
        DrillStage::Repeated => "its second run changed nothing",
        DrillStage::Killed => "a run that was killed in the middle finished all the same",
    };
    format!("{}: {what} (log position {})", row.stage.as_str(), row.position)
}

fn told(view: &DrillView) -> (String, Exit) {
    let what = format!("{} on {}, fault {} on {}", view.playbook, view.host, view.fault.kind.as_str(), view.fault.on);
    match &view.result {
        Some(DrillResult::Proved) => (format!("proved: {what}; drill {}\n", view.drill), Exit::Ok),
        Some(DrillResult::NotProved { reason }) => {
            (format!("not proved: {what}; drill {}: {}\n", view.drill, crate::plain::plain(reason)), Exit::Wrong)
        }
        None => (format!("running: {what}; drill {}\n", view.drill), Exit::Gaps),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::evidence::{Fault, FaultKind};
    use uuid::Uuid;

    #[test]
    fn a_drill_that_proved_nothing_is_told_with_its_reason_and_exits_1() {
        let view = |result| DrillView {
            drill: DrillId::from_uuid(Uuid::from_u128(1)),
            playbook: "restart-service".parse().expect("a name"),
            host: "staging-1".parse().expect("a name"),
            fault: Fault { kind: FaultKind::KillProcess, on: "service".parse().expect("a label") },
            by: "alice".parse().expect("a name"),
            stages: Vec::new(),
            result: Some(result),
        };
        let (text, exit) = told(&view(DrillResult::NotProved { reason: "no run".to_owned() }));
        assert_eq!(exit, Exit::Wrong);
        assert_eq!(
            text,
            "not proved: restart-service on staging-1, fault kill-process on service; \
             drill 00000000-0000-0000-0000-000000000001: no run\n"
        );
        assert_eq!(told(&view(DrillResult::Proved)).1, Exit::Ok);
    }
}
