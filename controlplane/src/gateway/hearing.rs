//! Hearing: tells the leader from time to time how many agents are silent. The log does not say, and the breakers
//! of blindness need it.

use super::Shared;
use super::switchboard::Standing;
use crate::core::Heard;
use crate::leader::Sensed;
use fettle_model::host::HostState;
use fettle_model::id::HostId;
use fettle_model::name::EnvironmentName;
use fettle_model::time::UnixMillis;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often it is counted: a small part of the two minutes after which an agent is silent.
const COUNT: Duration = Duration::from_secs(5);

/// Counts until the server stops.
pub(crate) async fn listen(shared: Shared) {
    let started = shared.wall();
    let mut turns = tokio::time::interval(COUNT);
    loop {
        // Cancel safe: a token and an interval.
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = turns.tick() => {}
        }
        let active = shared.leader.inspect(|view| {
            let state = view.core.state();
            let active = state.hosts().filter(|host| host.state == HostState::Active);
            let hosts = active.map(|host| (host.id, host.environment.clone(), host.enrolled.at)).collect::<Vec<_>>();
            (hosts, state.configuration().breakers().silent_after)
        });
        let Ok((hosts, silent_after)) = active.await else { return };
        let heard = count(hosts, |host| shared.switchboard.standing(host), started, silent_after, shared.wall());
        if shared.leader.sense(Sensed::Heard(heard)).await.is_err() {
            return;
        }
    }
}

/// Nobody was heard before this process started, or before the host was enrolled: silence counts from then.
fn count(
    hosts: Vec<(HostId, EnvironmentName, UnixMillis)>,
    standing: impl Fn(HostId) -> Standing,
    started: UnixMillis,
    silent_after: Duration,
    now: UnixMillis,
) -> BTreeMap<EnvironmentName, Heard> {
    let mut environments: BTreeMap<EnvironmentName, Heard> = BTreeMap::new();
    for (host, environment, enrolled) in hosts {
        let silent_since = match standing(host) {
            Standing::Connected => None,
            Standing::LastHeard(at) => Some(at),
            Standing::Never => Some(started.max(enrolled)),
        };
        let heard = environments.entry(environment).or_default();
        heard.hosts = heard.hosts.saturating_add(1);
        if silent_since.is_some_and(|since| now.since(since) >= silent_after) {
            heard.silent = heard.silent.saturating_add(1);
        }
    }
    environments
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn an_agent_is_silent_when_it_was_not_heard_for_long_enough_since_anybody_could_hear_it() {
        let name: EnvironmentName = "production".parse().expect("a name");
        let at = |seconds: u64| UnixMillis(seconds * 1_000);
        let now = at(1_000);
        let standings = [
            (Standing::Connected, at(0), 0),
            (Standing::LastHeard(at(900)), at(0), 0),
            (Standing::LastHeard(at(880)), at(0), 1),
            // Never heard by this process, which started at 800, or enrolled a moment ago.
            (Standing::Never, at(0), 1),
            (Standing::Never, at(990), 0),
        ];
        for (standing, enrolled, silent) in standings {
            let host = HostId::from_uuid(Uuid::from_u128(1));
            let hosts = vec![(host, name.clone(), enrolled)];
            let heard = count(hosts, |_| standing, at(800), Duration::from_secs(120), now);
            assert_eq!(heard, BTreeMap::from([(name.clone(), Heard { hosts: 1, silent })]), "{standing:?}");
        }
    }
}
