//! `fettle freeze`: holds automation back for a while, shows what is frozen, and lifts a freeze before its time.

use crate::answer::Answer;
use crate::connection::{Connection, unexpected};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::table::table;
use crate::when::instant_with_distance;
use clap::Subcommand;
use fettle_model::breaker::Scope;
use fettle_model::freeze::FrozenBy;
use fettle_model::id::FreezeId;
use fettle_model::time::{HumanDuration, UnixMillis, whole_millis};
use fettle_proto::operator::{Command, FreezeRow, FreezeStanding, Query, QueryReply};

/// What to do with freezes.
#[derive(Debug, Subcommand)]
pub(crate) enum FreezeCommand {
    /// Freeze a scope for a while: nothing new acts there, and what is under way goes on.
    ///
    /// `fettle stop` ends what is under way as well, and lasts until somebody resumes it. Freezes that come
    /// again are declared as [[freeze]] in the files of `fettle apply`.
    Start {
        /// global, environment:NAME, service:NAME or playbook:NAME.
        scope: Scope,
        /// How long, such as 45m, 4h or 3d; at most 92 days.
        #[arg(long = "for", value_name = "DURATION")]
        lasts: HumanDuration,
        /// Why; one line that goes into the log.
        #[arg(long)]
        why: String,
    },
    /// Show freezes by hand that are in force, and all by calendar.
    List,
    /// Lift a freeze by hand before its time.
    Lift {
        /// Which; see `fettle freeze list`.
        freeze: FreezeId,
        /// Why; one line that goes into the log.
        #[arg(long)]
        why: String,
    },
}

/// Carries the command out.
///
/// # Errors
/// As the control plane and the connection say, and when no freeze by hand has the id that was given.
pub(crate) async fn run(command: FreezeCommand, context: &Context) -> Result<Answer, Failure> {
    let mut connection = context.connect().await?;
    match command {
        FreezeCommand::Start { scope, lasts, why } => {
            let text =
                format!("{scope} is frozen for {lasts}; `fettle freeze list` shows it, `fettle freeze lift` ends it");
            connection.carry_out(&Command::Freeze { scope, lasts_ms: whole_millis(lasts.0), why }, &text).await
        }
        FreezeCommand::List => {
            let freezes = freezes(&mut connection).await?;
            let text = list(&freezes, context.now);
            Answer::new(&QueryReply::Freezes { freezes }, text)
        }
        FreezeCommand::Lift { freeze, why } => {
            let known = freezes(&mut connection).await?;
            let of =
                known.into_iter().find(|row| matches!(row.freeze, FrozenBy::Person { freeze: id, .. } if id == freeze));
            let scope = of.map(|row| row.scope).ok_or_else(|| {
                let message = format!("no freeze {freeze} is in force");
                Failure::new(
                    Exit::NotFound,
                    message,
                    "see `fettle freeze list`; what a calendar freezes is changed by `fettle apply`",
                )
            })?;
            let text = format!("the freeze of {scope} is lifted");
            connection.carry_out(&Command::LiftFreeze { freeze, scope, why }, &text).await
        }
    }
}

/// Asks for them.
pub(crate) async fn freezes(connection: &mut Connection) -> Result<Vec<FreezeRow>, Failure> {
    let QueryReply::Freezes { freezes } = connection.query(&Query::Freezes).await? else {
        return unexpected("freezes");
    };
    Ok(freezes)
}

/// Freezes as text. Pure.
fn list(freezes: &[FreezeRow], now: UnixMillis) -> String {
    let rows = freezes.iter().map(|row| {
        let (which, by) = match &row.freeze {
            FrozenBy::Calendar { name } => (name.to_string(), "calendar".to_owned()),
            FrozenBy::Person { freeze, by } => (freeze.to_string(), by.to_string()),
        };
        let standing = match row.standing {
            FreezeStanding::Open => "open".to_owned(),
            FreezeStanding::Frozen { until: None } => "frozen; no end is known".to_owned(),
            FreezeStanding::Frozen { until: Some(until) } => {
                format!("frozen until {}", instant_with_distance(until, now))
            }
        };
        [row.scope.to_string(), standing, which, by, row.why.clone()]
    });
    table(["SCOPE", "STANDING", "FREEZE", "BY", "WHY"], rows.collect(), "no freezes: none by hand, none by calendar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_what_is_frozen_until_when_by_whom_and_why() {
        let now = UnixMillis(1_795_731_481_000);
        let calendar = FrozenBy::Calendar { name: "holidays".parse().expect("a name") };
        let person = FrozenBy::Person {
            freeze: "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id"),
            by: "alice".parse().expect("a name"),
        };
        let row = |scope: &str, freeze: &FrozenBy, standing| FreezeRow {
            scope: scope.parse().expect("a scope"),
            freeze: freeze.clone(),
            why: "the sale".to_owned(),
            standing,
        };
        let until = Some(UnixMillis(1_795_731_481_000 + 3_600_000));
        let rows = [
            row("global", &calendar, FreezeStanding::Open),
            row("service:web", &person, FreezeStanding::Frozen { until }),
            row("service:db", &calendar, FreezeStanding::Frozen { until: None }),
        ];
        insta::assert_snapshot!(list(&rows, now));
        assert_eq!(list(&[], now), "no freezes: none by hand, none by calendar\n");
    }
}
