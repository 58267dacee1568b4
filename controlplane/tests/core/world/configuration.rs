//! The configuration of a world, and how it reaches its agents.

use super::*;

impl World {
    /// The configuration that `guard`, `modes` and the other fields make.
    fn declared(&self) -> Declared {
        let remediation = Remediation {
            name: "restart-web".parse().expect("a name"),
            service: web().service,
            check: web().check,
            playbook: version(self.answered_by, self.playbook.0),
            parameters: self.playbook.1.clone(),
            modes: self.modes.iter().map(|(name, mode)| (name.parse().expect("a name"), *mode)).collect(),
            guard: self.guard.clone(),
            escalation: self.escalation.clone(),
            offline: self.offline.clone(),
        };
        Declared {
            services: vec![service()],
            remediations: vec![remediation],
            breakers: self.limits.clone(),
            freezes: self.freezes.clone(),
            schedules: self.schedules.clone(),
            rollout: self.rollout.clone(),
            promotion: self.promotion,
        }
    }

    /// Sets it, and waits until every agent holds it.
    pub(crate) fn configure(&mut self) -> Outcome {
        let outcome = self.apply_by("alice");
        self.roll_out();
        outcome
    }

    /// Somebody sets it, and no agent has heard of it.
    pub(crate) fn apply_by(&mut self, by: &str) -> Outcome {
        let replaces = self.core.state().configuration().generation();
        let declared = Box::new(self.declared());
        self.person_by(by, PersonRequest::SetConfiguration { declared, replaces })
    }

    /// Every agent is connected and holds what it gets, until no rollout is under way.
    pub(crate) fn roll_out(&mut self) {
        self.roll_on();
        assert!(self.core.state().rollout().is_none(), "the rollout stands still");
    }

    /// The same, or until nothing of it goes on.
    pub(crate) fn roll_on(&mut self) {
        while self.core.state().rollout().is_some() {
            self.all_hold();
            self.advance(self.core.state().configuration().rollout().soak);
            let rings = self.count(|body| matches!(body, Body::RolloutAdvanced(_)));
            self.tick();
            if self.count(|body| matches!(body, Body::RolloutAdvanced(_))) == rings {
                break;
            }
        }
        self.senses.held = Arc::default();
    }

    /// Every agent is connected, and holds what has reached its host.
    pub(crate) fn all_hold(&mut self) {
        let state = self.core.state();
        let hold =
            |host: &Host| InForce { generation: state.configuration_of(host).generation(), since: self.now.wall };
        self.senses.held = Arc::new(state.hosts().map(|host| (host.id, hold(host))).collect());
    }

    pub(crate) fn guarded(&mut self, change: impl FnOnce(&mut Guard)) {
        change(&mut self.guard);
        assert_eq!(self.configure(), Outcome::Done);
    }
}
