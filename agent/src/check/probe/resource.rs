//! A resource of the host must stay below its levels.

use super::look::Looks;
use crate::check::observation::Verdict;
use crate::check::reason::Reason;
use fettle_model::check::Resource;
use std::path::{Path, PathBuf};
use sysinfo::{CpuRefreshKind, MINIMUM_CPU_UPDATE_INTERVAL, MemoryRefreshKind, System};

/// From which percentage on.
#[derive(Clone, Copy)]
pub(super) struct Levels {
    pub(super) warning: u8,
    pub(super) critical: u8,
}

pub(in crate::check) struct ResourceUse {
    levels: Levels,
    source: Source,
}

enum Source {
    Cpu { system: Box<System>, sampled: Sampled },
    Memory(Box<System>),
    Swap(Box<System>),
    Disk { path: PathBuf, looks: Looks },
}

/// Whether there is an earlier sample to measure from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sampled {
    Never,
    Before,
}

/// In one unit, whichever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Usage {
    used: u64,
    total: u64,
}

impl ResourceUse {
    pub(super) fn prepare(resource: &Resource, levels: Levels, looks: Looks) -> Result<Self, Reason> {
        let system = || {
            let system = System::new().map_err(|error| Reason::of_error("the host cannot be measured", &error))?;
            Ok(Box::new(system))
        };
        let source = match resource {
            Resource::Cpu => Source::Cpu { system: system()?, sampled: Sampled::Never },
            Resource::Memory => Source::Memory(system()?),
            Resource::Swap => Source::Swap(system()?),
            Resource::Disk { path } => Source::Disk { path: PathBuf::from(path), looks },
        };
        Ok(Self { levels, source })
    }

    pub(super) async fn probe(&mut self) -> Verdict {
        let levels = self.levels;
        match &mut self.source {
            Source::Cpu { system, sampled } => cpu(system, sampled).await.map_or_else(
                || Verdict::unknown("the kernel does not tell the use of the CPU"),
                |usage| grade("CPU", usage, levels),
            ),
            Source::Memory(system) => match memory(system) {
                Usage { total: 0, .. } => Verdict::unknown("the kernel does not tell the use of memory"),
                usage => grade("memory", usage, levels),
            },
            Source::Swap(system) => match swap(system) {
                Usage { total: 0, .. } => Verdict::passing("the host has no swap"),
                usage => grade("swap", usage, levels),
            },
            Source::Disk { path, looks } => {
                let looked_at = path.clone();
                let name = format!("file system of {}", path.display());
                match looks.take(move || disk(&looked_at)).await {
                    Ok(Ok(Usage { total: 0, .. })) => Verdict::unknown(&format!("{name}: it has no size")),
                    Ok(Ok(usage)) => grade(&name, usage, levels),
                    Ok(Err(error)) => Verdict::unknown(Reason::of_error(&name, &error).as_str()),
                    Err(error) => Verdict::unknown(Reason::of_error(&name, &error).as_str()),
                }
            }
        }
    }
}

/// The use since the last probe; a first probe waits the shortest time that can be measured.
async fn cpu(system: &mut System, sampled: &mut Sampled) -> Option<Usage> {
    if *sampled == Sampled::Never {
        system.refresh_cpu_specifics(CpuRefreshKind::nothing().with_usage());
        tokio::time::sleep(MINIMUM_CPU_UPDATE_INTERVAL).await;
        *sampled = Sampled::Before;
    }
    system.refresh_cpu_specifics(CpuRefreshKind::nothing().with_usage());
    let percent = f64::from(system.global_cpu_usage());
    // Without a processor in the list /proc/stat was not readable, and 0 % would be a guess.
    (!system.cpus().is_empty() && percent.is_finite()).then(|| Usage { used: hundredths(percent), total: 10_000 })
}

/// Of a percentage, within 0 to 100 %.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0 to 10 000 before")]
fn hundredths(percent: f64) -> u64 {
    (percent * 100.0).clamp(0.0, 10_000.0).round() as u64
}

fn memory(system: &mut System) -> Usage {
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    Usage { used: system.total_memory().saturating_sub(system.available_memory()), total: system.total_memory() }
}

fn swap(system: &mut System) -> Usage {
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_swap());
    Usage { used: system.used_swap(), total: system.total_swap() }
}

/// As df(1) counts: what is kept for root is neither used nor free.
fn disk(path: &Path) -> std::io::Result<Usage> {
    let stat = rustix::fs::statvfs(path)?;
    let used = stat.f_blocks.saturating_sub(stat.f_bfree);
    Ok(Usage { used, total: used.saturating_add(stat.f_bavail) })
}

fn grade(name: &str, usage: Usage, levels: Levels) -> Verdict {
    let reached = |percent: u8| u128::from(usage.used) * 100 >= u128::from(percent) * u128::from(usage.total);
    let tenths = u128::from(usage.used) * 1_000 / u128::from(usage.total.max(1));
    let told = format!("{name}: {}.{} % in use", tenths / 10, tenths % 10);
    if reached(levels.critical) {
        Verdict::critical(&format!("{told}, critical from {} %", levels.critical))
    } else if reached(levels.warning) {
        Verdict::warning(&format!("{told}, warning from {} %", levels.warning))
    } else {
        Verdict::passing(&told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::check::Status;

    #[track_caller]
    fn check(used: u64, total: u64, expected: Status, reason: &str) {
        let verdict = grade("disk", Usage { used, total }, Levels { warning: 80, critical: 95 });
        assert_eq!((verdict.status, verdict.reason.as_str()), (expected, reason));
    }

    #[test]
    fn a_level_counts_from_its_exact_percentage_on() {
        check(0, 1_000, Status::Passing, "disk: 0.0 % in use");
        check(799, 1_000, Status::Passing, "disk: 79.9 % in use");
        check(800, 1_000, Status::Warning, "disk: 80.0 % in use, warning from 80 %");
        check(949, 1_000, Status::Warning, "disk: 94.9 % in use, warning from 80 %");
        check(950, 1_000, Status::Critical, "disk: 95.0 % in use, critical from 95 %");
        check(u64::MAX, u64::MAX, Status::Critical, "disk: 100.0 % in use, critical from 95 %");
    }

    async fn probe(resource: Resource, levels: Levels) -> Verdict {
        ResourceUse::prepare(&resource, levels, Looks::new()).expect("measurable").probe().await
    }

    #[tokio::test]
    async fn every_resource_of_this_host_is_measured() {
        let disk = Resource::Disk { path: "/".to_owned() };
        for resource in [Resource::Cpu, Resource::Memory, disk] {
            // At 0 % everything is critical, above 100 % nothing is: so both levels rest on a real number.
            let all = probe(resource.clone(), Levels { warning: 0, critical: 0 }).await;
            assert_eq!(all.status, Status::Critical, "{resource:?}: {}", all.reason);
            let none = probe(resource.clone(), Levels { warning: 101, critical: 101 }).await;
            assert_eq!(none.status, Status::Passing, "{resource:?}: {}", none.reason);
            assert!(none.reason.as_str().ends_with("% in use"), "{}", none.reason);
        }
        let swap = probe(Resource::Swap, Levels { warning: 101, critical: 101 }).await;
        assert_eq!(swap.status, Status::Passing, "{}", swap.reason);
    }

    #[tokio::test]
    async fn a_path_that_is_not_there_tells_nothing_of_the_disk() {
        let gone = Resource::Disk { path: "/nonexistent/path".to_owned() };
        assert_eq!(probe(gone, Levels { warning: 80, critical: 90 }).await.status, Status::Unknown);
        let sizeless = Resource::Disk { path: "/proc".to_owned() };
        assert_eq!(probe(sizeless, Levels { warning: 80, critical: 90 }).await.status, Status::Unknown);
    }
}
