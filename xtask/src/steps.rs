//! Says what a command is doing, how long each step took, and how long all of it took.

use std::time::{Duration, Instant};

/// The steps of one command.
pub struct Steps {
    what: &'static str,
    number: usize,
    started: Instant,
}

impl Steps {
    /// Begins; `what` names the command in the last line.
    #[must_use]
    pub fn begin(what: &'static str) -> Self {
        Self { what, number: 0, started: Instant::now() }
    }

    /// Runs one step between two lines. A failure is passed on with the step's name.
    pub fn run<T>(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        self.number += 1;
        println!("[{}] {name}", self.number);
        let began = Instant::now();
        let done = work().map_err(|error| error.context(format!("step {} ({name})", self.number)))?;
        println!("[{}] {name}: {}", self.number, seconds(began.elapsed()));
        Ok(done)
    }

    /// Prints a line that belongs to the current step.
    pub fn note(&self, text: &str) {
        println!("    {text}");
    }

    /// Ends with the total time.
    pub fn finish(self) {
        println!("{}: done in {}", self.what, seconds(self.started.elapsed()));
    }
}

/// A duration for people: `0.4 s`, `2 min 05 s`.
#[must_use]
pub fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    if whole < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_and_then_minutes() {
        assert_eq!(seconds(Duration::from_millis(420)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }
}
