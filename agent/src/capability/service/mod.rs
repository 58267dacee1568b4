//! Services, whatever manages them: look, change, and tell after a crash whether it happened.
//!
//! [`ServiceHandle`] is opened by [`super::open`] for one run. The two managers differ in how they
//! look and act; what follows from a look (stale, unneeded, applied) is decided here, once and
//! without I/O.

pub(super) mod command;
mod pid_file;
pub(super) mod systemd;
mod tail;
mod unit_state;

#[cfg(test)]
mod fake_systemd;
#[cfg(test)]
mod systemd_tests;

use super::deed::{Deed, Done, Look, ServiceBefore, in_words, not_seen, undo_of};
use super::hold::HoldChange;
use super::process::{Exit, LiveProcess, ProcessRef};
use fettle_model::id::BootId;
use fettle_model::name::Label;
use fettle_model::playbook::Action;
use fettle_model::run::{Change, UndoClass};
use fettle_sandbox::call::{ActError, Activity, ReadError, Revision, ServiceStatus};
use std::time::Duration;

/// Longest that looking at a service may take; systemd answers in milliseconds, a status command
/// may start an interpreter.
pub(super) const LOOK_WITHIN: Duration = Duration::from_secs(10);

/// A service as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Observed {
    pub(super) status: ServiceStatus,
    /// See [`ServiceBefore::changed_at`].
    pub(super) changed_at: Option<u64>,
    pub(super) main: Option<ProcessRef>,
}

/// A service that is resolved for a run.
#[derive(Debug)]
pub(super) enum ServiceHandle {
    /// A systemd unit.
    Systemd(systemd::UnitHandle),
    /// Commands and a pid file.
    Command(command::CommandHandle),
}

impl ServiceHandle {
    pub(super) async fn observe(&self) -> Result<Observed, ReadError> {
        match self {
            Self::Systemd(unit) => unit.observe().await,
            Self::Command(command) => command.observe().await,
        }
    }

    pub(super) async fn tail(&self, lines: u16) -> Result<Vec<String>, ReadError> {
        match self {
            Self::Systemd(unit) => unit.tail(lines).await,
            Self::Command(command) => command.tail(lines),
        }
    }

    pub(super) async fn wait_for(&self, activity: Activity, within: Duration) -> Result<ServiceStatus, ReadError> {
        match self {
            Self::Systemd(unit) => unit.wait_for(activity, within).await,
            Self::Command(command) => command.wait_for(activity, within).await,
        }
    }

    async fn act(&self, action: Action, within: Duration) -> Result<(), ActError> {
        match self {
            Self::Systemd(unit) => unit.act(action, within).await,
            Self::Command(command) => command.act(action, within).await,
        }
    }

    /// Waits until nothing that an earlier effector started is still at work on the service.
    async fn settle(&self, within: Duration) -> Result<(), String> {
        match self {
            Self::Systemd(unit) => unit.settle(within).await,
            Self::Command(command) => command.settle(within).await,
        }
    }

    /// Looks before a change.
    pub(super) async fn before(&self, boot: BootId, expect: &Revision) -> Result<ServiceBefore, ActError> {
        let Observed { status, changed_at, main } = self.observe().await.map_err(not_seen)?;
        if &status.revision != expect {
            return Err(ActError::Stale(status.revision));
        }
        Ok(ServiceBefore { boot, activity: status.activity, revision: status.revision, changed_at, main })
    }

    /// Starts, stops, restarts or reloads it, if it is still as it was before.
    pub(super) async fn change(
        &self,
        label: &Label,
        action: Action,
        before: &ServiceBefore,
        within: Duration,
    ) -> Result<Done, ActError> {
        let now = self.before(before.boot, &before.revision).await?;
        if is_so_already(action, now.activity) {
            return Ok(Done::unneeded(undo_of(action)));
        }
        self.act(action, within).await?;
        Ok(self.done(label, action).await)
    }

    async fn done(&self, label: &Label, action: Action) -> Done {
        let opposite = match action {
            Action::Start => Some(Action::Stop),
            Action::Stop => Some(Action::Start),
            Action::Restart | Action::Reload | Action::Activate | Action::Set => None,
        };
        // The way back expects what this deed left behind. If that cannot be seen there is none.
        let inverse = match opposite {
            Some(action) => self.observe().await.ok().map(|now| Deed::Service {
                label: label.clone(),
                action,
                expect: now.status.revision,
            }),
            None => None,
        };
        let undo = if inverse.is_some() { UndoClass::Automatic } else { UndoClass::None };
        Done { change: Change::Made, undo, inverse, hold: HoldChange::Unchanged }
    }

    /// Whether a change happened before a crash.
    pub(super) async fn look_after_change(
        &self,
        boot: BootId,
        label: &Label,
        action: Action,
        before: &ServiceBefore,
        within: Duration,
    ) -> Look {
        if before.boot == boot
            && let Err(seen) = self.settle(within).await
        {
            return Look::CannotTell { seen };
        }
        let now = match self.observe().await {
            Ok(now) => now,
            Err(error) => return Look::cannot_tell(format!("the service cannot be seen: {}", in_words(&error))),
        };
        match judge(boot, action, before, &now) {
            Judgement::AlreadySo => Look::Applied(Done::unneeded(undo_of(action))),
            Judgement::Applied => Look::Applied(self.done(label, action).await),
            Judgement::NotApplied => Look::NotApplied,
            Judgement::CannotTell(seen) => Look::cannot_tell(seen),
        }
    }

    /// SIGKILL to the main process, if it is still the one that was observed.
    pub(super) async fn kill(&self, before: &ServiceBefore, within: Duration) -> Result<Done, ActError> {
        let now = self.before(before.boot, &before.revision).await?;
        let Some(main) = now.main.filter(|main| may_be_signalled(*main)) else {
            return Err(ActError::Failed("the service has no main process that may be killed".to_owned()));
        };
        let failed = |error: std::io::Error| ActError::Failed(error.to_string());
        let Some(process) = LiveProcess::open(main).map_err(failed)? else {
            return Err(ActError::Failed("the main process ended by itself".to_owned()));
        };
        process.kill().map_err(failed)?;
        match process.wait_exit(within).await {
            Ok(Exit::Ended) => Ok(killed()),
            Ok(Exit::StillRuns) => Err(ActError::Indeterminate("the process has not ended since".to_owned())),
            Err(error) => Err(ActError::Indeterminate(error.to_string())),
        }
    }

    /// Whether the main process was killed before a crash.
    pub(super) fn look_after_kill(boot: BootId, before: &ServiceBefore) -> Look {
        if before.boot != boot {
            return Look::cannot_tell("the host was rebooted in between");
        }
        match before.main.map(|main| ProcessRef::of(main.pid).map(|now| now == Some(main))) {
            // Nothing was there to be killed, so nothing was.
            None | Some(Ok(true)) => Look::NotApplied,
            Some(Ok(false)) => Look::Applied(killed()),
            Some(Err(error)) => Look::cannot_tell(error.to_string()),
        }
    }
}

const fn killed() -> Done {
    Done { change: Change::Made, undo: UndoClass::None, inverse: None, hold: HoldChange::Unchanged }
}

/// Never init, never the effector itself, whatever a pid file says.
pub(super) fn may_be_signalled(process: ProcessRef) -> bool {
    process.pid > 1 && process.pid != std::process::id()
}

const fn is_so_already(action: Action, activity: Activity) -> bool {
    match (action, activity) {
        (Action::Start, Activity::Active) | (Action::Stop, Activity::Inactive | Activity::Failed) => true,
        (
            Action::Start | Action::Stop | Action::Restart | Action::Reload | Action::Activate | Action::Set,
            Activity::Active | Activity::Inactive | Activity::Activating | Activity::Deactivating | Activity::Failed,
        ) => false,
    }
}

enum Judgement {
    AlreadySo,
    Applied,
    NotApplied,
    CannotTell(String),
}

/// What a look after a crash means. Nothing is at work on the service any more.
fn judge(boot: BootId, action: Action, before: &ServiceBefore, now: &Observed) -> Judgement {
    let activity = now.status.activity;
    if before.boot != boot {
        return Judgement::CannotTell("the host was rebooted in between".to_owned());
    }
    if is_so_already(action, before.activity) {
        // `change` would not have acted, whatever came since.
        return Judgement::AlreadySo;
    }
    let is_up = matches!(activity, Activity::Active | Activity::Activating);
    let moved = now.status.revision != before.revision;
    let as_wanted = match action {
        Action::Start | Action::Restart => moved && is_up,
        Action::Stop => moved && matches!(activity, Activity::Inactive | Activity::Failed),
        Action::Reload => match (before.changed_at, now.changed_at) {
            (Some(then), Some(now)) if then == now => return Judgement::NotApplied,
            (Some(_), Some(_)) => is_up,
            (_, _) => return Judgement::CannotTell("a reload leaves no trace under this manager".to_owned()),
        },
        Action::Activate | Action::Set => {
            return Judgement::CannotTell(format!("{} is no action of a service", action.as_str()));
        }
    };
    if as_wanted {
        Judgement::Applied
    } else if moved || action == Action::Reload {
        Judgement::CannotTell(format!("the service is {} and was changed in between", activity_text(activity)))
    } else {
        Judgement::NotApplied
    }
}

/// An activity in systemd's word.
pub(super) const fn activity_text(activity: Activity) -> &'static str {
    match activity {
        Activity::Active => "active",
        Activity::Inactive => "inactive",
        Activity::Activating => "activating",
        Activity::Deactivating => "deactivating",
        Activity::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::time::UnixMillis;

    const BOOT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const LATER_BOOT: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn boot(text: &str) -> BootId {
        text.parse().expect("a boot id")
    }

    fn before(activity: Activity, changed_at: Option<u64>) -> ServiceBefore {
        let revision = Revision("1".to_owned());
        ServiceBefore { boot: boot(BOOT), activity, revision, changed_at, main: None }
    }

    #[track_caller]
    fn check(in_boot: &str, action: Action, was: Activity, now: (Activity, &str, u64), expected: &str) {
        let (activity, revision, changed_at) = now;
        let status = ServiceStatus {
            activity,
            since: UnixMillis(0),
            restarts_last_hour: 0,
            main_pid: None,
            revision: Revision(revision.to_owned()),
        };
        let now = Observed { status, changed_at: Some(changed_at), main: None };
        let judged = match judge(boot(in_boot), action, &before(was, Some(1)), &now) {
            Judgement::AlreadySo => "already",
            Judgement::Applied => "applied",
            Judgement::NotApplied => "not applied",
            Judgement::CannotTell(_) => "cannot tell",
        };
        assert_eq!(judged, expected, "{action:?} {was:?} {now:?}");
    }

    #[test]
    fn looking_after_a_crash_says_applied_only_for_what_the_action_makes() {
        use Activity::{Activating, Active, Deactivating, Failed, Inactive};
        check(BOOT, Action::Restart, Active, (Active, "2", 2), "applied");
        check(BOOT, Action::Restart, Failed, (Activating, "2", 2), "applied");
        check(BOOT, Action::Restart, Active, (Active, "1", 1), "not applied");
        check(BOOT, Action::Restart, Active, (Inactive, "2", 2), "cannot tell");
        check(BOOT, Action::Restart, Active, (Failed, "2", 2), "cannot tell");
        check(BOOT, Action::Start, Inactive, (Active, "2", 2), "applied");
        check(BOOT, Action::Start, Inactive, (Inactive, "1", 1), "not applied");
        check(BOOT, Action::Start, Inactive, (Failed, "2", 2), "cannot tell");
        check(BOOT, Action::Start, Active, (Failed, "2", 2), "already");
        check(BOOT, Action::Stop, Active, (Inactive, "2", 2), "applied");
        check(BOOT, Action::Stop, Active, (Failed, "2", 2), "applied");
        check(BOOT, Action::Stop, Active, (Active, "1", 1), "not applied");
        check(BOOT, Action::Stop, Active, (Active, "2", 2), "cannot tell");
        check(BOOT, Action::Stop, Active, (Deactivating, "1", 2), "not applied");
        check(BOOT, Action::Stop, Inactive, (Active, "2", 2), "already");
        check(BOOT, Action::Reload, Active, (Active, "1", 2), "applied");
        check(BOOT, Action::Reload, Active, (Active, "1", 1), "not applied");
        check(BOOT, Action::Reload, Active, (Failed, "2", 2), "cannot tell");
    }

    #[test]
    fn nothing_can_be_told_across_a_reboot() {
        for action in [Action::Start, Action::Stop, Action::Restart, Action::Reload] {
            check(LATER_BOOT, action, Activity::Active, (Activity::Active, "2", 2), "cannot tell");
        }
    }

    #[test]
    fn a_manager_that_keeps_no_time_of_change_cannot_tell_a_reload() {
        let status = ServiceStatus {
            activity: Activity::Active,
            since: UnixMillis(0),
            restarts_last_hour: 0,
            main_pid: None,
            revision: Revision("1".to_owned()),
        };
        let now = Observed { status, changed_at: None, main: None };
        let judged = judge(boot(BOOT), Action::Reload, &before(Activity::Active, None), &now);
        assert!(matches!(judged, Judgement::CannotTell(_)));
    }
}
