//! A simulation as text: what it adds up to, a row a fault, and what it rests on. Pure.

use crate::prose::paragraph;
use crate::table::{count, table};
use crate::when::{instant, span, time_of_day};
use fettle_model::refusal::Reason;
use fettle_model::run::Ending;
use fettle_model::simulation::{
    Asked, Assume, EndedBy, Happened, Says, SimulatedDecision, SimulatedFault, Simulation, Summary,
};

/// The whole answer; `rules` are the edited ones by name.
pub(super) fn text(rules: &[String], simulation: &Simulation) -> String {
    let Simulation { from, begins, until, records, summary, .. } = simulation;
    let edited = if rules.is_empty() { "every rule that the edit touches".to_owned() } else { rules.join(", ") };
    let mut text = paragraph(
        0,
        &format!("{edited}, from {} to {}; {} replayed.", instant(*from), instant(*until), count(*records, "record")),
    );
    if begins > from {
        let missing = span(begins.since(*from));
        let line = format!("The log begins at {}, {missing} after that: its history is shorter.", instant(*begins));
        text.push_str(&paragraph(0, &line));
    }
    text.push_str(&summed_up(summary));
    for check in &simulation.quiet {
        text.push_str(&paragraph(0, &format!("{check} had no fault in that time.")));
    }
    if !simulation.faults.is_empty() {
        text.push('\n');
        text.push_str(&table(["CRITICAL AT", "HOST", "CHECK", "WOULD", "DID"], rows(&simulation.faults), ""));
    }
    let told = u64::try_from(simulation.faults.len()).unwrap_or(u64::MAX);
    if summary.faults > told {
        let more = count(summary.faults.saturating_sub(told), "more fault");
        text.push_str(&paragraph(0, &format!("Added up above, and not listed: {more}.")));
    }
    text.push_str(&rests_on(simulation));
    text
}

fn summed_up(summary: &Summary) -> String {
    let Summary { faults, runs, hosts, most_at_once, proposed, planned, withheld, refused, runs_then, hosts_then } =
        summary;
    let at_once = if *runs == 0 { String::new() } else { format!(", at most {most_at_once} at once") };
    let mut text = paragraph(
        0,
        &format!(
            "Of {} it would act {} on {}{at_once}. There were {} on {}.",
            count(*faults, "fault"),
            count(*runs, "time"),
            count(*hosts, "host"),
            count(*runs_then, "run"),
            count(*hosts_then, "host"),
        ),
    );
    let mut also: Vec<String> = refused.iter().map(|(rule, faults)| format!("{rule} {faults}")).collect();
    if !also.is_empty() {
        also = vec![format!("refused at least once by: {}", also.join(", "))];
    }
    for (faults, what) in
        [(proposed, "people would be asked"), (planned, "plan only"), (withheld, "the host could not run it")]
    {
        if *faults > 0 {
            also.push(format!("{what}: {faults}"));
        }
    }
    if !also.is_empty() {
        text.push_str(&paragraph(0, &format!("Faults {}.", also.join("; "))));
    }
    text
}

fn rows(faults: &[SimulatedFault]) -> Vec<[String; 5]> {
    let row = |fault: &SimulatedFault| {
        let made_up = match fault.asked {
            Asked::Then => "",
            Asked::Synthesised => " *",
        };
        [
            format!("{}{made_up}", instant(fault.at)),
            fault.host.to_string(),
            fault.check.to_string(),
            listed(fault.decisions.iter().map(would), fault.more_decisions),
            listed(fault.happened.iter().map(did), fault.more_happened),
        ]
    };
    faults.iter().map(row).collect()
}

fn listed(words: impl Iterator<Item = String>, more: u64) -> String {
    let mut words: Vec<String> = words.collect();
    if more > 0 {
        words.push(format!("{more} more"));
    }
    if words.is_empty() { "nothing".to_owned() } else { words.join("; ") }
}

fn times(number: u64) -> String {
    if number > 1 { format!(" {number} times") } else { String::new() }
}

fn would(decision: &SimulatedDecision) -> String {
    let at = time_of_day(decision.at);
    let at = at.split('.').next().unwrap_or(&at);
    match &decision.says {
        Says::Acts { ending, by, .. } => {
            let assumed = match by {
                EndedBy::Record { .. } => "",
                EndedBy::Assumption => " (assumed)",
            };
            format!("{at} {} {}{assumed}", decision.playbook, ending.as_str())
        }
        Says::Proposes => format!("{at} asks people about {}", decision.playbook),
        Says::Plans => format!("{at} plans {}", decision.playbook),
        Says::Withheld { .. } => format!("{at} the host cannot run {}", decision.playbook),
        Says::Refuses { reasons, times: number } => {
            let mut rules: Vec<&str> = reasons.iter().map(Reason::rule).collect();
            rules.dedup();
            format!("{at} refuses{}: {}", times(*number), rules.join(", "))
        }
    }
}

fn did(happened: &Happened) -> String {
    match happened {
        Happened::Granted { playbook, ending, .. } => {
            format!("{playbook} {}", ending.map_or("did not report", Ending::as_str))
        }
        Happened::Refused { rules, times: number, .. } => {
            let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
            format!("refused{}: {}", times(*number), rules.join(", "))
        }
        Happened::Withheld { .. } => "the host could not run it".to_owned(),
        Happened::Proposed { .. } => "people were asked".to_owned(),
    }
}

fn rests_on(simulation: &Simulation) -> String {
    let after = span(simulation.assumed_after);
    let assumed = match simulation.assumed {
        Assume::Succeeded => format!("is taken to have helped after {after}, the longest an effect takes"),
        Assume::Failed => format!("is taken to have failed after {after}, the longest an effect takes"),
    };
    let mut lines = vec![
        "A run of the same playbook for the same fault ends as it did then.".to_owned(),
        format!("A run that there was not {assumed} (\"assumed\"). `--assume` says which."),
        "Checks go as they went then, but for a fault that a run ends.".to_owned(),
        "The edit's playbooks count as admitted and proven from the beginning as they are today. It is on every host at \
         once. Nobody approves anything."
            .to_owned(),
    ];
    if simulation.faults.iter().any(|fault| fault.asked == Asked::Synthesised) {
        lines.push(
            "* Nobody asked about this fault then: the request is made up from the transition and from what the host said \
             is bound."
                .to_owned(),
        );
    }
    let lines: String = lines.iter().map(|line| paragraph(2, line)).collect();
    format!("\nThis rests on assumptions:\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::check::CheckRef;
    use fettle_model::counter::LogPosition;
    use fettle_model::escalation::Rung;
    use fettle_model::time::UnixMillis;
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("sound text")
    }

    const T: u64 = 1_795_731_481_000;

    fn check(check: &str) -> CheckRef {
        CheckRef { service: parsed("web"), check: parsed(check) }
    }

    fn decision(after: u64, says: Says) -> SimulatedDecision {
        SimulatedDecision { at: UnixMillis(T + after), rung: Rung::FIRST, playbook: parsed("restart-service"), says }
    }

    fn acts(ending: Ending, by: EndedBy) -> Says {
        Says::Acts { ending, ends: UnixMillis(T), by }
    }

    fn fault(host: &str, asked: Asked, decisions: Vec<SimulatedDecision>, happened: Vec<Happened>) -> SimulatedFault {
        SimulatedFault {
            host: parsed(host),
            environment: parsed("production"),
            check: check("http"),
            at: UnixMillis(T),
            position: LogPosition(40),
            remediation: parsed("restart-web"),
            asked,
            decisions,
            more_decisions: 0,
            happened,
            more_happened: 0,
        }
    }

    #[test]
    fn a_simulation_is_summed_up_listed_beside_what_happened_and_says_what_it_assumes() {
        let run = parsed("01890a5d-ac96-774b-bcce-b302099a8057");
        let reasons = vec![Reason::MaxAttempts { limit: 1, value: 1, began_with: None }];
        let granted =
            |ending| Happened::Granted { position: LogPosition(42), run, playbook: parsed("restart-service"), ending };
        let faults = vec![
            fault(
                "web-1",
                Asked::Then,
                vec![
                    decision(5, acts(Ending::Ineffective, EndedBy::Record { run })),
                    decision(60_000, Says::Refuses { reasons, times: 3 }),
                ],
                vec![
                    granted(Some(Ending::Ineffective)),
                    Happened::Refused {
                        position: LogPosition(44),
                        rules: BTreeSet::from(["cooldown".to_owned()]),
                        times: 1,
                    },
                    granted(None),
                ],
            ),
            fault(
                "web-2",
                Asked::Synthesised,
                vec![decision(5, acts(Ending::Succeeded, EndedBy::Assumption))],
                Vec::new(),
            ),
        ];
        let summary = Summary {
            faults: 3,
            runs: 2,
            hosts: 2,
            most_at_once: 1,
            refused: BTreeMap::from([("max-attempts".to_owned(), 1)]),
            runs_then: 2,
            hosts_then: 1,
            planned: 1,
            ..Summary::default()
        };
        let simulation = Simulation {
            from: UnixMillis(T - 86_400_000),
            begins: UnixMillis(T - 3_600_000),
            until: UnixMillis(T + 3_600_000),
            records: 120,
            assumed: Assume::Succeeded,
            assumed_after: Duration::from_mins(3),
            faults,
            quiet: vec![check("disk")],
            summary,
        };
        insta::assert_snapshot!(text(&["restart-web".to_owned()], &simulation));
        let none =
            Simulation { faults: Vec::new(), summary: Summary::default(), assumed: Assume::Failed, ..simulation };
        insta::assert_snapshot!("of_a_quiet_time", text(&[], &none));
    }
}
