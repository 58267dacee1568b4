//! The arithmetic of measurements, and how they are shown: as a table for people, as JSON for programs. Pure.

use serde::Serialize;
use std::time::Duration;

/// Samples of one duration, sorted.
#[derive(Debug, Clone)]
pub(super) struct Samples(Vec<Duration>);

impl Samples {
    pub(super) fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort();
        Self(samples)
    }

    /// The smallest sample that at least `percent` of all samples do not exceed (nearest rank).
    pub(super) fn percentile(&self, percent: usize) -> Option<Duration> {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The unit of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Unit {
    Milliseconds,
    Seconds,
    Kibibytes,
    Mebibytes,
    PerSecond,
}

impl Unit {
    const fn short(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Kibibytes => "KiB",
            Self::Mebibytes => "MiB",
            Self::PerSecond => "/s",
        }
    }
}

/// What was aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Aim {
    /// At most so much.
    AtMost(f64),
    /// At least so much.
    AtLeast(f64),
    /// Nothing was said; it is only measured.
    None,
}

/// What it is compared with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Baseline {
    pub(super) what: &'static str,
    pub(super) value: f64,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) value: f64,
    pub(super) unit: Unit,
    pub(super) aim: Aim,
    pub(super) baseline: Option<Baseline>,
    /// Value by baseline.
    pub(super) ratio: Option<f64>,
    pub(super) samples: usize,
}

impl Row {
    pub(super) fn new(what: impl Into<String>, value: f64, unit: Unit, samples: usize) -> Self {
        Self { what: what.into(), value, unit, aim: Aim::None, baseline: None, ratio: None, samples }
    }

    pub(super) fn aiming_at_most(self, aim: f64) -> Self {
        Self { aim: Aim::AtMost(aim), ..self }
    }

    pub(super) fn aiming_at_least(self, aim: f64) -> Self {
        Self { aim: Aim::AtLeast(aim), ..self }
    }

    pub(super) fn beside(self, what: &'static str, value: f64) -> Self {
        let ratio = (value > 0.0).then_some(self.value / value);
        Self { baseline: Some(Baseline { what, value }), ratio, ..self }
    }

    /// By how much the aim is missed.
    fn verdict(&self) -> String {
        match self.aim {
            Aim::None => String::new(),
            Aim::AtMost(aim) if self.value <= aim => format!("aim {aim}: met"),
            Aim::AtMost(aim) => self.missed(aim, self.value - aim, self.value / aim),
            Aim::AtLeast(aim) if self.value >= aim => format!("aim {aim}: met"),
            Aim::AtLeast(aim) => self.missed(aim, aim - self.value, aim / self.value),
        }
    }

    fn missed(&self, aim: f64, by: f64, times: f64) -> String {
        format!("aim {aim}: missed by {by:.2} {} ({times:.1} times)", self.unit.short())
    }

    fn line(&self) -> String {
        let compared = self.baseline.as_ref().map_or_else(String::new, |baseline| {
            let ratio = self.ratio.map_or_else(String::new, |ratio| format!(", ratio {ratio:.2}"));
            format!("{}: {:.2}{ratio}", baseline.what, baseline.value)
        });
        let value = format!("{:.2} {}", self.value, self.unit.short());
        format!("  {:<62} {value:>14}  {:<34} {compared}", self.what, self.verdict()).trim_end().to_owned()
    }
}

/// The table.
pub(super) fn table(rows: &[Row]) -> String {
    rows.iter().map(Row::line).collect::<Vec<_>>().join("\n")
}

/// A duration in milliseconds.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let samples = Samples::new((1..=20).rev().map(Duration::from_millis).collect());
        assert_eq!(samples.percentile(50), Some(Duration::from_millis(10)));
        assert_eq!(samples.percentile(95), Some(Duration::from_millis(19)));
        assert_eq!(samples.percentile(100), Some(Duration::from_millis(20)));
        assert_eq!(Samples::new(Vec::new()).percentile(50), None);
        assert_eq!(Samples::new(vec![Duration::from_millis(7)]).percentile(1), Some(Duration::from_millis(7)));
    }

    #[test]
    fn a_row_says_by_how_much_its_aim_is_missed_and_how_it_compares() {
        let row = Row::new("x", 8.0, Unit::Milliseconds, 40).aiming_at_most(5.0).beside("fork+exec", 2.0);
        let line = row.line();
        assert!(line.contains("missed by 3.00 ms (1.6 times)") && line.contains("ratio 4.00"), "{line}");
        assert!(Row::new("x", 5.0, Unit::Milliseconds, 1).aiming_at_most(5.0).line().contains("met"));
        let rate = |value| Row::new("x", value, Unit::PerSecond, 1).aiming_at_least(50.0).line();
        assert!(rate(50.0).contains("met") && rate(40.0).contains("missed by 10.00 /s (1.2 times)"), "{}", rate(40.0));
        assert_eq!(Row::new("x", 1.0, Unit::PerSecond, 1).beside("nothing", 0.0).ratio, None);
    }
}
