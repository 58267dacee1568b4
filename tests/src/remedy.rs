//! The standard playbooks as the sites use them: each with a service, a check and a remediation of its
//! own, so that one fault turns one check critical.

use crate::operator::Operator;
use crate::programs;
use crate::shop::{BAD, GOOD, Shop};
use anyhow::{Context as _, ensure};
use std::path::{Path, PathBuf};

/// A standard playbook, with what it mends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// A service that does not run is restarted.
    Restart,
    /// A release that answers 500 is rolled back.
    Rollback,
    /// A feature that fails is turned off.
    Disable,
}

/// How patient the playbooks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As they are shipped.
    AsShipped,
    /// The same components under a manifest that is content with a shorter time of health, for tests
    /// with dozens of runs.
    Quick,
}

impl Remedy {
    /// All.
    pub const ALL: [Self; 3] = [Self::Restart, Self::Rollback, Self::Disable];

    /// The playbook.
    #[must_use]
    pub const fn playbook(self) -> &'static str {
        match self {
            Self::Restart => "restart-service",
            Self::Rollback => "rollback-release",
            Self::Disable => "disable-flag",
        }
    }

    /// The service.
    #[must_use]
    pub const fn service(self) -> &'static str {
        match self {
            Self::Restart => "till",
            Self::Rollback => "shop",
            Self::Disable => "basket",
        }
    }

    /// The check.
    #[must_use]
    pub const fn check(self) -> &'static str {
        match self {
            Self::Restart => "answers",
            Self::Rollback => "release",
            Self::Disable => "feature",
        }
    }

    /// The check as the command line names it.
    #[must_use]
    pub fn check_ref(self) -> String {
        format!("{}/{}", self.service(), self.check())
    }

    /// The remediation.
    #[must_use]
    pub fn remediation(self) -> String {
        format!("mend-{}", self.service())
    }

    const fn probe(self) -> &'static str {
        match self {
            Self::Restart => "kind = \"tcp\"\naddress = \"{host.address}\"",
            Self::Rollback => "kind = \"http\"\nurl = \"http://{host.address}/healthz\"",
            Self::Disable => "kind = \"http\"\nurl = \"http://{host.address}/healthz/feature\"",
        }
    }

    /// The service and its check.
    #[must_use]
    pub fn service_toml(self) -> String {
        format!(
            "[[service]]\nname = \"{}\"\nowner = \"tests\"\ntier = 1\n\
             hosts = {{ environments = [\"staging\", \"production\"] }}\n\n\
             [[service.check]]\nname = \"{}\"\n{}\ninterval = \"100ms\"\ntimeout = \"5s\"\n\
             fail-after = 1\nrecover-after = 1\n\n",
            self.service(),
            self.check(),
            self.probe(),
        )
    }

    /// The remediation, by this playbook.
    #[must_use]
    pub fn remediation_toml(self, playbook: &str, guard: &str) -> String {
        format!(
            "[[remediation]]\nname = \"{}\"\nservice = \"{}\"\ncheck = \"{}\"\nplaybook = \"{playbook}\"\n\
             modes = {{ staging = \"auto\", production = \"auto\" }}\nguard = {guard}\n\n",
            self.remediation(),
            self.service(),
            self.check(),
        )
    }

    /// The folder of the playbook's scenarios.
    #[must_use]
    pub fn scenarios(self) -> PathBuf {
        programs::repository(&format!("playbooks/{}/scenarios", self.playbook()))
    }

    /// Packs the playbook; returns the package.
    pub fn pack(self, operator: &Operator, pace: Pace, folder: &Path) -> anyhow::Result<PathBuf> {
        let shipped = programs::repository(&format!("playbooks/{}/playbook.toml", self.playbook()));
        let text = std::fs::read_to_string(&shipped).with_context(|| format!("read {}", shipped.display()))?;
        let text = match pace {
            Pace::AsShipped => text,
            Pace::Quick => {
                const PATIENT: &str = "stable = \"2s\"";
                ensure!(text.contains(PATIENT), "{} has no {PATIENT}", shipped.display());
                text.replace(PATIENT, "stable = \"200ms\"")
            }
        };
        let manifest = folder.join(format!("{}.toml", self.playbook()));
        std::fs::write(&manifest, text).context("write a manifest")?;
        operator.pack(&programs::component(self.playbook())?, &manifest)
    }

    /// Breaks the service in the way that this remedy mends.
    pub fn break_it(self, shop: &Shop) -> anyhow::Result<()> {
        match self {
            Self::Restart => shop.kill(),
            Self::Rollback => shop.activate(BAD),
            Self::Disable => shop.set_flag("on"),
        }
    }

    /// Whether the service is as it should be.
    pub fn is_mended(self, shop: &Shop) -> anyhow::Result<bool> {
        Ok(match self {
            Self::Restart => shop.get("/") == Some(200),
            Self::Rollback => shop.get("/healthz") == Some(200) && shop.current()? == GOOD,
            Self::Disable => shop.get("/healthz/feature") == Some(200),
        })
    }

    /// How many effects of this remedy were witnessed.
    pub fn witnessed(self, shop: &Shop) -> anyhow::Result<usize> {
        match self {
            Self::Restart => shop.starts(),
            Self::Rollback => shop.activations(),
            Self::Disable => shop.flaggings(),
        }
    }
}
