//! `fettle break-glass`: a role for half an hour, which one person asks for and a second one opens.
//!
//! Both sign with their own keys; the second signs the digest of what the first signed, computed here from what is
//! shown here. Everybody sees it: whoever holds the role is told with every answer ([`warning`]).

use crate::answer::Answer;
use crate::connection::{Connection, unexpected};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Warning};
use crate::person::RoleName;
use crate::signed::sealed;
use crate::table::{or_dash, table};
use crate::when::{instant, instant_with_distance};
use clap::Subcommand;
use fettle_audit::envelope::Envelope;
use fettle_model::break_glass::{ASK_WAITS, BreakGlassAsked, BreakGlassOpened};
use fettle_model::id::BreakGlassId;
use fettle_model::identity::HeldRole;
use fettle_model::name::TeamName;
use fettle_model::record::{Author, Body, Record};
use fettle_model::time::UnixMillis;
use fettle_proto::operator::{BreakGlassNotice, BreakGlassRow, BreakGlassStanding, Command, Query, QueryReply};
use uuid::Uuid;

/// What to do with the glass.
#[derive(Debug, Subcommand)]
pub(crate) enum BreakGlassCommand {
    /// Ask for a role for half an hour, signed with your own key. A second person confirms it within ten minutes.
    ///
    /// It lets you do what the role does, but not give roles, trust publishers, set the configuration, resume what is
    /// stopped or lift a freeze; and no stop, freeze, budget, evidence or ceiling of a host gives way to it.
    Ask {
        /// The role.
        #[arg(value_enum)]
        role: RoleName,
        /// Only for the services of this team: operator, approver, incident-commander.
        #[arg(long, value_name = "TEAM")]
        team: Option<TeamName>,
        /// Why; one line that goes into the log.
        #[arg(long, visible_alias = "reason", value_name = "TEXT")]
        why: String,
    },
    /// Confirm somebody else's ask, signed with your own key: they hold the role from then on, for half an hour.
    ///
    /// For approvers, incident commanders and administrators, none of whom registered, or was registered by, who asks.
    Confirm {
        /// The ask; see `fettle break-glass list`.
        ask: BreakGlassId,
    },
    /// End it before its time, or withdraw an ask.
    Close {
        /// The ask; see `fettle break-glass list`.
        ask: BreakGlassId,
        /// Why; one line that goes into the log.
        #[arg(long, visible_alias = "reason", value_name = "TEXT")]
        why: String,
    },
    /// Show who asked, what waits, and for whom the glass is broken.
    List,
}

/// Carries the command out.
///
/// # Errors
/// As the control plane and the connection say; when the profile has no signing key, or nothing is asked there.
pub(crate) async fn run(command: BreakGlassCommand, context: &Context) -> Result<Answer, Failure> {
    match command {
        BreakGlassCommand::Ask { role, team, why } => ask(HeldRole { role: role.into(), team }, why, context).await,
        BreakGlassCommand::Confirm { ask } => confirm(ask, context).await,
        BreakGlassCommand::Close { ask, why } => {
            let text = format!("the ask {ask} is closed: nobody holds a role by it any more");
            context.connect().await?.carry_out(&Command::CloseBreakGlass { ask, why }, &text).await
        }
        BreakGlassCommand::List => {
            let asks = asks(&mut context.connect().await?).await?;
            let text = list(&asks, context.now);
            Answer::new(&QueryReply::BreakGlass { asks }, text)
        }
    }
}

async fn ask(held: HeldRole, why: String, context: &Context) -> Result<Answer, Failure> {
    let profile = context.load_profile()?;
    let ask = fresh();
    let text = format!(
        "asked to be {held}; a second person confirms it within {} minutes: fettle break-glass confirm {ask}",
        ASK_WAITS.as_secs() / 60
    );
    let HeldRole { role, team } = held;
    let asked = BreakGlassAsked { ask, role, team, why, expires_at: context.now.plus(ASK_WAITS) };
    let record = sealed(&profile, Body::BreakGlassAsked(Box::new(asked)), context.now)?;
    let mut connection = Connection::open(&profile, context.format).await?;
    connection.carry_out(&Command::AskBreakGlass { record }, &text).await
}

#[expect(clippy::disallowed_methods, reason = "the rim: whoever asks names the ask, because they sign its name")]
fn fresh() -> BreakGlassId {
    BreakGlassId::from_uuid(Uuid::new_v4())
}

async fn confirm(ask: BreakGlassId, context: &Context) -> Result<Answer, Failure> {
    let profile = context.load_profile()?;
    let mut connection = Connection::open(&profile, context.format).await?;
    let row = asks(&mut connection).await?.into_iter().find(|row| row.ask == ask);
    let Some(record) = row.and_then(|row| row.record) else {
        let message = format!("no ask {ask} waits");
        return Err(Failure::new(Exit::NotFound, message, "see: fettle break-glass list"));
    };
    let malformed = |what: &str| Failure::internal(format!("the control plane's ask {ask} is {what}"));
    let envelope = Envelope::parse(record.into_bytes()).map_err(|_| malformed("no envelope"))?;
    let asked: Record = serde_json::from_slice(envelope.unverified_payload()).map_err(|_| malformed("no record"))?;
    let (Author::Person { person }, Body::BreakGlassAsked(of)) = (&asked.author, &asked.body) else {
        return Err(malformed("another record"));
    };
    if of.ask != ask {
        return Err(malformed("another ask"));
    }
    let text = format!("{person} is {} for half an hour, for this reason: {}", of.held(), of.why);
    let opened = BreakGlassOpened { ask, asked: envelope.digest() };
    let record = sealed(&profile, Body::BreakGlassOpened(Box::new(opened)), context.now)?;
    connection.carry_out(&Command::ConfirmBreakGlass { ask, record }, &text).await
}

/// The newest asks.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn asks(connection: &mut Connection) -> Result<Vec<BreakGlassRow>, Failure> {
    let QueryReply::BreakGlass { asks } = connection.query(&Query::BreakGlass).await? else {
        return unexpected("break-glass asks");
    };
    Ok(asks)
}

/// Who holds what by it, until when, by whose confirmation.
pub(crate) fn holds(row: &BreakGlassRow, now: UnixMillis) -> String {
    let until = match row.standing {
        BreakGlassStanding::Open { until } => format!(" until {}", instant_with_distance(until, now)),
        BreakGlassStanding::Waiting { .. }
        | BreakGlassStanding::Expired
        | BreakGlassStanding::Over
        | BreakGlassStanding::Closed => String::new(),
    };
    format!("{} is {}{until}, confirmed by {}", row.person, row.role, or_dash(row.confirmed_by.as_ref()))
}

/// What is said beside every answer to whoever holds a role by broken glass.
pub(crate) fn warning(notice: &BreakGlassNotice) -> Warning {
    let BreakGlassNotice { ask, role, until, confirmed_by } = notice;
    Warning {
        message: format!(
            "GLASS IS BROKEN: you are {role} until {}, confirmed by {confirmed_by}; everybody sees what you do",
            instant(*until)
        ),
        remedy: format!("end it as soon as you are done: fettle break-glass close {ask} --why done"),
    }
}

fn list(asks: &[BreakGlassRow], now: UnixMillis) -> String {
    let rows = asks.iter().map(|row| {
        let standing = match row.standing {
            BreakGlassStanding::Waiting { expires_at } => {
                format!("waits until {}", instant_with_distance(expires_at, now))
            }
            BreakGlassStanding::Expired => "expired".to_owned(),
            BreakGlassStanding::Open { until } => format!("OPEN until {}", instant_with_distance(until, now)),
            BreakGlassStanding::Over => "over".to_owned(),
            BreakGlassStanding::Closed => "closed".to_owned(),
        };
        let confirmed_by = or_dash(row.confirmed_by.as_ref());
        [row.ask.to_string(), row.person.to_string(), row.role.to_string(), standing, confirmed_by, row.why.clone()]
    });
    let header = ["ASK", "BY", "ROLE", "STANDING", "CONFIRMED BY", "WHY"];
    table(header, rows.collect(), "nobody has asked to break the glass")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::counter::LogPosition;
    use fettle_model::identity::Role;

    fn row(standing: BreakGlassStanding) -> BreakGlassRow {
        let confirmed = matches!(standing, BreakGlassStanding::Open { .. } | BreakGlassStanding::Over);
        BreakGlassRow {
            ask: "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id"),
            person: "ann".parse().expect("a name"),
            role: HeldRole { role: Role::Operator, team: Some("payments".parse().expect("a name")) },
            why: "nobody of payments answers".to_owned(),
            position: LogPosition(7),
            asked_at: UnixMillis(1_795_731_481_000),
            confirmed_by: confirmed.then(|| "ben".parse().expect("a name")),
            standing,
            record: None,
        }
    }

    #[test]
    fn a_list_says_who_asked_for_what_and_how_it_stands() {
        let now = UnixMillis(1_795_731_481_000);
        let later = UnixMillis(now.0 + 600_000);
        let rows = [
            row(BreakGlassStanding::Waiting { expires_at: later }),
            row(BreakGlassStanding::Open { until: later }),
            row(BreakGlassStanding::Over),
            row(BreakGlassStanding::Expired),
            row(BreakGlassStanding::Closed),
        ];
        insta::assert_snapshot!(list(&rows, now));
        assert_eq!(list(&[], now), "nobody has asked to break the glass\n");
    }

    #[test]
    fn whoever_holds_a_role_by_it_is_told_until_when_and_how_it_ends() {
        let ask = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id");
        let (until, confirmed_by) = (UnixMillis(1_795_731_481_000), "ben".parse().expect("a name"));
        let told = warning(&BreakGlassNotice { ask, role: Role::Operator.into(), until, confirmed_by }).to_string();
        for part in ["GLASS IS BROKEN: you are operator until 2026-11-26", "by ben", "fettle break-glass close 01890"] {
            assert!(told.contains(part), "{told}");
        }
    }
}
