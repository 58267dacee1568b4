//! A request that an agent did not make, as sentences: what hinders the host, and what clears it. Pure.

use crate::prose::paragraph;
use crate::when::instant_with_distance;
use fettle_model::counter::LogPosition;
use fettle_model::permit::Purpose;
use fettle_model::time::UnixMillis;
use fettle_model::withheld::{Hindrance, Lack, RequestWithheld, Unbound};

pub(super) fn withheld(said: &RequestWithheld, position: LogPosition, at: UnixMillis, now: UnixMillis) -> String {
    let about = match &said.purpose {
        Purpose::Remediate { epoch, .. } => format!("transition {epoch}"),
        Purpose::Offline { check, .. } => format!("a budget in advance for {check}"),
        Purpose::InjectFault { drill, .. } | Purpose::Repeat { drill, .. } => format!("drill {drill}"),
    };
    let mut text = paragraph(
        0,
        &format!(
            "Automation did not act: nobody was asked for a permit about {about}. The host cannot run {} ({}), as its \
             agent said at log position {position}, {}:",
            said.playbook.name,
            said.playbook.digest.short(),
            instant_with_distance(at, now)
        ),
    );
    for hindrance in said.because.iter() {
        text.push_str(&paragraph(2, &hindered(hindrance)));
    }
    text.push_str(&paragraph(0, "The agent asks by itself when nothing of this hinders it any more."));
    text
}

/// The hindrance, and what clears it.
pub(super) fn hindered(hindrance: &Hindrance) -> String {
    format!("{}: {} {}", hindrance.rule(), what(hindrance), cleared_by(hindrance))
}

fn what(hindrance: &Hindrance) -> String {
    match hindrance {
        Hindrance::LogForked => "the agent saw the log fork, and only observes since.".to_owned(),
        Hindrance::PublisherUntrusted { publisher } => {
            format!("it is signed by {publisher}, and by nobody whom the host's owner trusts.")
        }
        Hindrance::PlaybookNotReady { lacks } => match lacks {
            Lack::Admission => "the agent had not been told of it yet.",
            Lack::Package => "the agent had not fetched its package yet.",
            Lack::Compilation => "it was not compiled there yet.",
        }
        .to_owned(),
        Hindrance::PlaybookUnusable { why } => format!("it cannot be used there: {}.", why.trim_end_matches('.')),
        Hindrance::Unbound { label, how: Unbound::Nothing } => {
            format!("nothing is bound to its label {label}, and no one thing of the service fits it.")
        }
        Hindrance::Unbound { label, how: Unbound::OtherKind } => {
            format!("what is bound to its label {label} is of another kind than it asks for.")
        }
    }
}

const fn cleared_by(hindrance: &Hindrance) -> &'static str {
    match hindrance {
        Hindrance::LogForked => "Cleared by enrolling the host anew, once it is known which log is the true one.",
        Hindrance::PublisherUntrusted { .. } => "Cleared by the host's owner: a [[publisher]] in agent.toml.",
        Hindrance::PlaybookNotReady { .. } => "Clears by itself.",
        Hindrance::PlaybookUnusable { .. } => {
            "Cleared by a version that can be (`fettle playbook publish`, `fettle apply`); where the host was at \
             fault, by starting its agent again."
        }
        Hindrance::Unbound { .. } => "Cleared by the host's owner: a [[bind]] in agent.toml.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::check::CheckRef;
    use fettle_model::counter::{ConfigurationGeneration, TransitionEpoch};
    use fettle_model::digest::PlaybookDigest;
    use fettle_model::escalation::Rung;
    use fettle_model::id::DrillId;
    use fettle_model::remediation::PlaybookVersion;
    use fettle_model::withheld::Hindrances;

    fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("sound text")
    }

    fn said(because: Vec<Hindrance>) -> RequestWithheld {
        let check = CheckRef { service: parsed("web"), check: parsed("http") };
        RequestWithheld {
            purpose: Purpose::Remediate {
                check,
                epoch: TransitionEpoch(7),
                remediation: parsed("restart-web"),
                rung: Rung::FIRST,
            },
            playbook: PlaybookVersion { name: parsed("restart-service"), digest: PlaybookDigest::of(b"package") },
            configuration: ConfigurationGeneration(4),
            because: Hindrances::first_of(because).expect("there are some"),
        }
    }

    fn told(said: &RequestWithheld) -> String {
        withheld(said, LogPosition(512), UnixMillis(1_795_731_301_000), UnixMillis(1_795_731_481_000))
    }

    #[test]
    fn every_hindrance_says_its_data_and_what_clears_it() {
        let not_ready = |lacks| Hindrance::PlaybookNotReady { lacks };
        let all = vec![
            Hindrance::LogForked,
            Hindrance::PublisherUntrusted { publisher: parsed("acme") },
            not_ready(Lack::Admission),
            not_ready(Lack::Package),
            not_ready(Lack::Compilation),
            Hindrance::PlaybookUnusable { why: "its manifest is not the admitted one".to_owned() },
            Hindrance::Unbound { label: parsed("worker"), how: Unbound::Nothing },
            Hindrance::Unbound { label: parsed("flag"), how: Unbound::OtherKind },
        ];
        insta::assert_snapshot!(told(&said(all)));
    }

    #[test]
    fn a_drills_fault_that_was_not_asked_for_is_told_as_that() {
        let drill: DrillId = parsed("00000000-0000-4000-8000-000000000009");
        let fault = fettle_model::evidence::Fault {
            kind: fettle_model::evidence::FaultKind::StopService,
            on: parsed("worker"),
        };
        let said =
            RequestWithheld { purpose: Purpose::InjectFault { drill, fault }, ..said(vec![Hindrance::LogForked]) };
        let told = told(&said);
        let words: Vec<&str> = told.split_whitespace().collect();
        assert!(words.join(" ").contains(&format!("a permit about drill {drill}.")), "{told}");
    }
}
