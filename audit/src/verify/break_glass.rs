//! Broken glass: whether two people, each with a key of their own, opened a role for half an hour and no longer, and
//! whether nothing lasting was given under it.

use super::finding::{At, Findings, Rule};
use super::people::People;
use fettle_model::actor::actor;
use fettle_model::break_glass::{
    BREAK_GLASS_LASTS, BreakGlassAsked, BreakGlassClosed, BreakGlassOpened, MAX_ASK_WAITS,
};
use fettle_model::counter::LogPosition;
use fettle_model::digest::EnvelopeDigest;
use fettle_model::id::BreakGlassId;
use fettle_model::identity::{HeldRole, Reach, Role};
use fettle_model::incident::{IncidentCause, IncidentOpened};
use fettle_model::name::{PersonName, TeamName};
use fettle_model::record::{Author, Body, Record};
use fettle_model::time::UnixMillis;
use std::collections::BTreeMap;

/// Every ask of the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Glasses {
    known: BTreeMap<BreakGlassId, Known>,
    /// The newest time in the log.
    newest: UnixMillis,
}

#[derive(Debug, Clone)]
struct Known {
    asked: BreakGlassAsked,
    by: PersonName,
    key: [u8; 32],
    envelope: EnvelopeDigest,
    opened: Option<Opened>,
    progress: Progress,
}

#[derive(Debug, Clone)]
struct Opened {
    by: PersonName,
    until: UnixMillis,
    position: LogPosition,
    called: Called,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Live,
    Closed,
}

/// Whether people were called to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Called {
    No,
    Yes,
}

impl Known {
    /// Whether it waits or is open.
    fn is_live(&self, at: UnixMillis) -> bool {
        let until = self.opened.as_ref().map_or(self.asked.expires_at, |opened| opened.until);
        self.progress == Progress::Live && at < until
    }
}

impl Glasses {
    pub(super) fn see(&mut self, at: UnixMillis) {
        self.newest = self.newest.max(at);
    }

    /// What a person holds by broken glass.
    pub(super) fn held(&self, person: &PersonName) -> Option<HeldRole> {
        let of = |known: &&Known| known.by == *person && known.opened.is_some() && known.is_live(self.newest);
        self.known.values().find(of).map(|known| known.asked.held())
    }

    /// What a person said of it. By anybody else it is flagged as such, and has no effect.
    pub(super) fn said(&mut self, record: &Record, envelope: EnvelopeDigest, people: &People, at: &mut At<'_>) {
        let Author::Person { person } = &record.author else { return };
        if let Body::BreakGlassAsked(asked) = &record.body {
            self.ask(person, asked, envelope, people, at);
        } else if let Body::BreakGlassOpened(opened) = &record.body {
            self.open(person, opened, people, at);
        }
    }

    fn ask(
        &mut self,
        person: &PersonName,
        asked: &BreakGlassAsked,
        envelope: EnvelopeDigest,
        people: &People,
        at: &mut At<'_>,
    ) {
        let mut wrong = |what: &str| at.flag(Rule::BreakGlass, format!("the ask {} {what}", asked.ask));
        if asked.expires_at <= self.newest || asked.expires_at > self.newest.plus(MAX_ASK_WAITS) {
            wrong("had expired, or waits too long");
        }
        if !people.has_role(person) {
            wrong("is by somebody without a role");
        }
        if people.holds(person, &asked.held()) || (asked.role.reach() == Reach::Installation && asked.team.is_some()) {
            wrong("is for a role that they hold, or that no team has");
        }
        if self.known.values().any(|known| known.by == *person && known.is_live(self.newest)) {
            wrong("is by somebody whose ask waits or is open");
        }
        // Without a key the record was not taken.
        let Some(key) = people.key(person) else { return };
        let (key, by, opened) = (*key.as_bytes(), person.clone(), None);
        let known = Known { asked: asked.clone(), by, key, envelope, opened, progress: Progress::Live };
        if self.known.insert(asked.ask, known).is_some() {
            at.flag(Rule::Identifier, format!("the ask {} was made before", asked.ask));
        }
    }

    fn open(&mut self, person: &PersonName, opened: &BreakGlassOpened, people: &People, at: &mut At<'_>) {
        let position = at.position;
        let mut wrong = |what: &str| at.flag(Rule::BreakGlass, format!("{person} confirmed {}, {what}", opened.ask));
        let Some(known) = self.known.get_mut(&opened.ask) else { return wrong("which nobody asked") };
        if known.opened.is_some() || !known.is_live(self.newest) {
            return wrong("which did not wait any more");
        }
        if opened.asked != known.envelope {
            return wrong("and signed something else than what was asked");
        }
        let own_key = people.key(person).map(|key| *key.as_bytes());
        if *person == known.by || own_key == Some(known.key) {
            wrong("which they asked for");
        }
        if people.vouched(person, &known.by) {
            wrong("and one of the two had registered the other's key or identity");
        }
        if people.key(&known.by).map(|key| *key.as_bytes()) != Some(known.key) || !people.has_role(&known.by) {
            wrong("whose asker had no role any more, or another key");
        }
        if !confirms(person, known.asked.team.as_ref(), people) {
            wrong("and is no approver, incident commander or administrator there");
        }
        let until = self.newest.plus(BREAK_GLASS_LASTS);
        known.opened = Some(Opened { by: person.clone(), until, position, called: Called::No });
    }

    pub(super) fn close(&mut self, closed: &BreakGlassClosed, at: &mut At<'_>) {
        let newest = self.newest;
        match self.known.get_mut(&closed.ask).filter(|known| known.is_live(newest)) {
            Some(known) => known.progress = Progress::Closed,
            None => at.flag(Rule::BreakGlass, format!("{} was closed, and neither waited nor was open", closed.ask)),
        }
    }

    pub(super) fn revoke(&mut self, person: &PersonName) {
        let theirs =
            |known: &Known| known.by == *person || known.opened.as_ref().is_some_and(|opened| opened.by == *person);
        for known in self.known.values_mut().filter(|known| theirs(known)) {
            known.progress = Progress::Closed;
        }
    }

    /// What people are called to is what was opened, with its end.
    pub(super) fn called(&mut self, incident: &IncidentOpened, at: &mut At<'_>) {
        let IncidentCause::BrokenGlass { ask, person, role, confirmed_by, until } = &incident.cause else { return };
        let known = self.known.get_mut(ask).filter(|known| known.by == *person && known.asked.held() == *role);
        let opened = known.and_then(|known| known.opened.as_mut());
        match opened.filter(|opened| opened.by == *confirmed_by && opened.until == *until) {
            Some(opened) => opened.called = Called::Yes,
            None => at.flag(Rule::BreakGlass, format!("people were called to {ask}, which was not opened so")),
        }
    }

    /// What broken glass never allows, whatever else somebody holds.
    pub(super) fn judge(&self, record: &Record, at: &mut At<'_>) {
        let lasting = matches!(
            record.body,
            Body::RoleGranted(_)
                | Body::PublisherTrusted(_)
                | Body::ConfigurationSet(_)
                | Body::AutomationResumed(_)
                | Body::FreezeLifted(_)
                | Body::MuteStarted(_)
        );
        let Some(person) = actor(record).filter(|_| lasting) else { return };
        if let Some(held) = self.held(person) {
            let what = record.body.kind().as_str();
            at.flag(Rule::BreakGlass, format!("{what} by {person}, who was {held} by broken glass"));
        }
    }

    pub(super) fn finish(&self, findings: &mut Findings) {
        for (ask, known) in &self.known {
            let silent = known.opened.as_ref().filter(|opened| opened.called == Called::No);
            if let Some(opened) = silent {
                findings.add(
                    Some(opened.position),
                    Rule::BreakGlass,
                    format!("{ask} was opened, and nobody was called"),
                );
            }
        }
    }
}

/// Who may be the second person.
fn confirms(person: &PersonName, team: Option<&TeamName>, people: &People) -> bool {
    let everywhere = [Role::Approver, Role::IncidentCommander, Role::Administrator].map(HeldRole::from);
    let of_team = [Role::Approver, Role::IncidentCommander].map(|role| HeldRole { role, team: team.cloned() });
    everywhere.iter().chain(&of_team).any(|held| people.holds(person, held))
}
