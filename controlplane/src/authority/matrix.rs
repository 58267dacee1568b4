//! Every role by every action by every kind of resource: what is allowed, as a reviewed table, and what
//! the floors hold whatever the table says.

use super::*;
use fettle_model::identity::HeldRole;
use fettle_model::identity::Reach;
use std::fmt::Write as _;

const ME: &str = "me";

/// What somebody asks for: an action, on something.
#[derive(Clone)]
enum Question {
    Do(PersonAction, &'static str, Resource),
    See(Reading),
}

fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a name")
}

fn service_of(team: &str) -> Resource {
    Resource::Service { service: name("web"), owner: name(team) }
}

fn asked_by(person: &str, team: Option<&str>) -> Resource {
    Resource::BreakGlass { team: team.map(name), people: BTreeSet::from([name(person)]) }
}

/// Every action on every kind of resource, and every reading.
fn questions() -> Vec<Question> {
    let mut questions: Vec<Question> = [Reading::State, Reading::Log, Reading::ExportLog].map(Question::See).into();
    for action in PersonAction::ALL {
        let on = match action {
            PersonAction::Stop
            | PersonAction::Resume
            | PersonAction::Freeze
            | PersonAction::LiftFreeze
            | PersonAction::Mute
            | PersonAction::LiftMute
            | PersonAction::StartDrill
            | PersonAction::WishRun
            | PersonAction::Approve => vec![
                ("installation", Resource::Installation),
                ("own team's service", service_of("own")),
                ("other team's service", service_of("other")),
            ],
            PersonAction::GrantRole | PersonAction::RevokePerson | PersonAction::RevokeRole => {
                vec![("somebody", Resource::Person(name("bob"))), ("oneself", Resource::Person(name(ME)))]
            }
            PersonAction::ConfirmBreakGlass | PersonAction::CloseBreakGlass => vec![
                ("somebody's ask", asked_by("bob", None)),
                ("somebody's ask for the own team", asked_by("bob", Some("own"))),
                ("somebody's ask for another team", asked_by("bob", Some("other"))),
                ("one's own ask", asked_by(ME, None)),
            ],
            PersonAction::CreateToken
            | PersonAction::SetConfiguration
            | PersonAction::AdmitPlaybook
            | PersonAction::TrustPublisher
            | PersonAction::AskBreakGlass
            | PersonAction::RenewCertificate
            | PersonAction::SetSigningKey
            | PersonAction::LogIn
            | PersonAction::SetHostState => vec![("installation", Resource::Installation)],
        };
        questions.extend(on.into_iter().map(|(words, on)| Question::Do(action, words, on)));
    }
    questions
}

/// Each role for the installation, and for one's own team.
fn holdings() -> Vec<HeldRole> {
    let team = Role::ALL.map(|role| HeldRole { role, team: Some(name("own")) });
    Role::ALL.map(HeldRole::from).into_iter().chain(team).collect()
}

fn allowed(authority: &Authority, roles: &[HeldRole], question: &Question) -> bool {
    allowed_with(authority, roles, Glass::Whole, question)
}

fn allowed_with(authority: &Authority, roles: &[HeldRole], glass: Glass, question: &Question) -> bool {
    let (me, holding) = (name(ME), Holding { roles: roles.iter().cloned().collect(), glass });
    let said = match question {
        Question::Do(action, _, on) => authority.person(&Petition { by: &me, holding: &holding, action: *action, on }),
        Question::See(reading) => authority.reader(&me, &holding, *reading),
    };
    if let Authorisation::Denied { policies } = &said {
        assert!(policies.iter().all(|id| id.starts_with("floor-")), "no error, no default that forbids: {policies:?}");
    }
    said == Authorisation::Allowed
}

#[test]
fn who_may_what() {
    let authority = Authority::new().expect("sound policies");
    let mut table = String::new();
    for question in questions() {
        let of = |team: Option<&str>| {
            let roles = Role::ALL.into_iter().filter(|role| {
                let held = HeldRole { role: *role, team: team.map(name) };
                allowed(&authority, &[held], &question)
            });
            roles.map(Role::as_str).collect::<Vec<_>>().join(" ")
        };
        let what = match &question {
            Question::Do(action, words, _) => format!("{} on {words}", action.as_str()),
            Question::See(reading) => reading.action().to_owned(),
        };
        writeln!(table, "{what}\n    {}", of(None)).expect("written");
        let team = of(Some("own"));
        if !team.is_empty() {
            writeln!(table, "    of the own team: {team}").expect("written");
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn nobody_without_a_role_may_anything() {
    // So stands whoever was revoked.
    let authority = Authority::new().expect("sound policies");
    for question in questions() {
        assert!(!allowed(&authority, &[], &question));
    }
}

#[test]
fn whoever_holds_two_roles_may_what_either_allows_and_no_more() {
    let authority = Authority::new().expect("sound policies");
    let (holdings, questions) = (holdings(), questions());
    let alone: Vec<Vec<bool>> = holdings
        .iter()
        .map(|held| {
            let may = |question| allowed(&authority, std::slice::from_ref(held), question);
            questions.iter().map(may).collect()
        })
        .collect();
    for (one, of_one) in holdings.iter().zip(&alone) {
        for (other, of_other) in holdings.iter().zip(&alone) {
            for ((question, one_may), other_may) in questions.iter().zip(of_one).zip(of_other) {
                let both = allowed(&authority, &[one.clone(), other.clone()], question);
                assert_eq!(both, *one_may || *other_may, "{one} and {other}");
            }
        }
    }
}

#[test]
fn a_teams_role_counts_for_its_services_and_only_where_a_role_may_have_a_team() {
    let authority = Authority::new().expect("sound policies");
    for held in holdings().into_iter().filter(|held| held.team.is_some()) {
        for question in questions() {
            let own_service = matches!(&question, Question::Do(_, _, on) if *on == service_of("own"));
            let own_keys = matches!(
                &question,
                Question::Do(PersonAction::RenewCertificate | PersonAction::LogIn | PersonAction::SetSigningKey, ..)
            );
            // Everybody asks, and ends what they asked for; the team's own decide about an ask for it.
            let glass = match &question {
                Question::Do(PersonAction::AskBreakGlass, ..) => true,
                Question::Do(PersonAction::CloseBreakGlass, _, on) if *on == asked_by(ME, None) => true,
                Question::Do(PersonAction::ConfirmBreakGlass | PersonAction::CloseBreakGlass, _, on) => {
                    *on == asked_by("bob", Some("own")) && held.role.reach() == Reach::Team
                }
                Question::Do(..) | Question::See(_) => false,
            };
            if allowed(&authority, std::slice::from_ref(&held), &question) {
                assert!(glass || own_keys || (own_service && held.role.reach() == Reach::Team), "{held}");
            }
        }
    }
}

#[test]
fn floors_hold_for_every_role_on_its_own() {
    let authority = Authority::new().expect("sound policies");
    for held in holdings() {
        let may = |question: &Question| allowed(&authority, std::slice::from_ref(&held), question);
        for question in questions() {
            let Question::Do(action, _, on) = &question else { continue };
            let expected: &[Role] = match action {
                PersonAction::GrantRole if *on == Resource::Person(name(ME)) => &[],
                PersonAction::GrantRole
                | PersonAction::RevokePerson
                | PersonAction::RevokeRole
                | PersonAction::TrustPublisher => &[Role::Administrator],
                PersonAction::AskBreakGlass | PersonAction::CloseBreakGlass => &Role::ALL,
                PersonAction::ConfirmBreakGlass if *on == asked_by(ME, None) => &[],
                PersonAction::ConfirmBreakGlass => &[Role::Approver, Role::IncidentCommander, Role::Administrator],
                PersonAction::AdmitPlaybook => &[Role::Author, Role::Operator],
                PersonAction::RenewCertificate | PersonAction::LogIn | PersonAction::SetSigningKey => &Role::ALL,
                PersonAction::Stop => &[Role::Operator, Role::IncidentCommander],
                PersonAction::Approve => &[Role::Approver],
                PersonAction::Resume
                | PersonAction::Freeze
                | PersonAction::LiftFreeze
                | PersonAction::Mute
                | PersonAction::LiftMute
                | PersonAction::StartDrill
                | PersonAction::WishRun
                | PersonAction::CreateToken
                | PersonAction::SetConfiguration
                | PersonAction::SetHostState => &[Role::Operator],
            };
            assert!(!may(&question) || expected.contains(&held.role), "{held} {}", action.as_str());
        }
    }
}

#[test]
fn nobody_grants_to_themselves_whatever_they_hold() {
    let authority = Authority::new().expect("sound policies");
    let oneself = Resource::Person(name(ME));
    let (me, holding) = (name(ME), Holding { roles: holdings().into_iter().collect(), glass: Glass::Whole });
    let petition = Petition { by: &me, holding: &holding, action: PersonAction::GrantRole, on: &oneself };
    let expected = Authorisation::Denied { policies: vec!["floor-nobody-grants-to-themselves".to_owned()] };
    assert_eq!(authority.person(&petition), expected);
}

#[test]
fn broken_glass_gives_nothing_lasting_and_loosens_nothing_whatever_role_it_is_of() {
    let authority = Authority::new().expect("sound policies");
    let mut never = BTreeSet::new();
    for question in questions() {
        let broken = allowed_with(&authority, &holdings(), Glass::Broken, &question);
        assert!(!broken || allowed(&authority, &holdings(), &question), "it forbids, and permits nothing");
        if let Question::Do(action, ..) = &question
            && allowed(&authority, &holdings(), &question)
            && !broken
        {
            never.insert(*action);
        }
    }
    let expected = [
        PersonAction::SetConfiguration,
        PersonAction::TrustPublisher,
        PersonAction::GrantRole,
        PersonAction::AskBreakGlass,
        PersonAction::ConfirmBreakGlass,
        PersonAction::Resume,
        PersonAction::LiftFreeze,
        PersonAction::Mute,
    ];
    assert_eq!(never, BTreeSet::from(expected));
}
