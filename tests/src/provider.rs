//! The OpenID provider of a test: the certified `oidc-provider` for Node, over TLS on loopback, and a person who
//! fills in its forms. Started by the tests that log in.
//!
//! Its packages are pinned by `tests/oidc/package-lock.json` and installed into the target folder, once.

use crate::chassis;
use crate::prerequisites;
use crate::programs;
use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;
use xtask::process;

/// Fettle's name at the provider.
pub const CLIENT: &str = "fettle";
/// The files that make the provider.
const FILES: [&str; 3] = ["package.json", "package-lock.json", "provider.mjs"];
/// For one order: a key of 2048 bits takes half a second, a login ten requests; on a busy machine ten times that.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// Whose signature a forged token has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The provider itself.
    Provider,
    /// Another key, under a name that the provider did not publish.
    Stranger,
    /// Another key, under the name of the provider's.
    Imposter,
}

impl Signer {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Stranger => "stranger",
            Self::Imposter => "imposter",
        }
    }
}

/// A provider that runs.
#[derive(Debug)]
pub struct Provider {
    place: Place,
    process: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
}

/// Where a provider runs, and with which certificate.
#[derive(Debug, Clone)]
struct Place {
    folder: PathBuf,
    address: Ipv4Addr,
    port: u16,
    certificate: String,
    key: String,
}

impl Provider {
    /// Installs and starts one; its files are in `logs`.
    pub fn start(logs: &Path) -> anyhow::Result<Self> {
        prerequisites::require_node()?;
        let (address, port) = (programs::own_address(), programs::own_port());
        let made = rcgen::generate_simple_self_signed(vec![address.to_string()]).context("make a certificate")?;
        let place = Place {
            folder: installed()?,
            address,
            port,
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        };
        fs::write(logs.join("provider.pem"), &place.certificate).context("write the provider's certificate")?;
        Self::at(place)
    }

    fn at(place: Place) -> anyhow::Result<Self> {
        let argument = json!({
            "address": place.address, "port": place.port, "certificate": place.certificate, "key": place.key,
            "client": CLIENT,
        });
        let mut process = chassis::clean("node")
            .arg(place.folder.join("provider.mjs"))
            .arg(argument.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start the provider")?;
        let orders = process.stdin.take();
        let said = BufReader::new(process.stdout.take().context("the provider has no output")?);
        // One answer for each order, and a line at the start.
        let (tell, answers) = mpsc::sync_channel(16);
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let provider = Self { place, process, orders, answers };
        provider.answers.recv_timeout(ANSWER_PATIENCE).context("the provider did not start")?;
        Ok(provider)
    }

    /// The table `[oidc]` with which a control plane trusts it.
    #[must_use]
    pub fn configuration(&self, logs: &Path) -> String {
        let (issuer, ca) = (self.issuer(), logs.join("provider.pem"));
        format!(
            "\n[oidc]\nissuer = \"{issuer}\"\nclient-id = \"{CLIENT}\"\nca = \"{}\"\nmax-authentication-age = \"1h\"\n",
            ca.display()
        )
    }

    /// Its name.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("https://{}:{}", self.place.address, self.place.port)
    }

    /// Ends it at once.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().context("end the provider")?;
        self.process.wait().map(drop).context("wait for the provider")
    }

    /// Starts it again at the same address, with new keys and no memory.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        *self = Self::at(self.place.clone())?;
        Ok(())
    }

    /// A person opens this address and fills in the forms; the text of the last page.
    pub fn browse(&mut self, url: &str, login: &str) -> anyhow::Result<String> {
        let page: Value = self.order(&json!({ "order": "browse", "url": url, "login": login }))?;
        Ok(page["text"].as_str().unwrap_or_default().to_owned())
    }

    /// A person opens this address and gives up at the first form.
    pub fn give_up(&mut self, url: &str) -> anyhow::Result<()> {
        self.order::<Value>(&json!({ "order": "browse", "url": url, "refuse": true })).map(drop)
    }

    /// A token with these claims in place of the usual ones.
    pub fn forge(&mut self, signer: Signer, claims: &Value) -> anyhow::Result<String> {
        self.order(&json!({ "order": "forge", "signer": signer.as_str(), "claims": claims }))
    }

    /// Signs with a new key from now on, and publishes no other.
    pub fn rotate(&mut self) -> anyhow::Result<()> {
        self.order::<String>(&json!({ "order": "rotate" })).map(drop)
    }

    /// How often its keys were asked for.
    pub fn keys_asked(&mut self) -> anyhow::Result<u64> {
        let asked: Value = self.order(&json!({ "order": "asked" }))?;
        asked["keys"].as_u64().context("a number of questions")
    }

    fn order<T: DeserializeOwned>(&mut self, order: &Value) -> anyhow::Result<T> {
        let orders = self.orders.as_mut().context("the provider takes orders")?;
        writeln!(orders, "{order}").context("order something of the provider")?;
        let line = self.answers.recv_timeout(ANSWER_PATIENCE).with_context(|| format!("no answer to {order}"))?;
        let mut answer: Value = serde_json::from_str(&line).with_context(|| format!("{order}: {line}"))?;
        match answer.get_mut("done") {
            Some(done) => serde_json::from_value(done.take()).with_context(|| format!("{order}: {line}")),
            None => bail!("{order}: {line}"),
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.kill());
    }
}

/// The folder in which the provider and its packages are; installs them when they are not those that are pinned.
fn installed() -> anyhow::Result<PathBuf> {
    let folder = programs::target()?.join("oidc-provider");
    fs::create_dir_all(&folder).context("make the provider's folder")?;
    // Tests are processes of their own, and the first of them installs.
    let lock = File::create(folder.join("lock")).context("make the provider's lock")?;
    lock.lock().context("wait for whoever installs the provider")?;
    let sources = programs::repository("tests/oidc");
    let pinned = fs::read(sources.join("package-lock.json")).context("read what is pinned")?;
    let done = folder.join("installed");
    for file in FILES {
        let text = fs::read(sources.join(file)).with_context(|| format!("read {file}"))?;
        // One that runs may be reading it.
        if fs::read(folder.join(file)).ok().as_ref() != Some(&text) {
            fs::write(folder.join(file), text).with_context(|| format!("copy {file}"))?;
        }
    }
    if fs::read(&done).ok().as_ref() != Some(&pinned) {
        let mut npm = Command::new("npm");
        npm.current_dir(&folder).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).stdin(Stdio::null());
        process::output(&mut npm).context("install the provider's packages")?;
        fs::write(&done, pinned).context("note what is installed")?;
    }
    Ok(folder)
}
