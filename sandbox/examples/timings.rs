//! How long a playbook's way to its first call takes: `cargo run --example timings --features engine
//! -- COMPONENT.wasm playbook.toml`. For people who watch the path from a fault to its fix; asserts nothing.

use fettle_model::id::RunId;
use fettle_model::time::UnixMillis;
use fettle_sandbox::engine::{Engine, HostKey};
use fettle_sandbox::execution::{Gone, Limits, Trigger};
use fettle_sandbox::package::Package;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Rounds of each measurement; the median and the worst are shown.
const ROUNDS: usize = 41;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "give a component and its manifest: COMPONENT.wasm playbook.toml";
    let component = fs::read(arguments.next().ok_or(usage)?)?;
    let manifest = fs::read_to_string(arguments.next().ok_or(usage)?)?;
    let package = Package::build(&component, &manifest)?;
    let trigger = Trigger {
        run: RunId::from_uuid(uuid::Uuid::nil()),
        incident: None,
        alert: "web/http".to_owned(),
        fired: UnixMillis(1),
        labels: BTreeMap::new(),
        parameters: package.manifest().complete(&BTreeMap::new())?,
    };
    let granted = package.manifest().grants.iter().map(|grant| grant.kind).collect();
    let limits = Limits::for_duration(Duration::from_mins(1));
    println!("package {} bytes", package.bytes().len());
    timed("read the package", ROUNDS, || Package::read(package.bytes().to_vec()).map(drop))?;
    timed("set up an engine", ROUNDS, || Engine::new().map(drop))?;
    let engine = Engine::new()?;
    timed("compile", 5, || engine.compile(&package).map(drop))?;
    let key = HostKey::new([1; 32]).derive(package.digest(), engine.fingerprint());
    let sealed = engine.compile(&package)?.seal(&key);
    println!("sealed artifact {} bytes", sealed.as_bytes().len());
    let open = || sealed.clone().open(&key, package.digest(), engine.fingerprint());
    timed("open the sealed artifact", ROUNDS, || open().map(drop))?;
    let artifact = open()?;
    timed("load it", ROUNDS, || engine.load(&artifact).map(drop))?;
    let playbook = engine.load(&artifact)?;
    let execute = || engine.execute(&playbook, &granted, &trigger, limits, &mut |_| Err(Gone));
    timed("instantiate and reach the first call", ROUNDS, || {
        black_box(execute());
        Ok::<(), Box<dyn Error>>(())
    })?;
    timed("all of it, but for compiling", ROUNDS, || {
        let engine = Engine::new()?;
        let playbook = engine.load(&open()?)?;
        black_box(engine.execute(&playbook, &granted, &trigger, limits, &mut |_| Err(Gone)));
        Ok::<(), Box<dyn Error>>(())
    })
}

fn timed<E>(what: &str, rounds: usize, mut work: impl FnMut() -> Result<(), E>) -> Result<(), E> {
    let mut micros = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        work()?;
        micros.push(begun.elapsed().as_micros());
    }
    micros.sort_unstable();
    let (median, worst) = (micros[rounds / 2], micros[rounds - 1]);
    println!("{what}: median {median} us, worst {worst} us");
    Ok(())
}
