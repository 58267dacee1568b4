//! What an agent makes of a configuration that it cannot hold: it says so once, and what it held stays in force.

use crate::stand::{Stand, check};
use fettle_model::check::{HostValue, Probe};
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::record::Body;
use fettle_model::rollout::{ConfigurationFault, ConfigurationRejected};

/// Waits until the agent rejects a configuration.
async fn rejected(stand: &mut Stand) -> ConfigurationRejected {
    stand
        .recorded(
            |body| {
                if let Body::ConfigurationRejected(rejected) = body { Some((**rejected).clone()) } else { None }
            },
        )
        .await
}

/// The one it held is what it acts under.
async fn acts_under(stand: &mut Stand, generation: u64) {
    stand.host.break_it();
    assert_eq!(stand.request().await.configuration, ConfigurationGeneration(generation));
}

#[tokio::test]
async fn one_with_a_check_that_cannot_be_built_here_is_rejected_as_a_whole_and_the_one_before_stays_in_force() {
    let mut stand = Stand::configured().await;
    for (generation, probe, why) in [
        (2, Probe::Tcp { address: HostValue("{host.missing}:80".to_owned()) }, "missing"),
        (3, Probe::Command { command: "sing".parse().expect("a name") }, "no command is registered as sing"),
    ] {
        stand.set_check(generation, probe).await;
        let rejected = rejected(&mut stand).await;
        let generations = (rejected.generation.0, rejected.keeps.0);
        assert_eq!(generations, (generation, 1));
        let faults: Vec<&ConfigurationFault> = rejected.because.iter().collect();
        assert!(
            matches!(&faults[..], [ConfigurationFault::Check { check: of, why: told }] if *of == check() && told.contains(why)),
            "{faults:?}"
        );
    }
    acts_under(&mut stand, 1).await;
}

#[tokio::test]
async fn one_with_something_that_the_agent_does_not_know_is_rejected_and_told_once() {
    let mut stand = Stand::configured().await;
    let newer = stand.newer_than_this_agent(2);
    stand.control_plane.publish(&newer).await;
    let told = rejected(&mut stand).await;
    let faults: Vec<&ConfigurationFault> = told.because.iter().collect();
    assert!(
        matches!(&faults[..], [ConfigurationFault::Unreadable { why }] if why.contains("unknown field `zeal`")),
        "{faults:?}"
    );
    stand.control_plane.publish(&newer).await;
    stand.set_check(3, Probe::Tcp { address: HostValue("{host.missing}:80".to_owned()) }).await;
    assert_eq!(rejected(&mut stand).await.generation, ConfigurationGeneration(3), "the other was told once");
    acts_under(&mut stand, 1).await;
}
