//! What the command line answers with `--json`, as far as the demo and the bench need it.
//!
//! Only the fields that are used are named; the rest of each document is left out of account.

use super::Operator;
use anyhow::Context as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Most records that one question is answered with.
const MAX_ROWS: &str = "1000";

/// A host.
#[derive(Debug, Clone, Deserialize)]
pub struct HostRow {
    /// Its name.
    pub name: String,
    /// Whether its agent has a session.
    pub connection: Connection,
}

/// Whether an agent has a session.
#[derive(Debug, Clone, Deserialize)]
pub struct Connection {
    is: String,
}

impl Connection {
    /// It has.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.is == "connected"
    }
}

#[derive(Debug, Clone, Deserialize)]
struct ServiceRow {
    checks: Vec<CheckRow>,
}

/// A check on a host.
#[derive(Debug, Clone, Deserialize)]
pub struct CheckRow {
    /// The host.
    pub host: String,
    /// The check.
    pub check: String,
    /// Its status, once it has one.
    pub status: Option<String>,
    /// Why.
    pub reason: String,
}

impl CheckRow {
    /// Whether it passes.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.status.as_deref() == Some("passing")
    }
}

/// Why automation did or did not act on a check.
#[derive(Debug, Clone, Deserialize)]
pub struct Why {
    /// The check as it stands.
    pub check: CheckRow,
    /// The newest decision.
    pub decision: Option<Decision>,
}

/// A decision.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "was")]
pub enum Decision {
    /// A permit was granted.
    Granted {
        /// Its run.
        run: RunRow,
        /// Where in the log.
        position: u64,
    },
    /// It was refused.
    Refused {
        /// Where in the log.
        position: u64,
    },
}

/// A run in a list.
#[derive(Debug, Clone, Deserialize)]
pub struct RunRow {
    /// Its id.
    pub run: String,
    /// How it stands.
    pub state: RunState,
}

/// How a run stands.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum RunState {
    /// Its permit is out.
    InFlight,
    /// It ended.
    Ended {
        /// How.
        ending: String,
        /// When, in milliseconds since 1970.
        at: u64,
    },
    /// The agent refused the permit.
    Rejected {
        /// Why.
        because: Value,
    },
    /// It never reported.
    Unresolved,
}

/// A record in a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LogRow {
    /// Where.
    pub position: u64,
    /// Its kind.
    pub kind: String,
    /// When its author wrote it, in milliseconds since 1970.
    pub at: u64,
    /// Who.
    pub author: String,
    /// What, in one line.
    pub summary: String,
}

/// All hosts.
pub fn hosts(operator: &Operator) -> anyhow::Result<Vec<HostRow>> {
    field(operator.json(&["host", "list"])?, "hosts")
}

/// All checks on all hosts.
pub fn checks(operator: &Operator) -> anyhow::Result<Vec<CheckRow>> {
    let services: Vec<ServiceRow> = field(operator.json(&["service", "list"])?, "services")?;
    Ok(services.into_iter().flat_map(|service| service.checks).collect())
}

/// Why automation did or did not act on a check (`service/check@host`).
pub fn why(operator: &Operator, check: &str) -> anyhow::Result<Why> {
    field(operator.json(&["why", check])?, "why")
}

/// The size of the log.
pub fn log_size(operator: &Operator) -> anyhow::Result<u64> {
    field(operator.json(&["log", "list", "--limit", "1"])?, "size")
}

/// The records from a position on.
pub fn log_from(operator: &Operator, position: u64) -> anyhow::Result<Vec<LogRow>> {
    field(operator.json(&["log", "list", "--from", &position.to_string(), "--limit", MAX_ROWS])?, "records")
}

/// A text in an answer.
pub fn text(answer: &Value, name: &str) -> anyhow::Result<String> {
    let found = answer.get(name).and_then(Value::as_str).map(str::to_owned);
    found.with_context(|| format!("the answer has no {name}: {answer}"))
}

fn field<T: DeserializeOwned>(mut answer: Value, name: &str) -> anyhow::Result<T> {
    let found = answer.get_mut(name).map(Value::take).with_context(|| format!("the answer has no {name}: {answer}"))?;
    serde_json::from_value(found).with_context(|| format!("understand the answer's {name}"))
}
