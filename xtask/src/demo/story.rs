//! The demo's script, as data: which hosts, which drills, which faults. Performed by [`super::perform`].

use crate::stage::HostPlan;

/// The hosts: one to prove playbooks on, two to keep alive.
pub(super) const HOSTS: [HostPlan; 3] = [
    HostPlan { name: "web-staging", environment: "staging", drills: "allowed" },
    HostPlan { name: "web-1", environment: "production", drills: "refused" },
    HostPlan { name: "web-2", environment: "production", drills: "refused" },
];

/// Where the drills run.
pub(super) const STAGING: &str = "web-staging";

/// A drill: this playbook must heal its declared fault, as this remediation uses it.
#[derive(Debug, Clone, Copy)]
pub(super) struct DrillPlan {
    pub(super) playbook: &'static str,
    pub(super) remediation: &'static str,
}

/// The drills.
pub(super) const DRILLS: [DrillPlan; 3] = [
    DrillPlan { playbook: "restart-service", remediation: "restart-shop" },
    DrillPlan { playbook: "rollback-release", remediation: "roll-back-shop" },
    DrillPlan { playbook: "disable-flag", remediation: "disable-checkout" },
];

/// A way to break a host's service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// SIGKILL to its process.
    Kill,
    /// The symlink `current` leads to a release that answers 500.
    BadRelease,
    /// The flag of the feature that fails is turned on.
    FlagOn,
}

/// A fault in production, and where it shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct FaultPlan {
    pub(super) host: &'static str,
    pub(super) fault: Fault,
    /// For people.
    pub(super) title: &'static str,
    /// The check that it turns critical.
    pub(super) check: &'static str,
    /// The page that customers find broken.
    pub(super) page: &'static str,
    /// What heals it.
    pub(super) playbook: &'static str,
}

/// The faults, one after the other.
pub(super) const FAULTS: [FaultPlan; 3] = [
    FaultPlan {
        host: "web-1",
        fault: Fault::Kill,
        title: "kill -9 of the service",
        check: "process",
        page: "/",
        playbook: "restart-service",
    },
    FaultPlan {
        host: "web-2",
        fault: Fault::BadRelease,
        title: "activation of a release that answers 500",
        check: "release",
        page: "/healthz",
        playbook: "rollback-release",
    },
    FaultPlan {
        host: "web-1",
        fault: Fault::FlagOn,
        title: "a feature flag whose feature fails is turned on",
        check: "checkout",
        page: "/checkout",
        playbook: "disable-flag",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_hits_a_production_host_and_its_playbook_is_drilled_before() {
        for fault in FAULTS {
            assert!(HOSTS.iter().any(|host| host.name == fault.host && host.environment == "production"), "{fault:?}");
            assert!(DRILLS.iter().any(|drill| drill.playbook == fault.playbook), "{fault:?}");
        }
    }
}
