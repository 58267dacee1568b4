//! `fettle promotion`: what has earned to be trusted further, and what is still lacking.

use crate::answer::Answer;
use crate::connection::{Connection, unexpected};
use crate::context::Context;
use crate::failure::Failure;
use crate::prose::paragraph;
use crate::table::count;
use clap::Subcommand;
use fettle_model::promotion::{PromotionOf, PromotionRow};
use fettle_model::remediation::Mode;
use fettle_proto::operator::{Query, QueryReply};

/// What to do with promotions.
#[derive(Debug, Subcommand)]
pub(crate) enum PromotionCommand {
    /// Show what has earned its next mode, by what, and the key to change; and how far the others are.
    ///
    /// Nothing is promoted by itself: change the key and run `fettle apply`.
    List,
}

/// Carries the command out.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn run(command: PromotionCommand, context: &Context) -> Result<Answer, Failure> {
    match command {
        PromotionCommand::List => {
            let promotions = promotions(&mut context.connect().await?).await?;
            let text = list(&promotions);
            Answer::new(&QueryReply::Promotions { promotions }, text)
        }
    }
}

/// How far everything is that is being earned.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn promotions(connection: &mut Connection) -> Result<Vec<PromotionRow>, Failure> {
    let QueryReply::Promotions { promotions } = connection.query(&Query::Promotions).await? else {
        return unexpected("promotions");
    };
    Ok(promotions)
}

fn list(rows: &[PromotionRow]) -> String {
    if rows.is_empty() {
        return "nothing is being earned: no run was approved, and no plan made in mode observe\n".to_owned();
    }
    rows.iter().map(told).collect()
}

fn told(row: &PromotionRow) -> String {
    let earned = u32::try_from(row.earned_by.len()).unwrap_or(u32::MAX);
    let (from, to) = (row.with.mode.as_str(), row.to.as_str());
    let head = match row.proposed {
        Some(position) => format!("{}: {from} to {to} is proposed (log position {position}).", place(&row.of)),
        None => format!("{}: {earned} of {} towards {to}.", place(&row.of), row.after),
    };
    let mut text = paragraph(0, &head);
    let what = match row.with.mode {
        Mode::Observe => "plan",
        Mode::Approve | Mode::Auto => "run",
    };
    if !row.earned_by.is_empty() {
        let positions: Vec<String> = row.earned_by.iter().map(ToString::to_string).collect();
        let by = format!(
            "Earned by {} of {} {}, at log {} {}.",
            count(u64::from(earned), what),
            row.with.playbook.name,
            row.with.playbook.digest.short(),
            if positions.len() == 1 { "position" } else { "positions" },
            positions.join(", ")
        );
        text.push_str(&paragraph(2, &by));
    }
    if row.proposed.is_some() {
        let table = if row.of.rung.is_first() {
            format!("[[remediation]] {}", row.of.remediation)
        } else {
            format!("[[remediation.then]] of rung {} of {}", row.of.rung, row.of.remediation)
        };
        let key = format!(
            "To promote it, a person sets modes.{} = \"{to}\" in {table}, and runs `fettle apply`.",
            row.of.environment
        );
        text.push_str(&paragraph(2, &key));
        return text;
    }
    let lacking = row.after.saturating_sub(earned);
    let proving = match row.proving {
        0 => String::new(),
        some => format!(" {} succeeded and must hold for the guard's healthy-for first.", count(u64::from(some), what)),
    };
    text.push_str(&paragraph(2, &format!("Lacking: {}.{proving}", count(u64::from(lacking), what))));
    if let Some(position) = row.set_back {
        text.push_str(&paragraph(2, &format!("Set back to nothing by log position {position}.")));
    }
    text
}

/// Of what, and where, in words.
pub(crate) fn place(of: &PromotionOf) -> String {
    let rung = if of.rung.is_first() { String::new() } else { format!(", rung {}", of.rung) };
    format!("{}{rung} in {}", of.remediation, of.environment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::counter::LogPosition;
    use fettle_model::digest::{DocumentDigest, PlaybookDigest};
    use fettle_model::escalation::Rung;
    use fettle_model::promotion::EarnedWith;
    use fettle_model::remediation::PlaybookVersion;

    fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("sound text")
    }

    #[test]
    fn what_is_proposed_comes_with_its_key_and_what_is_not_with_what_it_lacks() {
        let with = EarnedWith {
            mode: Mode::Approve,
            playbook: PlaybookVersion { name: parsed("restart-service"), digest: PlaybookDigest::of(b"package") },
            parameters: DocumentDigest::of(b"{}"),
        };
        let of =
            PromotionOf { remediation: parsed("restart-web"), rung: Rung::FIRST, environment: parsed("production") };
        let lacking = PromotionRow {
            of,
            with,
            to: Mode::Auto,
            after: 3,
            earned_by: vec![LogPosition(40)],
            proving: 1,
            set_back: Some(LogPosition(31)),
            proposed: None,
        };
        let earned_by = vec![LogPosition(40), LogPosition(52), LogPosition(61)];
        let proposed = PromotionRow { proposed: Some(LogPosition(77)), earned_by, ..lacking.clone() };
        insta::assert_snapshot!(list(&[lacking, proposed]));
    }
}
