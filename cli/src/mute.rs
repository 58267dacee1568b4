//! `fettle mute`: holds routine incidents back for a while, shows what is muted, and lifts a mute before its time.

use crate::answer::Answer;
use crate::connection::{Connection, unexpected};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::table::table;
use crate::when::instant_with_distance;
use clap::{Args, Subcommand};
use fettle_model::breaker::Scope;
use fettle_model::id::MuteId;
use fettle_model::time::{HumanDuration, UnixMillis, whole_millis};
use fettle_proto::operator::{Command, MuteRow, Query, QueryReply};
use std::time::Duration;

/// What to do with mutes.
#[derive(Debug, Subcommand)]
pub(crate) enum MuteCommand {
    /// Mute a scope for a while: routine incidents there are held until it ends.
    ///
    /// A mute holds no remediation: automation acts as if it were not there. To hold automation back, use `fettle
    /// freeze`. Urgent incidents are never held: used-up attempts, a run in doubt, broken glass. Nor is what holds
    /// automation back itself, such as open breakers.
    Start {
        /// global, environment:NAME, service:NAME or playbook:NAME.
        scope: Scope,
        #[command(flatten)]
        ends: Ends,
        /// Why; one line that goes into the log.
        #[arg(long)]
        why: String,
    },
    /// Show mutes that are in force. What they hold is in `fettle status`.
    List,
    /// Lift a mute before its time: people are called to what it held.
    Lift {
        /// Which; see `fettle mute list`.
        mute: MuteId,
        /// Why; one line that goes into the log.
        #[arg(long)]
        why: String,
    },
}

/// When a mute ends.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Ends {
    /// How long, such as 45m, 4h or 3d; at most 7 days.
    #[arg(long = "for", value_name = "DURATION")]
    lasts: Option<HumanDuration>,
    /// Until when, such as 2026-11-26T18:00Z; at most 7 days from now.
    #[arg(long, value_name = "INSTANT", value_parser = until)]
    until: Option<UnixMillis>,
}

impl Ends {
    /// How long it lasts from now; no time where it ends in the past.
    fn lasts(&self, now: UnixMillis) -> Duration {
        let left = self.until.map(|until| until.since(now));
        self.lasts.map(|lasts| lasts.0).or(left).unwrap_or_default()
    }
}

/// An instant with its distance from UTC.
fn until(text: &str) -> Result<UnixMillis, String> {
    let stamp: jiff::Timestamp =
        text.parse().map_err(|error| format!("{error}; write it such as 2026-11-26T18:00Z"))?;
    u64::try_from(stamp.as_millisecond()).map(UnixMillis).map_err(|_| "is before 1970".to_owned())
}

/// Carries the command out.
///
/// # Errors
/// As the control plane and the connection say, and when no mute has the id that was given.
pub(crate) async fn run(command: MuteCommand, context: &Context) -> Result<Answer, Failure> {
    let mut connection = context.connect().await?;
    match command {
        MuteCommand::Start { scope, ends, why } => {
            let lasts = ends.lasts(context.now);
            let text = format!(
                "{scope} is muted until {}: routine incidents there are held, and automation goes on; \
                 `fettle mute lift` ends it",
                instant_with_distance(context.now.plus(lasts), context.now)
            );
            connection.carry_out(&Command::Mute { scope, lasts_ms: whole_millis(lasts), why }, &text).await
        }
        MuteCommand::List => {
            let mutes = mutes(&mut connection).await?;
            let text = list(&mutes, context.now);
            Answer::new(&QueryReply::Mutes { mutes }, text)
        }
        MuteCommand::Lift { mute, why } => {
            let known = mutes(&mut connection).await?;
            let scope = known.into_iter().find(|row| row.mute == mute).map(|row| row.scope).ok_or_else(|| {
                Failure::new(Exit::NotFound, format!("no mute {mute} is in force"), "see `fettle mute list`")
            })?;
            let text = format!("the mute of {scope} is lifted");
            connection.carry_out(&Command::LiftMute { mute, scope, why }, &text).await
        }
    }
}

/// Asks for them.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn mutes(connection: &mut Connection) -> Result<Vec<MuteRow>, Failure> {
    let QueryReply::Mutes { mutes } = connection.query(&Query::Mutes).await? else {
        return unexpected("mutes");
    };
    Ok(mutes)
}

/// Mutes as text. Pure.
pub(crate) fn list(mutes: &[MuteRow], now: UnixMillis) -> String {
    let rows = mutes.iter().map(|row| {
        let until = instant_with_distance(row.until, now);
        [row.scope.to_string(), until, row.mute.to_string(), row.by.to_string(), row.why.clone()]
    });
    table(["MUTED", "UNTIL", "MUTE", "BY", "WHY"], rows.collect(), "nothing is muted")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_what_is_muted_until_when_by_whom_and_why() {
        let now = UnixMillis(1_795_731_481_000);
        let row = MuteRow {
            mute: "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id"),
            scope: "environment:staging".parse().expect("a scope"),
            until: now.plus(Duration::from_hours(2)),
            by: "alice".parse().expect("a name"),
            why: "new disks".to_owned(),
        };
        insta::assert_snapshot!(list(&[row], now), @r"
        MUTED                UNTIL                  MUTE                                  BY     WHY
        environment:staging  2026-11-27 00:18:01Z   01890a5d-ac96-774b-bcce-b302099a8057  alice  new disks
                             (in 2h)
        ");
        assert_eq!(list(&[], now), "nothing is muted\n");
    }

    #[test]
    fn an_end_is_an_instant_or_a_length_and_one_in_the_past_is_no_time() {
        let now = UnixMillis(1_795_731_481_000);
        let at = |text: &str| Ends { lasts: None, until: Some(until(text).expect("an instant")) }.lasts(now);
        assert_eq!(at("2026-11-26T23:18:01Z"), Duration::from_hours(1));
        assert_eq!(at("2026-11-27T00:18:01+01:00"), Duration::from_hours(1));
        assert_eq!(at("2026-11-26T22:18:01Z"), Duration::ZERO);
        assert_eq!(at("2020-01-01T00:00:00Z"), Duration::ZERO);
        for wrong in ["tomorrow", "2026-11-26T23:18:01", "1960-01-01T00:00:00Z"] {
            assert!(until(wrong).is_err(), "{wrong}");
        }
        let length = Ends { lasts: Some(HumanDuration(Duration::from_mins(5))), until: None };
        assert_eq!(length.lasts(now), Duration::from_mins(5));
    }
}
