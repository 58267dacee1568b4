//! When the agent asks for a permit again.

use crate::stand::{Stand, check};
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::permit::PermitRequest;
use fettle_model::record::Body;
use fettle_model::refusal::{Reason, Refusal};

/// What the leader answers to a request of the first generation once the second is in force.
fn stale(request: &PermitRequest) -> Body {
    let reason = Reason::ConfigurationStale { held: request.configuration, current: ConfigurationGeneration(2) };
    Body::PermitRefused(Box::new(Refusal {
        request: request.request,
        run: request.run,
        host: request.host,
        check: Some(check()),
        epoch: None,
        reasons: vec![reason],
        budget: None,
        retry_at: None,
    }))
}

#[tokio::test]
async fn a_request_that_a_new_configuration_overtook_is_asked_again_whichever_arrives_first() {
    for refusal_first in [true, false] {
        let mut stand = Stand::configured().await;
        stand.host.break_it();
        let request = stand.request().await;
        assert_eq!(request.configuration, ConfigurationGeneration(1));
        if refusal_first {
            stand.say(stale(&request)).await;
            stand.set_configuration(2).await;
        } else {
            stand.set_configuration(2).await;
            stand.say(stale(&request)).await;
        }
        let again = stand.request().await;
        assert_eq!(again.configuration, ConfigurationGeneration(2), "the refusal first: {refusal_first}");
    }
}
