//! Budgets given in advance: asked for while all is well, used while nobody is there, given back before anything else.

use crate::control_plane::{Door, Heard, now};
use crate::stand::{Stand, check, id, parsed};
use fettle_model::breaker::{BreakerOpened, OpenReason, Scope, StopOrder};
use fettle_model::counter::{ConfigurationGeneration, StopEpoch};
use fettle_model::freeze::FreezeDeclared;
use fettle_model::host::HostState;
use fettle_model::offline::{OfflineReturned, Units};
use fettle_model::permit::{Permit, PermitRejection, PermitRequest, Purpose};
use fettle_model::record::{Body, HostStateSet};
use fettle_model::run::{Ending, RunRecord};
use fettle_model::time::UnixMillis;
use std::time::Duration;

fn two() -> Units {
    Units::new(2).expect("units")
}

/// What an agent says about its budget and its runs.
#[derive(Debug)]
enum Said {
    Asked(PermitRequest),
    Returned(OfflineReturned),
    Ended(RunRecord),
    Rejected(PermitRejection),
}

#[expect(clippy::wildcard_enum_match_arm, reason = "four kinds of record out of all, and no others")]
fn said(body: &Body) -> Option<Said> {
    match body {
        Body::PermitRequested(request) => Some(Said::Asked((**request).clone())),
        Body::OfflineReturned(returned) => Some(Said::Returned((**returned).clone())),
        Body::RunEnded(record) => Some(Said::Ended((**record).clone())),
        Body::PermitRejected(rejected) => Some(Said::Rejected(rejected.because.clone())),
        _ => None,
    }
}

/// A stand whose agent asks for a budget of two runs; what it asks.
async fn asking() -> (Stand, PermitRequest) {
    let mut stand = Stand::configured().await;
    stand.set_offline(2, two()).await;
    let request = stand.request().await;
    assert_eq!(request.purpose, Purpose::Offline { check: check(), remediation: parsed("heal-web") });
    assert_eq!((request.playbook, request.targets.len()), (Some(stand.version().digest), 2));
    (stand, request)
}

/// The same, when it has got it.
async fn holding() -> (Stand, Permit) {
    let (mut stand, request) = asking().await;
    let permit = Permit { units: two(), configuration: ConfigurationGeneration(2), ..stand.permit(&request) };
    stand.say(Body::PermitGranted(Box::new(permit.clone()))).await;
    (stand, permit)
}

fn leave(stand: &Stand) {
    stand.control_plane.shared().door = Door::Shut;
    stand.control_plane.hang_up();
}

async fn come_back(stand: &mut Stand) {
    stand.control_plane.shared().door = Door::Open;
    stand.heard(|heard| matches!(heard, Heard::Connected { .. }).then_some(())).await;
}

#[tokio::test]
async fn each_unit_is_one_run_while_nobody_is_there_and_all_of_it_is_told_afterwards() {
    let (mut stand, permit) = holding().await;
    let left = now();
    leave(&stand);
    stand.host.break_it();
    let units: Vec<Permit> = permit.all_units().collect();
    for unit in &units {
        stand.host.has_begun(unit.run).await;
    }
    come_back(&mut stand).await;
    for unit in &units {
        let Said::Ended(record) = stand.recorded(said).await else { unreachable!("the runs come first") };
        assert_eq!((record.permit, record.run, &record.purpose), (unit.permit, unit.run, &unit.purpose));
        assert_eq!(record.ending, Ending::Ineffective, "{record:?}");
        // A control plane that is started again is back by then.
        assert!(record.started_at.since(left) >= Duration::from_secs(15), "{:?} after {left:?}", record.started_at);
    }
    let Said::Returned(returned) = stand.recorded(said).await else { unreachable!("then the budget is over") };
    assert_eq!(returned, OfflineReturned { permit: permit.permit, used: 2 });
    let Said::Asked(request) = stand.recorded(said).await else { unreachable!("then it asks") };
    assert!(matches!(request.purpose, Purpose::Remediate { .. }), "{request:?}");
}

#[tokio::test]
async fn no_crash_makes_a_unit_good_twice() {
    let (mut stand, permit) = holding().await;
    leave(&stand);
    stand.host.break_it();
    let units: Vec<Permit> = permit.all_units().collect();
    stand.host.has_begun(units[0].run).await;
    stand.host.restart(str::to_owned).await;
    stand.host.has_begun(units[1].run).await;
    stand.host.restart(str::to_owned).await;
    come_back(&mut stand).await;
    for unit in &units {
        let Said::Ended(record) = stand.recorded(said).await else { unreachable!("the runs come first") };
        assert_eq!(record.run, unit.run);
    }
    let Said::Returned(returned) = stand.recorded(said).await else { unreachable!("then the budget is over") };
    assert_eq!(returned.used, 2);
}

#[tokio::test]
async fn a_fault_while_somebody_is_there_gives_it_back_and_asks() {
    let (mut stand, permit) = holding().await;
    stand.host.break_it();
    let Said::Returned(returned) = stand.recorded(said).await else { unreachable!("first it is given back") };
    assert_eq!(returned, OfflineReturned { permit: permit.permit, used: 0 });
    let Said::Asked(request) = stand.recorded(said).await else { unreachable!("then it asks") };
    assert!(matches!(request.purpose, Purpose::Remediate { .. }), "{request:?}");
}

#[tokio::test]
async fn a_stop_order_and_a_new_configuration_end_it() {
    let (mut stand, permit) = holding().await;
    let order = StopOrder { scope: Scope::Global, epoch: StopEpoch(1), by: parsed("alice"), why: String::new() };
    stand.say(Body::AutomationStopped(Box::new(order))).await;
    let Said::Returned(returned) = stand.recorded(said).await else { unreachable!("it is given back") };
    assert_eq!(returned.permit, permit.permit);

    let (mut stand, permit) = holding().await;
    stand.set_offline(3, two()).await;
    let Said::Returned(returned) = stand.recorded(said).await else { unreachable!("it is given back") };
    assert_eq!(returned.permit, permit.permit);
}

#[tokio::test]
async fn a_freeze_an_opened_breaker_and_the_loss_of_its_standing_end_it_for_a_host_that_hears_of_them() {
    let freeze = FreezeDeclared {
        freeze: id(1),
        scope: Scope::Service(parsed("web")),
        until: UnixMillis(u64::MAX >> 12),
        by: parsed("alice"),
        why: String::new(),
    };
    let opened = BreakerOpened {
        scope: Scope::Global,
        because: OpenReason::Failures { count: 3, allowed: 2 },
        half_open_at: None,
    };
    let quarantined =
        HostStateSet { host: id(1), state: HostState::Quarantined, by: None, why: "seen twice".to_owned() };
    for body in [
        Body::FreezeDeclared(Box::new(freeze)),
        Body::BreakerOpened(Box::new(opened)),
        Body::HostStateSet(Box::new(quarantined)),
    ] {
        let (mut stand, permit) = holding().await;
        stand.say(body).await;
        let Said::Returned(returned) = stand.recorded(said).await else { unreachable!("it is given back") };
        assert_eq!(returned, OfflineReturned { permit: permit.permit, used: 0 });
    }
}

#[tokio::test]
async fn a_host_that_is_not_taken_any_more_does_not_act_alone() {
    let (mut stand, permit) = holding().await;
    stand.control_plane.shared().door = Door::Barred;
    stand.control_plane.hang_up();
    stand.host.says("a budget in advance is given back").await;
    come_back(&mut stand).await;
    let Said::Returned(returned) = stand.recorded(said).await else { unreachable!("nothing else was done") };
    assert_eq!(returned, OfflineReturned { permit: permit.permit, used: 0 });
}

#[tokio::test]
async fn it_is_given_back_in_time_for_the_next_and_its_second_answer_is_no_second_budget() {
    let (mut stand, request) = asking().await;
    let lease = Duration::from_secs(4);
    let permit = Permit { units: two(), lease, configuration: ConfigurationGeneration(2), ..stand.permit(&request) };
    let granted = stand.control_plane.shared().log.say(Body::PermitGranted(Box::new(permit.clone())));
    stand.control_plane.publish(&granted).await;
    stand.control_plane.publish(&granted).await;
    let Said::Returned(returned) = stand.recorded(said).await else { unreachable!("it is given back") };
    assert_eq!(returned, OfflineReturned { permit: permit.permit, used: 0 });
    let Said::Asked(fresh) = stand.recorded(said).await else { unreachable!("a fresh one is asked for at once") };
    assert!(matches!(fresh.purpose, Purpose::Offline { .. }) && fresh.request != request.request, "{fresh:?}");
    // What was given back does not come back.
    stand.control_plane.publish(&granted).await;
    let Said::Rejected(because) = stand.recorded(said).await else { unreachable!("it is refused") };
    assert_eq!(because, PermitRejection::OtherRequest);
}
