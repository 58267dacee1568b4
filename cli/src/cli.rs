//! The command line itself: global options, commands, and which module carries each out.

use crate::answer::Answer;
use crate::apply::{self, Apply};
use crate::break_glass::{self, BreakGlassCommand};
use crate::completions::{self, Completions};
use crate::context::{Context, wall_clock};
use crate::evidence::{self, EvidenceCommand};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::freeze::{self, FreezeCommand};
use crate::host::{self, HostCommand};
use crate::log::{self, LogCommand};
use crate::login::{self, Login};
use crate::mute::{self, MuteCommand};
use crate::person::{self, PersonCommand};
use crate::playbook::{self, PlaybookCommand};
use crate::promotion::{self, PromotionCommand};
use crate::proposal::{self, Approve, ProposalCommand, Reject};
use crate::publisher::{self, PublisherCommand};
use crate::rollout::{self, RolloutCommand};
use crate::run::{self, RunCommand};
use crate::schedule::{self, ScheduleCommand};
use crate::service::{self, ServiceCommand};
use crate::simulate::{self, Simulate};
use crate::switch::{self, Order};
use crate::terminal::{self, Format};
use crate::token::{self, TokenCommand};
use crate::why::{self, Why};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// Heals hosts: playbooks, permits, evidence, and one signed log. The command line of operators,
/// authors and auditors.
#[derive(Debug, Parser)]
#[command(
    name = "fettle",
    version,
    about = "Heals hosts: playbooks, permits, evidence, and one signed log",
    long_about = LONG_ABOUT,
    after_help = "See `fettle --help` for examples and exit codes.",
    after_long_help = after_long_help(),
    max_term_width = 100,
    disable_help_subcommand = true,
)]
pub struct Fettle {
    /// The profile's folder: identity and address [default: ~/.config/fettle]
    #[arg(
        long,
        global = true,
        env = "FETTLE_PROFILE",
        hide_env_values = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    profile: Option<PathBuf>,
    /// Print one JSON document instead of text; failures are one on standard error
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    #[command(subcommand)]
    command: Noun,
}

const LONG_ABOUT: &str = "\
Fettle heals hosts. An agent on each host runs checks; when one fails, the control plane decides by
its rules whether a playbook may act there, and every decision and every action is a record of one
signed log. This is the command line of operators, authors and auditors.";

fn after_long_help() -> String {
    format!("{EXAMPLES}\n\n{}", Exit::table())
}

const EXAMPLES: &str = "\
A first host:
  fettle token create --environment staging --host web-1      then start its agent with the token
  fettle apply services.toml remediations.toml                 what is watched, and what answers it
  fettle host list
  fettle simulate -f remediations.toml --since 30d             what an edit would have done, before it is applied

A person, identified by the OpenID provider of [oidc] in controlplane.toml:
  fettle person add bob --role operator --oidc-subject SUB     by an administrator, once
  fettle login --control-plane cp.example:7444 --ca-pin PIN    by bob; from then on: fettle login

A first playbook, from component to evidence:
  fettle playbook keygen --out publisher.key
  fettle publisher trust acme PUBLIC-KEY
  fettle playbook pack --component x.wasm --manifest playbook.toml --out x.playbook
  fettle playbook test x.playbook --scenarios scenarios
  fettle playbook publish --package x.playbook --key publisher.key --publisher acme --scenarios scenarios
  fettle playbook drill x --host web-1 --remediation restart-web --wait
  fettle evidence show restart-web                             what production still lacks

On call:
  fettle status                                                what holds automation back
  fettle why web/http@web-1                                    why it did, or did not, act
  fettle why not restart-service web                           why it would not act now, on every host
  fettle proposal list                                         what waits for a yes
  fettle approve PROPOSAL                                      signed with your own key
  fettle stop service:web --why \"database move\"
  fettle resume service:web --why \"done\"

For the auditor, who trusts nobody here:
  fettle log policy --out policy.txt                           once, kept apart
  fettle log export --out log.bundle
  fettle log verify log.bundle --policy policy.txt             exits 0, 1 or 2; no network needed

Most commands talk to a control plane as the holder of a profile; log verify, playbook keygen, pack
and test, apply --check and completions need none.";

#[derive(Debug, Subcommand)]
enum Noun {
    /// What holds automation back, who is called, how many hosts are there
    Status,
    /// Why automation did, or did not, act
    Why(Why),
    /// Stop automation in a scope, within a second of reaching each agent
    Stop(Order),
    /// Let stopped automation go on; also closes a breaker that failures opened
    Resume(Order),
    /// Freezes: hold automation back for a while, list, lift
    #[command(subcommand)]
    Freeze(FreezeCommand),
    /// Mutes: hold routine incidents back for a while, never automation: start, list, lift
    #[command(subcommand)]
    Mute(MuteCommand),
    /// How the newest configuration reaches the hosts: show, resume, abort
    #[command(subcommand)]
    Rollout(RolloutCommand),
    /// What has earned to be trusted further: list
    #[command(subcommand)]
    Promotion(PromotionCommand),
    /// What waits for a person: list, show
    #[command(subcommand)]
    Proposal(ProposalCommand),
    /// Say yes to a proposal, signed with your own key
    Approve(Approve),
    /// Say no to a proposal, which ends it
    Reject(Reject),
    /// Hosts: list, show, quarantine, revoke, reinstate
    #[command(subcommand)]
    Host(HostCommand),
    /// Services and the health of their checks
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Set services and remediations from TOML files
    Apply(Apply),
    /// What edited rules would have done with the faults of the past; changes nothing
    Simulate(Simulate),
    /// Runs: list, show step by step, start one
    #[command(subcommand)]
    Run(RunCommand),
    /// Playbooks: pack, test, publish, drill, list, show
    #[command(subcommand)]
    Playbook(PlaybookCommand),
    /// Evidence: what production needs to have proved, what is proved, and what would earn the rest
    #[command(subcommand)]
    Evidence(EvidenceCommand),
    /// Schedules: drills that come again, when the next is due, how the last one ended
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Publishers of playbooks
    #[command(subcommand)]
    Publisher(PublisherCommand),
    /// The signed log: list, show, export, verify
    #[command(subcommand)]
    Log(LogCommand),
    /// Join tokens, which enrol agents
    #[command(subcommand)]
    Token(TokenCommand),
    /// People: add, renew one's own certificate, register a signing key, grant a role, revoke
    #[command(subcommand)]
    Person(PersonCommand),
    /// A role for half an hour, opened by two people, in front of everybody: ask, confirm, close, list
    #[command(subcommand)]
    BreakGlass(BreakGlassCommand),
    /// Log in at the OpenID provider: a certificate for a working day
    Login(Login),
    /// Completions for a shell
    Completions(Completions),
}

/// Parses the command line, carries it out, prints the outcome.
pub async fn main(arguments: impl IntoIterator<Item = OsString>, home: Option<PathBuf>) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let Fettle { profile, json, command } = match Fettle::try_parse_from(&arguments) {
        Ok(parsed) => parsed,
        // Whether --json was meant is known only from the text, since nothing was parsed.
        Err(error) if arguments.iter().any(|argument| argument == "--json") => {
            return unparsed(&error, Format::Programs);
        }
        Err(error) => return unparsed(&error, Format::People),
    };
    let format = if json { Format::Programs } else { Format::People };
    let profile = profile.or_else(|| home.map(|home| home.join(".config").join("fettle")));
    let context = Context { profile, format, now: wall_clock() };
    let outcome = carry_out(command, &context).await;
    terminal::finish(&outcome, format)
}

fn unparsed(error: &clap::Error, format: Format) -> Exit {
    let text = error.render().to_string();
    match (error.use_stderr(), format) {
        (false, _) => terminal::print(&text).unwrap_or(Exit::Ok),
        (true, Format::People) => {
            terminal::note(text.trim_end());
            Exit::Usage
        }
        (true, Format::Programs) => {
            let message = text.trim_start_matches("error: ").trim_end();
            terminal::finish(&Err(Failure::new(Exit::Usage, message, "see `fettle --help`")), format)
        }
    }
}

async fn carry_out(command: Noun, context: &Context) -> Result<Answer, Failure> {
    match command {
        Noun::Status => switch::status(context).await,
        Noun::Why(command) => why::run(command, context).await,
        Noun::Stop(order) => switch::stop(order, context).await,
        Noun::Resume(order) => switch::resume(order, context).await,
        Noun::Freeze(command) => freeze::run(command, context).await,
        Noun::Mute(command) => mute::run(command, context).await,
        Noun::Rollout(command) => rollout::run(command, context).await,
        Noun::Promotion(command) => promotion::run(command, context).await,
        Noun::Proposal(command) => proposal::run(command, context).await,
        Noun::Approve(command) => proposal::approve(command, context).await,
        Noun::Reject(command) => proposal::reject(command, context).await,
        Noun::Host(command) => host::run(command, context).await,
        Noun::Service(command) => service::run(command, context).await,
        Noun::Apply(command) => apply::run(command, context).await,
        Noun::Simulate(command) => simulate::run(command, context).await,
        Noun::Run(command) => run::run(command, context).await,
        Noun::Playbook(command) => playbook::run(command, context).await,
        Noun::Evidence(command) => evidence::run(command, context).await,
        Noun::Schedule(command) => schedule::run(command, context).await,
        Noun::Publisher(command) => publisher::run(command, context).await,
        Noun::Log(command) => log::run(command, context).await,
        Noun::Token(command) => token::run(command, context).await,
        Noun::Person(command) => person::run(command, context).await,
        Noun::BreakGlass(command) => break_glass::run(command, context).await,
        Noun::Login(command) => login::run(command, context).await,
        Noun::Completions(command) => completions::run(&command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Fettle::command().debug_assert();
    }

    #[test]
    fn the_help_ends_with_every_exit_code() {
        let help = Fettle::command().render_long_help().to_string();
        assert!(help.trim_end().ends_with(&Exit::table()), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
}
