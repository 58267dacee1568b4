//! Drills, from their start to any of their stages.

use super::*;
use fettle_model::escalation::Rung;
use fettle_model::playbook::Action;
use fettle_model::run::StepIntended;

impl World {
    pub(crate) fn start_drill(&mut self, host: HostId) -> (DrillId, Outcome) {
        let drill = DrillId::from_uuid(self.mint());
        let outcome =
            self.person(PersonRequest::StartDrill { drill, host, check: web(), fault: fault(), rung: Rung::FIRST });
        (drill, outcome)
    }

    pub(crate) fn ask_to_inject(&mut self, host: HostId, drill: DrillId) -> Answer {
        self.ask_with(host, |request| {
            request.purpose = Purpose::InjectFault { drill, fault: fault() };
            request.playbook = None;
            request.targets.retain(|target| target.label == fault().on);
        })
    }

    /// A drill from its start to the healing permit.
    pub(crate) fn drill_to_healing(&mut self, host: HostId) -> Permit {
        self.drill_to_fault(host);
        self.ask(host).expect("the healing is permitted")
    }

    /// A drill up to the critical transition.
    pub(crate) fn drill_to_fault(&mut self, host: HostId) {
        let (drill, outcome) = self.start_drill(host);
        assert_eq!(outcome, Outcome::Done);
        let injection = self.ask_to_inject(host, drill).expect("the injection is permitted");
        self.end(&injection, Ending::Succeeded);
        self.becomes(host, Status::Critical);
    }

    /// A drill up to its first stage: the fault is healed.
    pub(crate) fn drill_to_healed(&mut self, host: HostId) -> DrillId {
        let healing = self.drill_to_healing(host);
        self.becomes(host, Status::Passing);
        self.end(&healing, Ending::Succeeded);
        healing.drill.expect("of a drill")
    }

    pub(crate) fn ask_to_repeat(&mut self, host: HostId, drill: DrillId) -> Answer {
        self.ask_with(host, |request| {
            let remediation = match &request.purpose {
                Purpose::Remediate { remediation, .. } => remediation.clone(),
                other => unreachable!("{other:?}"),
            };
            request.purpose = Purpose::Repeat { drill, check: web(), remediation };
        })
    }

    /// A drill up to its second stage: the playbook changed nothing where nothing was wrong.
    pub(crate) fn drill_to_repeated(&mut self, host: HostId) -> DrillId {
        let drill = self.drill_to_healed(host);
        let repetition = self.ask_to_repeat(host, drill).expect("the second run is permitted");
        self.end(&repetition, Ending::Succeeded);
        drill
    }

    /// A drill up to the permit of the run that is to be killed.
    pub(crate) fn drill_to_killing(&mut self, host: HostId) -> Permit {
        let drill = self.drill_to_repeated(host);
        let injection = self.ask_to_inject(host, drill).expect("the fault is injected once more");
        self.end(&injection, Ending::Succeeded);
        self.becomes(host, Status::Critical);
        let healing = self.ask(host).expect("the healing is permitted");
        self.announce(host, &healing, 1);
        healing
    }

    /// An agent is about to take a step that nothing takes back.
    pub(crate) fn announce(&mut self, by: HostId, permit: &Permit, number: u32) {
        let intent = StepIntended {
            run: permit.run,
            permit: permit.permit,
            number,
            action: Some(Action::Restart),
            label: fault().on,
            arguments: String::new(),
            intended_at: self.now.wall,
        };
        assert_eq!(self.say(by, Body::StepIntended(Box::new(intent))), Outcome::Done);
    }

    /// The record of a run that was killed in the middle and finished.
    pub(crate) fn resumed(&self, permit: &Permit, ending: Ending) -> RunRecord {
        let mut report = self.report(permit, ending);
        report.resumed = 1;
        let worker = permit.targets.iter().find(|target| target.label == fault().on);
        report.steps.push(Step {
            number: 1,
            action: *worker.and_then(|target| target.actions.first()).expect("a permitted action"),
            label: fault().on,
            arguments: String::new(),
            intended_at: self.now.wall,
            outcome: StepOutcome::Done { change: Change::Made, undo: UndoClass::None },
        });
        report
    }

    pub(crate) fn drill_through(&mut self, host: HostId) {
        let killed = self.drill_to_killing(host);
        self.becomes(host, Status::Passing);
        let report = self.resumed(&killed, Ending::Succeeded);
        assert_eq!(self.say(host, Body::RunEnded(Box::new(report))), Outcome::Done);
    }
}
