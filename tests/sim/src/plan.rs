//! What an agent plans for a request that waits for people: the real predictor over the simulated service.

use crate::fixture;
use crate::host::Host;
use crate::run::{looked, next_step};
use crate::scene::Scene;
use fettle_model::permit::PermitRequest;
use fettle_model::record::Body;
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::run::Plan;
use fettle_sandbox::authority::Authority;
use fettle_sandbox::predict::{Asked, Predicted, Predictor};

impl Host {
    /// A request was refused: where people have to say yes to it and are not asked yet, it is planned.
    pub(crate) fn plan(&mut self, scene: &mut Scene, request: &PermitRequest, refusal: &Refusal) -> anyhow::Result<()> {
        if !refusal.reasons.iter().any(|reason| matches!(reason, Reason::Mode { proposal: None, .. })) {
            return Ok(());
        }
        let Some(Predicted { steps, claim }) = self.predict(scene, request)? else { return Ok(()) };
        let plan = Plan {
            request: request.request,
            run: request.run,
            host: request.host,
            purpose: request.purpose.clone(),
            playbook: fixture::version(scene.setting.way)?,
            made_at: self.now(scene).wall,
            steps,
            claim,
        };
        self.record(scene, Body::PlanMade(Box::new(plan)), |store, sealed| store.append(sealed.as_new()))
    }

    /// Nothing takes time: what is looked at is looked at now.
    fn predict(&self, scene: &Scene, request: &PermitRequest) -> anyhow::Result<Option<Predicted>> {
        let (way, wall) = (scene.setting.way, self.now(scene).wall);
        let manifest = fixture::manifest(way)?;
        let authority = Authority::new(&manifest, &fixture::permitted(way)?, manifest.limits.actions);
        let mut predictor = Predictor::new(authority, request.run, wall, manifest.limits.duration.0);
        let mut replies = Vec::new();
        loop {
            let mut asked = match next_step(fixture::action(way), request.run, &replies)? {
                Ok(call) => predictor.called(wall, call),
                Err(claim) => return Ok(Some(predictor.finish(claim))),
            };
            let reply = loop {
                match asked {
                    Asked::Answer(reply) => break reply,
                    Asked::Look(_) => asked = predictor.looked(wall, looked(wall, self.thing.revision())),
                    Asked::TooMany => return Ok(None),
                }
            };
            replies.push(reply);
        }
    }
}
