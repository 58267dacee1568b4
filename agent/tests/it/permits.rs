//! Permits: what the agent makes of a good one, and of every kind that is not.

use crate::host::flags;
use crate::stand::{Stand, check, id, parsed};
use fettle_agent::capability::Deed;
use fettle_agent::effector::clock::Clocks;
use fettle_agent::effector::store::{Opening, Value};
use fettle_agent::effector::trust::Stops;
use fettle_audit::published::Published;
use fettle_model::breaker::{Scope, StopOrder};
use fettle_model::counter::{ConfigurationGeneration, Fence, StopEpoch};
use fettle_model::digest::PlaybookDigest;
use fettle_model::evidence::{Fault, FaultKind};
use fettle_model::id::DrillId;
use fettle_model::offline::Units;
use fettle_model::permit::{KillPoint, Permit, PermitRejection, PermitRequest, Purpose, Target};
use fettle_model::playbook::Action;
use fettle_model::record::Body;
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::remediation::{Mode, Parameters};
use fettle_model::run::{Claim, Ending, RunRecord};
use fettle_model::time::BootInstant;
use fettle_proto::v1::{Nudge, nudge, to_agent};
use fettle_sandbox::machine::{Action as MachineAction, Charter, Machine};
use std::time::Duration;

async fn rejected(stand: &mut Stand) -> PermitRejection {
    stand
        .recorded(|body| {
            if let Body::RunEnded(record) = body {
                unreachable!("something ran: {record:?}");
            }
            if let Body::PermitRejected(rejected) = body { Some(rejected.because.clone()) } else { None }
        })
        .await
}

async fn ended(stand: &mut Stand) -> RunRecord {
    stand.recorded(|body| if let Body::RunEnded(record) = body { Some((**record).clone()) } else { None }).await
}

#[tokio::test]
async fn a_permit_is_good_for_one_run_and_its_replay_does_nothing() {
    let mut stand = Stand::configured().await;
    stand.start_drill().await;
    let request = stand.request().await;
    let permit = stand.permit(&request);
    let granted = stand.control_plane.shared().log.say(Body::PermitGranted(Box::new(permit)));
    stand.control_plane.publish(&granted).await;
    let record = ended(&mut stand).await;
    assert_eq!((record.run, record.ending, record.steps.len()), (request.run, Ending::Succeeded, 1), "{record:?}");
    assert!(stand.host.flags().contains("\"defaultVariant\": \"on\""), "{}", stand.host.flags());

    stand.host.set_flag("off");
    stand.control_plane.publish(&granted).await;
    assert_eq!(rejected(&mut stand).await, PermitRejection::Replayed);
    assert_eq!(stand.host.flags(), flags("off"));
}

#[tokio::test]
async fn a_drills_second_run_is_asked_for_when_wished_and_runs_while_the_check_passes() {
    let mut stand = Stand::configured().await;
    stand.start_drill().await;
    let injection = stand.request().await;
    let permit = stand.permit(&injection);
    stand.say(Body::PermitGranted(Box::new(permit))).await;
    ended(&mut stand).await;
    stand.host.set_flag("off");
    let about = Some(nudge::About::Repeat(id::<DrillId>(9).to_string()));
    stand.control_plane.send(to_agent::Message::Nudge(Nudge { about })).await;
    let request = stand.request().await;
    let remediation = parsed("heal-web");
    assert_eq!(request.purpose, Purpose::Repeat { drill: id(9), check: check(), remediation });
    assert_eq!(request.playbook, Some(stand.version().digest));
    assert_eq!(request.targets.len(), 2, "everything that the playbook needs is bound");
    let permit = stand.permit(&request);
    stand.say(Body::PermitGranted(Box::new(permit))).await;
    let record = ended(&mut stand).await;
    assert_eq!((record.run, record.steps.len()), (request.run, 0), "{record:?}");
    assert!(record.claim.is_some(), "the playbook itself ran: {record:?}");
}

/// A change to a permit, and what the agent says of it.
type Case = (fn(&mut Permit), PermitRejection);

fn wrong_in_one_respect() -> Vec<Case> {
    vec![
        (|permit| permit.host = id(99), PermitRejection::OtherHost),
        (|permit| permit.boot = id(99), PermitRejection::OtherRequest),
        (|permit| permit.run = id(99), PermitRejection::OtherRequest),
        (|permit| permit.kill = Some(KillPoint::FirstDeed), PermitRejection::DrillsRefused),
        (|permit| permit.units = Units::new(2).expect("units"), PermitRejection::NotForOffline),
        (|permit| permit.fence = Fence(0), PermitRejection::StaleFence { fence: Fence(0), seen: Fence(0) }),
        (
            |permit| {
                if let Some(playbook) = &mut permit.playbook {
                    playbook.digest = PlaybookDigest::of(b"another");
                }
            },
            PermitRejection::OtherRequest,
        ),
        (
            |permit| {
                if let Some(target) = permit.targets.first_mut() {
                    target.target = Target::Flag { file: "/etc/passwd".to_owned(), key: "root".to_owned() };
                }
            },
            PermitRejection::TargetsDiffer { label: parsed("flag") },
        ),
        (
            |permit| {
                if let Some(target) = permit.targets.first_mut() {
                    target.actions.insert(Action::Activate);
                }
            },
            PermitRejection::AboveCeiling { label: parsed("flag"), action: Action::Activate },
        ),
    ]
}

#[tokio::test]
async fn a_permit_that_is_wrong_in_one_respect_is_refused_and_recorded_and_does_nothing() {
    let mut stand = Stand::configured().await;
    stand.host.break_it();
    for (change, expected) in wrong_in_one_respect() {
        let request = stand.request().await;
        let mut permit = stand.permit(&request);
        change(&mut permit);
        stand.say(Body::PermitGranted(Box::new(permit))).await;
        assert_eq!(rejected(&mut stand).await, expected);
        stand.nudge().await;
    }
    // The control: the same in every respect but the wrong one.
    let request = stand.request().await;
    let permit = stand.permit(&request);
    stand.say(Body::PermitGranted(Box::new(permit))).await;
    let record = ended(&mut stand).await;
    assert_eq!((record.run, record.claim), (request.run, Some(Claim::NoAction { summary: String::new() })));
    assert_eq!(record.ending, Ending::Ineffective, "the check still fails");
    assert_eq!(stand.host.flags(), flags("off"));
}

#[tokio::test]
async fn an_expired_permit_is_refused_and_asked_for_again() {
    let mut stand = Stand::configured().await;
    stand.host.break_it();
    let request = stand.request().await;
    let mut permit = stand.permit(&request);
    permit.lease = Duration::ZERO;
    stand.say(Body::PermitGranted(Box::new(permit))).await;
    assert!(matches!(rejected(&mut stand).await, PermitRejection::Expired { lease_ms: 0, .. }));
    let again = stand.request().await;
    assert_ne!((again.request, again.run), (request.request, request.run));
}

#[tokio::test]
async fn a_stop_order_voids_the_permits_from_before_it() {
    let mut stand = Stand::configured().await;
    stand.host.break_it();
    let request = stand.request().await;
    let permit = stand.permit(&request);
    let order = StopOrder { scope: Scope::Global, epoch: StopEpoch(1), by: parsed("alice"), why: "a storm".to_owned() };
    stand.say(Body::AutomationStopped(Box::new(order))).await;
    stand.say(Body::PermitGranted(Box::new(permit))).await;
    assert_eq!(rejected(&mut stand).await, PermitRejection::Stopped { epoch: StopEpoch(0), seen: StopEpoch(1) });
}

#[tokio::test]
async fn a_permit_without_proof_or_with_a_flipped_bit_is_refused_and_recorded() {
    let mut stand = Stand::configured().await;
    stand.host.break_it();
    let request = stand.request().await;
    let permit = stand.permit(&request);
    let granted = stand.control_plane.shared().log.say(Body::PermitGranted(Box::new(permit)));
    // The control: the one record that the agent could not have been given yet.
    let mut other = crate::log::Log::new(30);
    let stranger = other.say(Body::PermitGranted(Box::new(stand.permit(&request))));
    let elsewhere = Published { checkpoint: stranger.checkpoint.clone(), ..granted.clone() };
    let without_path = Published { inclusion: Vec::new(), ..granted.clone() };
    for (published, expected) in [
        (stranger, PermitRejection::ForeignKey { key: other.permit_key_id() }),
        (elsewhere, PermitRejection::NotInLog),
        (without_path, PermitRejection::NotInLog),
    ] {
        stand.control_plane.publish(&published).await;
        assert_eq!(rejected(&mut stand).await, expected);
    }
    let sound = granted.to_json().expect("JSON");
    // 64 places from the first byte to the last; each of the eight bits has its turn.
    for turn in 0..64_usize {
        let mut flipped = sound.clone();
        let place = turn * (sound.len() - 1) / 63;
        flipped[place] ^= 1 << (turn % 8);
        stand.control_plane.publish_bytes(flipped).await;
        let because = rejected(&mut stand).await;
        assert!(
            matches!(because, PermitRejection::BadSignature | PermitRejection::NotInLog),
            "byte {place}, bit {}: {because:?}",
            turn % 8
        );
    }
    assert_eq!(stand.host.flags(), flags("off"));
    // The control: unchanged it is good.
    stand.control_plane.publish_bytes(sound).await;
    assert_eq!(ended(&mut stand).await.run, request.run);
}

#[tokio::test]
async fn a_refusal_because_of_the_mode_is_answered_by_a_plan_that_changes_nothing() {
    let mut stand = Stand::configured().await;
    stand.host.break_it();
    let request: PermitRequest = stand.request().await;
    let refusal = Refusal {
        request: request.request,
        run: request.run,
        host: request.host,
        check: Some(check()),
        epoch: None,
        reasons: vec![Reason::Mode { mode: Mode::Observe, proposal: None }],
        budget: None,
        retry_at: None,
    };
    stand.say(Body::PermitRefused(Box::new(refusal))).await;
    let plan = stand.recorded(|body| if let Body::PlanMade(plan) = body { Some((**plan).clone()) } else { None }).await;
    assert_eq!((plan.request, plan.run, plan.playbook.clone()), (request.request, request.run, stand.version()));
    assert_eq!((plan.steps, plan.claim), (Vec::new(), Claim::NoAction { summary: String::new() }));
    assert_eq!(stand.host.flags(), flags("off"));
}

#[tokio::test]
async fn a_run_that_a_crash_interrupted_heeds_a_stop_order_that_was_kept_before_it_was_told() {
    let mut permit = None;
    let mut stand = Stand::prepared(|store, log| {
        let interrupted = injecting();
        let granted = log.say(Body::PermitGranted(Box::new(interrupted.clone()))).to_json().expect("JSON");
        let clocks = Clocks::of(interrupted.boot);
        let charter = Charter::new(interrupted.clone(), None).expect("a charter");
        let (_, actions) = Machine::<Deed>::open(charter, clocks.now()).expect("it opens");
        let Some(MachineAction::Journal(first)) = actions.first() else {
            unreachable!("a run begins with its journal")
        };
        store
            .open_run(&Opening {
                permit: interrupted.permit,
                request: interrupted.request,
                run: interrupted.run,
                fence: interrupted.fence,
                at: clocks.now().wall,
                published: std::str::from_utf8(&granted).expect("text"),
                entry: &serde_json::to_string(first).expect("JSON"),
            })
            .expect("kept");
        let mut stops = Stops::default();
        let (scope, epoch) = (Scope::Global, StopEpoch(1));
        stops.stop(StopOrder { scope, epoch, by: parsed("alice"), why: "a storm".to_owned() });
        store.set_value(Value::StopOrders, &serde_json::to_string(&stops).expect("JSON")).expect("kept");
        permit = Some(interrupted);
    })
    .await;
    let record = ended(&mut stand).await;
    assert_eq!(Some(record.run), permit.map(|permit| permit.run));
    assert_eq!((record.ending, record.steps.len()), (Ending::Cancelled, 0), "{record:?}");
}

/// A permit to turn the flag on, for this boot.
fn injecting() -> Permit {
    let fault = Fault { kind: FaultKind::FlagOn, on: parsed("flag") };
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux says so");
    Permit {
        permit: id(1),
        request: id(2),
        run: id(3),
        host: id(1),
        boot: parsed(boot.trim()),
        sent_at: BootInstant(0),
        lease: Duration::from_secs(600),
        run_within: Duration::from_secs(600),
        effect_within: Duration::from_secs(20),
        fence: Fence(1),
        stop_epoch: StopEpoch(0),
        configuration: ConfigurationGeneration(1),
        purpose: Purpose::InjectFault { drill: id(9), fault },
        playbook: None,
        parameters: Parameters::default(),
        targets: Vec::new(),
        actions: 1,
        units: fettle_model::offline::Units::ONE,
        unit: None,
        drill: None,
        kill: None,
        approved: None,
        policies: fettle_model::digest::DocumentDigest::of(b"policies"),
        grounds: Vec::new(),
    }
}
