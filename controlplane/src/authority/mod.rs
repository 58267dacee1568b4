//! Authority: Cedar says yes or no, code computes what it is asked about.
//!
//! The policies are compiled in: floors that nothing overrides, and the product's defaults. They are
//! validated strictly when the control plane starts, and every request against the schema. Cedar skips
//! a policy that errors, which would open a floor, so *any* error is a denial here. Called by the leader
//! for people's commands and permit requests, by the gateway for agents, by the API for queries.

use crate::core::{Authorisation, AuthorisationFacts, Glass, Holding, PersonAction, PurposeKind, Resource};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request, RestrictedExpression, Schema,
    ValidationMode, Validator,
};
use fettle_model::digest::DocumentDigest;
use fettle_model::host::HostState;
use fettle_model::id::HostId;
use fettle_model::identity::Role;
use fettle_model::name::{PersonName, TeamName};
use std::collections::{BTreeSet, HashMap, HashSet};

const SCHEMA: &str = include_str!("schema.cedarschema");
const FLOORS: &str = include_str!("floors.cedar");
const DEFAULTS: &str = include_str!("defaults.cedar");

/// Why the policies cannot be used; the control plane does not start.
#[derive(Debug, thiserror::Error)]
#[error("the policies cannot be used: {0}")]
pub struct InvalidPolicies(String);

/// What a person wants, as far as policies go.
#[derive(Debug, Clone, Copy)]
pub struct Petition<'a> {
    /// Who.
    pub by: &'a PersonName,
    /// What they hold.
    pub holding: &'a Holding,
    /// What.
    pub action: PersonAction,
    /// On what.
    pub on: &'a Resource,
}

/// What a person wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Hosts, services, runs, playbooks, breakers, incidents.
    State,
    /// Records of the log, one by one.
    Log,
    /// The whole log.
    ExportLog,
}

impl Reading {
    /// The action's name in policies and records.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::State => "state.read",
            Self::Log => "log.read",
            Self::ExportLog => "log.export",
        }
    }
}

/// What an agent wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentAction {
    /// Open its session.
    OpenSession,
    /// Fetch a playbook.
    FetchPlaybook,
    /// Get its next certificate.
    RotateCertificate,
}

/// The policies, ready to be asked.
#[derive(Debug)]
pub struct Authority {
    schema: Schema,
    policies: PolicySet,
    authorizer: Authorizer,
}

impl Authority {
    /// Parses and validates the compiled-in policies.
    ///
    /// # Errors
    /// When they do not parse or do not validate strictly.
    pub fn new() -> Result<Self, InvalidPolicies> {
        let wrong = |error: &dyn std::fmt::Display| InvalidPolicies(error.to_string());
        let (schema, _warnings) = Schema::from_cedarschema_str(SCHEMA).map_err(|error| wrong(&error))?;
        // Parsed apart, so that neither file can change the other's ids; then under their own names.
        let mut policies = PolicySet::new();
        for text in [FLOORS, DEFAULTS] {
            let parsed: PolicySet = text.parse().map_err(|error| wrong(&error))?;
            for policy in parsed.policies() {
                let id = policy.annotation("id").ok_or_else(|| InvalidPolicies("a policy has no @id".to_owned()))?;
                policies.add(policy.new_id(cedar_policy::PolicyId::new(id))).map_err(|error| wrong(&error))?;
            }
        }
        let result = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        if !result.validation_passed_without_warnings() {
            return Err(InvalidPolicies(result.to_string()));
        }
        Ok(Self { schema, policies, authorizer: Authorizer::new() })
    }

    /// SHA-256 over the schema and all policies: what was approved under others is not approved under these.
    #[must_use]
    pub fn digest() -> DocumentDigest {
        let texts = [SCHEMA, FLOORS, DEFAULTS].map(|text| DocumentDigest::of(text.as_bytes()).to_string());
        DocumentDigest::of(texts.join("\n").as_bytes())
    }

    /// Whether a person may do something.
    #[must_use]
    pub fn person(&self, petition: &Petition<'_>) -> Authorisation {
        self.person_action(petition.by, petition.holding, petition.action.as_str(), petition.on)
    }

    /// Whether a person may see something.
    #[must_use]
    pub fn reader(&self, by: &PersonName, holding: &Holding, reading: Reading) -> Authorisation {
        self.person_action(by, holding, reading.action(), &Resource::Installation)
    }

    /// Whether an agent may do something in the name of its host.
    #[must_use]
    pub fn agent(&self, host: HostId, state: HostState, action: AgentAction) -> Authorisation {
        let action = match action {
            AgentAction::OpenSession => "session.open",
            AgentAction::FetchPlaybook => "playbook.fetch",
            AgentAction::RotateCertificate => "certificate.rotate",
        };
        let state = text(state.as_str());
        let principal = ("Agent", host.to_string(), vec![("state", state.clone())], vec![]);
        let resource = ("Host", host.to_string(), vec![("state", state)], vec![]);
        self.ask(principal, action, resource, Vec::new())
    }

    /// Whether a permit may be granted, as far as policies go; the governor's rules come on top.
    #[must_use]
    pub fn permit(&self, facts: &AuthorisationFacts) -> Authorisation {
        let Some(playbook) = &facts.playbook else {
            return Authorisation::Denied { policies: vec!["no admitted playbook asks".to_owned()] };
        };
        let actions = playbook.actions.iter().map(|action| text(action.as_str())).collect::<Vec<_>>();
        let attributes = vec![
            ("name", text(playbook.name.as_str())),
            ("publisher", text(playbook.publisher.as_str())),
            ("actions", RestrictedExpression::new_set(actions)),
        ];
        let principal = ("Playbook", playbook.digest.to_string(), attributes, vec![]);
        let environment = facts.environment.iter().map(|name| ("Environment", name.to_string())).collect();
        let state = facts.host_state.map_or("unknown", HostState::as_str);
        let resource = ("Host", facts.host.to_string(), vec![("state", text(state))], environment);
        let context = vec![
            ("drill".to_owned(), RestrictedExpression::new_bool(facts.drill.is_some())),
            ("mode".to_owned(), text(facts.mode.map_or("none", fettle_model::remediation::Mode::as_str))),
            ("groupSize".to_owned(), number(facts.group_size)),
            ("healthyBesides".to_owned(), number(facts.healthy_besides)),
            ("inFlight".to_owned(), number(facts.in_flight)),
            ("attempts".to_owned(), number(facts.attempts)),
            ("approvals".to_owned(), number(facts.approvals)),
            ("approvalsRequired".to_owned(), number(facts.approvals_required)),
        ];
        let (action, offline) = match facts.purpose {
            PurposeKind::Remediate => ("remediate", false),
            PurposeKind::Offline => ("remediate", true),
            PurposeKind::InjectFault => ("inject-fault", false),
        };
        let context = context.into_iter().chain([("offline".to_owned(), RestrictedExpression::new_bool(offline))]);
        self.ask(principal, action, resource, context.collect())
    }

    fn person_action(&self, by: &PersonName, holding: &Holding, action: &str, on: &Resource) -> Authorisation {
        let Holding { roles, glass } = holding;
        let broken = match glass {
            Glass::Whole => false,
            Glass::Broken => true,
        };
        let held = roles.iter().map(|held| match &held.team {
            None => ("Role", held.role.as_str().to_owned()),
            Some(team) => ("TeamRole", team_role(held.role, team)),
        });
        let known = RestrictedExpression::new_bool(!roles.is_empty());
        let principal = ("Person", by.to_string(), vec![("known", known)], held.collect());
        let mut context = vec![("glass".to_owned(), RestrictedExpression::new_bool(broken))];
        if action == PersonAction::GrantRole.as_str()
            && let Resource::Person(whom) = on
        {
            match uid("Person", whom.as_str()) {
                Ok(whom) => context.push(("whom".to_owned(), RestrictedExpression::new_entity_uid(whom))),
                Err(error) => return evaluation_error(&*error),
            }
        }
        match described(on) {
            Ok(resource) => self.ask(principal, action, resource, context),
            Err(error) => evaluation_error(&*error),
        }
    }

    fn ask(
        &self,
        principal: Described<'_>,
        action: &str,
        resource: Described<'_>,
        context: Vec<(String, RestrictedExpression)>,
    ) -> Authorisation {
        match self.evaluate(principal, action, resource, context) {
            Ok(authorisation) => authorisation,
            Err(error) => evaluation_error(&*error),
        }
    }

    fn evaluate(
        &self,
        principal: Described<'_>,
        action: &str,
        resource: Described<'_>,
        context: Vec<(String, RestrictedExpression)>,
    ) -> Result<Authorisation, Box<dyn std::error::Error>> {
        let action = uid("Action", action)?;
        let context = Context::from_pairs(context)?;
        let request = Request::new(
            uid(principal.0, &principal.1)?,
            action,
            uid(resource.0, &resource.1)?,
            context,
            Some(&self.schema),
        )?;
        // Members of an enumerated type are in the schema and are not given again.
        let mut given = Vec::new();
        for described in [principal, resource] {
            if described.0 != "Installation" {
                given.push(entity(described)?);
            }
        }
        let entities = Entities::from_entities(given, Some(&self.schema))?;
        let response = self.authorizer.is_authorized(&request, &self.policies, &entities);
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(error.to_string().into());
        }
        Ok(match response.decision() {
            Decision::Allow => Authorisation::Allowed,
            Decision::Deny => {
                let mut policies: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
                policies.sort();
                Authorisation::Denied { policies }
            }
        })
    }
}

fn evaluation_error(error: &dyn std::error::Error) -> Authorisation {
    Authorisation::Denied { policies: vec![format!("evaluation error: {error}")] }
}

/// A resource as policies see it. People are the installation's; a service knows who has which role for its team.
fn described(on: &Resource) -> Result<Described<'static>, Box<dyn std::error::Error>> {
    let (service, owner) = match on {
        Resource::Installation | Resource::Person(_) => {
            return Ok(("Installation", "this".to_owned(), vec![], vec![]));
        }
        Resource::Service { service, owner } => (service, owner),
        Resource::BreakGlass { team, people } => return asked(team.as_ref(), people),
    };
    let of_team = |role| held_by_team(role, owner);
    let attributes = vec![
        ("operators", of_team(Role::Operator)?),
        ("approvers", of_team(Role::Approver)?),
        ("commanders", of_team(Role::IncidentCommander)?),
    ];
    Ok(("Service", service.to_string(), attributes, vec![]))
}

fn asked(
    team: Option<&TeamName>,
    people: &BTreeSet<PersonName>,
) -> Result<Described<'static>, Box<dyn std::error::Error>> {
    let people = people.iter().map(|person| uid("Person", person.as_str()).map(RestrictedExpression::new_entity_uid));
    let mut attributes = vec![("people", RestrictedExpression::new_set(people.collect::<Result<Vec<_>, _>>()?))];
    if let Some(team) = team {
        attributes.push(("approvers", held_by_team(Role::Approver, team)?));
        attributes.push(("commanders", held_by_team(Role::IncidentCommander, team)?));
    }
    Ok(("BreakGlass", "this".to_owned(), attributes, vec![]))
}

fn held_by_team(role: Role, team: &TeamName) -> Result<RestrictedExpression, Box<dyn std::error::Error>> {
    uid("TeamRole", &team_role(role, team)).map(RestrictedExpression::new_entity_uid)
}

/// The name of a team's role. Neither part can contain the separator.
fn team_role(role: Role, team: &TeamName) -> String {
    format!("{team}/{}", role.as_str())
}

/// An entity as it is put together: type, id, attributes, parents.
type Described<'a> = (&'a str, String, Vec<(&'a str, RestrictedExpression)>, Vec<(&'a str, String)>);

fn entity(described: Described<'_>) -> Result<Entity, Box<dyn std::error::Error>> {
    let (kind, id, attributes, parents) = described;
    let attributes: HashMap<String, RestrictedExpression> =
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let parents = parents.iter().map(|(kind, id)| uid(kind, id)).collect::<Result<HashSet<_>, _>>()?;
    Ok(Entity::new(uid(kind, &id)?, attributes, parents)?)
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, Box<dyn std::error::Error>> {
    Ok(EntityUid::from_type_name_and_id(format!("Fettle::{kind}").parse()?, cedar_policy::EntityId::new(id)))
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn number(value: u32) -> RestrictedExpression {
    RestrictedExpression::new_long(i64::from(value))
}

#[cfg(test)]
mod matrix;
#[cfg(test)]
mod tests;
