//! A drill's second run, which begins without a fault.

use super::*;
use crate::sample::repetition;

#[test]
fn a_drills_second_run_runs_although_the_check_passes_also_after_a_crash() {
    let (mut host, opened) = Host::open(repetition());
    assert_eq!(opened, ["journal opened", "start-worker"]);
    host.call(phase("look"));
    assert_eq!(host.crash(2), ["journal resumed", "start-worker"]);
    host.call(phase("look"));
    let nothing = Claim::NoAction { summary: "the check passes already".to_owned() };
    assert_eq!(host.returns(Ok(nothing)), ["journal returned", "check"]);
    host.feed(Event::CheckRerun(Status::Passing));
    host.feed(Event::ConfirmSaw(Status::Passing));
    host.ms += 2_000;
    host.feed(Event::ConfirmSaw(Status::Passing));
    let (ending, _) = host.ended();
    assert!(matches!(ending, Ending::Succeeded | Ending::Superseded), "{ending:?}");
}
