//! The playbook contract's imports: each becomes a [`Call`], each [`Reply`] a result.
//!
//! Only what is granted is linked, so that a component that imports more cannot even start.

use super::bindings::playbook::fettle::host::{clock, facts, feature_flags, health, log, releases, services, types};
use super::guest::{Guest, bad_reply};
use super::virtual_wasi;
use crate::call::{
    Call, ClockCall, FactsCall, FlagCall, HealthCall, LogCall, OpenError, ReleaseCall, Reply, Revision, ServiceCall,
};
use crate::text::one_line;
use fettle_model::name::Label;
use fettle_model::playbook::{Action, GrantKind};
use fettle_model::run::MAX_SAID_BYTES;
use std::collections::BTreeSet;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker, Resource};

type Answer<T, E> = Result<std::result::Result<T, E>>;

/// A linker with what every playbook gets and what these grants add.
pub(super) fn linker(engine: &wasmtime::Engine, granted: &BTreeSet<GrantKind>) -> Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    virtual_wasi::link(&mut linker)?;
    types::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)?;
    clock::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)?;
    log::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)?;
    for kind in granted {
        match kind {
            GrantKind::Service => services::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)?,
            GrantKind::Release => releases::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)?,
            GrantKind::Flag => feature_flags::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)?,
            GrantKind::Health => health::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)?,
            GrantKind::Facts => facts::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)?,
        }
    }
    Ok(linker)
}

impl Guest {
    /// Opens a label. Text that is no label cannot be declared, so the host is not asked.
    fn open<T: 'static>(
        &mut self,
        kind: GrantKind,
        label: &str,
        call: impl FnOnce(Label) -> Call,
    ) -> Answer<Resource<T>, types::OpenError> {
        let Ok(label) = label.parse::<Label>() else {
            self.count()?;
            return Ok(Err(OpenError::Undeclared.into()));
        };
        let Reply::Opened(opened) = self.ask(call(label.clone()))? else {
            return Err(bad_reply("open"));
        };
        match opened {
            Ok(()) => Ok(Ok(Resource::new_own(self.handle(kind, &label)?))),
            Err(error) => Ok(Err(error.into())),
        }
    }

    fn ask_service(&mut self, service: &Resource<services::Service>, op: ServiceCall) -> Result<Reply> {
        let label = self.label(GrantKind::Service, service.rep())?;
        self.ask(Call::Service { label, op })
    }

    fn change_service(
        &mut self,
        service: &Resource<services::Service>,
        action: Action,
        expect: String,
    ) -> Answer<types::Receipt, types::ActError> {
        let reply = self.ask_service(service, ServiceCall::Change { action, expect: Revision(expect) })?;
        acted(reply, action.as_str())
    }

    fn ask_release(&mut self, target: &Resource<releases::Target>, op: ReleaseCall) -> Result<Reply> {
        let label = self.label(GrantKind::Release, target.rep())?;
        self.ask(Call::Release { label, op })
    }

    fn ask_flag(&mut self, flag: &Resource<feature_flags::Flag>, op: FlagCall) -> Result<Reply> {
        let label = self.label(GrantKind::Flag, flag.rep())?;
        self.ask(Call::Flag { label, op })
    }

    fn ask_health(
        &mut self,
        check: &Resource<health::Check>,
        op: HealthCall,
    ) -> Answer<health::Report, types::ReadError> {
        let label = self.label(GrantKind::Health, check.rep())?;
        let Reply::Health(result) = self.ask(Call::Health { label, op })? else {
            return Err(bad_reply("health"));
        };
        Ok(convert(result))
    }
}

fn convert<T, U: From<T>, E, F: From<E>>(result: std::result::Result<T, E>) -> std::result::Result<U, F> {
    result.map(U::from).map_err(F::from)
}

fn acted(reply: Reply, call: &str) -> Answer<types::Receipt, types::ActError> {
    let Reply::Acted(result) = reply else {
        return Err(bad_reply(call));
    };
    Ok(convert(result))
}

fn status(reply: Reply, call: &str) -> Answer<services::Status, types::ReadError> {
    let Reply::Service(result) = reply else {
        return Err(bad_reply(call));
    };
    Ok(convert(result))
}

impl types::Host for Guest {}

impl facts::Host for Guest {
    fn get(&mut self, key: String) -> Answer<facts::Fact, types::ReadError> {
        let Reply::Fact(result) = self.ask(Call::Facts(FactsCall::Get { key }))? else {
            return Err(bad_reply("facts.get"));
        };
        Ok(convert(result))
    }
}

impl clock::Host for Guest {
    fn now(&mut self) -> Result<u64> {
        let Reply::Time(now) = self.ask(Call::Clock(ClockCall::Now))? else {
            return Err(bad_reply("clock.now"));
        };
        Ok(now.0)
    }

    fn remaining(&mut self) -> Result<u32> {
        let Reply::Millis(millis) = self.ask(Call::Clock(ClockCall::Remaining))? else {
            return Err(bad_reply("clock.remaining"));
        };
        Ok(millis)
    }

    fn sleep(&mut self, duration_ms: u32) -> Result<()> {
        let Reply::Unit = self.ask(Call::Clock(ClockCall::Sleep { duration_ms }))? else {
            return Err(bad_reply("clock.sleep"));
        };
        Ok(())
    }
}

impl log::Host for Guest {
    fn event(&mut self, level: log::Level, message: String, fields: Vec<log::Field>) -> Result<()> {
        self.say(level.into(), &message, fields.into_iter().map(|field| (field.key, field.value)))
    }

    fn phase(&mut self, name: String) -> Result<()> {
        self.speak(LogCall::Phase { name: one_line(&name, MAX_SAID_BYTES) })
    }
}

impl services::Host for Guest {
    fn open(&mut self, label: String) -> Answer<Resource<services::Service>, types::OpenError> {
        Guest::open(self, GrantKind::Service, &label, |label| Call::Service { label, op: ServiceCall::Open })
    }
}

impl services::HostService for Guest {
    fn status(&mut self, service: Resource<services::Service>) -> Answer<services::Status, types::ReadError> {
        status(self.ask_service(&service, ServiceCall::Status)?, "service.status")
    }

    fn tail(&mut self, service: Resource<services::Service>, lines: u16) -> Answer<Vec<String>, types::ReadError> {
        let Reply::Lines(result) = self.ask_service(&service, ServiceCall::Tail { lines })? else {
            return Err(bad_reply("service.tail"));
        };
        Ok(convert(result))
    }

    fn start(
        &mut self,
        service: Resource<services::Service>,
        expect: String,
    ) -> Answer<types::Receipt, types::ActError> {
        self.change_service(&service, Action::Start, expect)
    }

    fn stop(
        &mut self,
        service: Resource<services::Service>,
        expect: String,
    ) -> Answer<types::Receipt, types::ActError> {
        self.change_service(&service, Action::Stop, expect)
    }

    fn restart(
        &mut self,
        service: Resource<services::Service>,
        expect: String,
    ) -> Answer<types::Receipt, types::ActError> {
        self.change_service(&service, Action::Restart, expect)
    }

    fn reload(
        &mut self,
        service: Resource<services::Service>,
        expect: String,
    ) -> Answer<types::Receipt, types::ActError> {
        self.change_service(&service, Action::Reload, expect)
    }

    fn wait_for(
        &mut self,
        service: Resource<services::Service>,
        activity: services::Activity,
        timeout_ms: u32,
    ) -> Answer<services::Status, types::ReadError> {
        let op = ServiceCall::WaitFor { activity: activity.into(), timeout_ms };
        status(self.ask_service(&service, op)?, "service.wait-for")
    }

    fn drop(&mut self, _service: Resource<services::Service>) -> Result<()> {
        Ok(())
    }
}

impl releases::Host for Guest {
    fn open(&mut self, label: String) -> Answer<Resource<releases::Target>, types::OpenError> {
        Guest::open(self, GrantKind::Release, &label, |label| Call::Release { label, op: ReleaseCall::Open })
    }
}

impl releases::HostTarget for Guest {
    fn current(
        &mut self,
        target: Resource<releases::Target>,
    ) -> Answer<(releases::Release, types::Revision), types::ReadError> {
        let Reply::CurrentRelease(result) = self.ask_release(&target, ReleaseCall::Current)? else {
            return Err(bad_reply("release.current"));
        };
        Ok(result.map(|(release, revision)| (release.into(), revision.0)).map_err(Into::into))
    }

    fn history(&mut self, target: Resource<releases::Target>) -> Answer<Vec<releases::Release>, types::ReadError> {
        let Reply::Releases(result) = self.ask_release(&target, ReleaseCall::History)? else {
            return Err(bad_reply("release.history"));
        };
        Ok(result.map(|all| all.into_iter().map(Into::into).collect()).map_err(Into::into))
    }

    fn activate(
        &mut self,
        target: Resource<releases::Target>,
        release: String,
        expect: String,
    ) -> Answer<types::Receipt, types::ActError> {
        let op = ReleaseCall::Activate { release, expect: Revision(expect) };
        acted(self.ask_release(&target, op)?, "release.activate")
    }

    fn wait_settled(
        &mut self,
        target: Resource<releases::Target>,
        timeout_ms: u32,
    ) -> Answer<releases::Release, types::ReadError> {
        let Reply::Settled(result) = self.ask_release(&target, ReleaseCall::WaitSettled { timeout_ms })? else {
            return Err(bad_reply("release.wait-settled"));
        };
        Ok(convert(result))
    }

    fn drop(&mut self, _target: Resource<releases::Target>) -> Result<()> {
        Ok(())
    }
}

impl feature_flags::Host for Guest {
    fn open(&mut self, label: String) -> Answer<Resource<feature_flags::Flag>, types::OpenError> {
        Guest::open(self, GrantKind::Flag, &label, |label| Call::Flag { label, op: FlagCall::Open })
    }
}

impl feature_flags::HostFlag for Guest {
    fn read(&mut self, flag: Resource<feature_flags::Flag>) -> Answer<feature_flags::Setting, types::ReadError> {
        let Reply::Flag(result) = self.ask_flag(&flag, FlagCall::Read)? else {
            return Err(bad_reply("flag.read"));
        };
        Ok(convert(result))
    }

    fn set(
        &mut self,
        flag: Resource<feature_flags::Flag>,
        value: String,
        expect: String,
        hold_ms: u32,
    ) -> Answer<types::Receipt, types::ActError> {
        let op = FlagCall::Set { value, expect: Revision(expect), hold_ms };
        acted(self.ask_flag(&flag, op)?, "flag.set")
    }

    fn drop(&mut self, _flag: Resource<feature_flags::Flag>) -> Result<()> {
        Ok(())
    }
}

impl health::Host for Guest {
    fn open(&mut self, label: String) -> Answer<Resource<health::Check>, types::OpenError> {
        Guest::open(self, GrantKind::Health, &label, |label| Call::Health { label, op: HealthCall::Open })
    }
}

impl health::HostCheck for Guest {
    fn probe(&mut self, check: Resource<health::Check>) -> Answer<health::Report, types::ReadError> {
        self.ask_health(&check, HealthCall::Probe)
    }

    fn wait_healthy(
        &mut self,
        check: Resource<health::Check>,
        stable_for_ms: u32,
        timeout_ms: u32,
    ) -> Answer<health::Report, types::ReadError> {
        self.ask_health(&check, HealthCall::WaitHealthy { stable_for_ms, timeout_ms })
    }

    fn drop(&mut self, _check: Resource<health::Check>) -> Result<()> {
        Ok(())
    }
}
