//! A configuration with a mistake: file, line and remedy, and the running one stays.

use anyhow::{Context as _, ensure};
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::site::{LOOSE, Site};
use std::fs;

/// A mistake: what is replaced in the sound files by what, and what must be said of it.
struct Mistake {
    what: &'static str,
    text: &'static str,
    replacement: &'static str,
    file: &'static str,
    said: &'static str,
}

const MISTAKES: [Mistake; 5] = [
    Mistake { what: "no TOML", text: "tier = 1", replacement: "tier = ", file: "services.toml:4:", said: "" },
    Mistake {
        what: "an unknown key",
        text: "tier = 1",
        replacement: "tier = 1\nmaximum-unavailable = 3",
        file: "services.toml:5:",
        said: "maximum-unavailable",
    },
    Mistake {
        what: "an empty selector",
        text: "environments = [\"staging\", \"production\"]",
        replacement: "environments = []",
        file: "services.toml:5:",
        said: "at least one environment or host",
    },
    Mistake {
        what: "a missing check",
        text: "check = \"answers\"",
        replacement: "check = \"sings\"",
        file: "remediations.toml:4:",
        said: "which service till does not have",
    },
    Mistake {
        what: "a missing playbook",
        text: "playbook = \"restart-service\"",
        replacement: "playbook = \"restart-everything\"",
        file: "remediations.toml:5:",
        said: "restart-everything, which is not admitted",
    },
];

#[test]
fn a_mistaken_configuration_is_refused_with_file_line_and_remedy_and_changes_nothing() -> anyhow::Result<()> {
    Site::test_bare(|site| {
        site.make_publisher()?;
        site.publish(Remedy::Restart, Pace::AsShipped)?;
        site.configure(&[(Remedy::Restart, Remedy::Restart.playbook())], LOOSE)?;
        let (services, remediations) = (site.path("services.toml"), site.path("remediations.toml"));
        let sound = [&services, &remediations].map(fs::read_to_string);
        let [sound_services, sound_remediations] = sound;
        let (sound_services, sound_remediations) = (sound_services?, sound_remediations?);
        let names = [services.display().to_string(), remediations.display().to_string()];
        let before = (site.operator.services()?, site.verified_log()?.records().len());
        for Mistake { what, text, replacement, file, said } in MISTAKES {
            ensure!(sound_services.contains(text) || sound_remediations.contains(text), "{what}: {text}");
            fs::write(&services, sound_services.replacen(text, replacement, 1))?;
            fs::write(&remediations, sound_remediations.replacen(text, replacement, 1))?;
            let (code, complaint) = site.operator.refused(&["apply", &names[0], &names[1]]).context(what)?;
            let told = complaint.contains(file) && complaint.contains(said) && complaint.contains("remedy");
            ensure!(told, "{what}: exit {code}: {complaint}");
            let simulate = ["simulate", "-f", &names[0], "-f", &names[1]];
            let (exit, simulated) = site.operator.refused(&simulate).context(what)?;
            ensure!(
                exit == code && simulated.contains(file) && simulated.contains(said),
                "{what}: {exit}: {simulated}"
            );
        }
        let after = (site.operator.services()?, site.verified_log()?.records().len());
        ensure!(before == after, "the running configuration stays: {before:?}, {after:?}");
        Ok(())
    })
}
