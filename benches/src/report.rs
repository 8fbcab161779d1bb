//! Medians, the table, and the CSV file.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::facts;
use crate::load::Load;
use crate::perf::Instructions;
use crate::process::Cpu;

/// One round of one workload through one proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// CPU time per request, in microseconds.
    user_us: f64,
    system_us: f64,
    /// Instructions per request.
    instructions: Option<(f64, f64)>,
    load: Load,
}

impl Sample {
    /// From the readings before and after.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn new(
        load: Load,
        before: Cpu,
        after: Cpu,
        counted: Option<Instructions>,
    ) -> anyhow::Result<Self> {
        ensure!(load.requests > 0, "no request was answered");
        let requests = load.requests as f64;
        let total = after.total.saturating_sub(before.total).as_secs_f64() * 1e6 / requests;
        let (user, system) = (
            after.user_s - before.user_s,
            after.system_s - before.system_s,
        );
        let share = if user + system > 0.0 {
            user / (user + system)
        } else {
            0.5
        };
        Ok(Self {
            user_us: total * share,
            system_us: total * (1.0 - share),
            instructions: counted.map(|c| (c.user as f64 / requests, c.kernel as f64 / requests)),
            load,
        })
    }

    fn total_us(&self) -> f64 {
        self.user_us + self.system_us
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user_us,
            system_us,
            load,
            ..
        } = self;
        write!(
            f,
            "{user_us:.1} + {system_us:.1} us, {:.0}/s, p99 {:.2} ms",
            load.per_second,
            ms(load.p99)
        )?;
        match self.instructions {
            Some((user, kernel)) => write!(
                f,
                ", {:.1}k + {:.1}k instructions",
                user / 1e3,
                kernel / 1e3
            ),
            None => Ok(()),
        }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// All samples, by workload and proxy.
pub(crate) struct Report {
    counting: bool,
    idle: Vec<(String, u64)>,
    order: Vec<&'static str>,
    samples: BTreeMap<(usize, String), Vec<Sample>>,
}

impl Report {
    pub(crate) fn new(counting: bool) -> Self {
        Self {
            counting,
            idle: Vec::new(),
            order: Vec::new(),
            samples: BTreeMap::new(),
        }
    }

    pub(crate) fn idle(&mut self, proxy: &str, kib: u64) {
        self.idle.push((proxy.to_owned(), kib));
    }

    pub(crate) fn add(&mut self, workload: &'static str, proxy: &str, sample: Sample) {
        let place = self
            .order
            .iter()
            .position(|name| *name == workload)
            .unwrap_or_else(|| {
                self.order.push(workload);
                self.order.len() - 1
            });
        self.samples
            .entry((place, proxy.to_owned()))
            .or_default()
            .push(sample);
    }

    /// Medians for people, Markdown.
    pub(crate) fn table(&self) -> String {
        let mut out = format!("\n{}\n\n", facts::machine());
        out += "| workload | proxy | CPU us/request: user + kernel = total | of weir's total | ";
        out += if self.counting {
            "instructions: user + kernel | "
        } else {
            ""
        };
        out += "requests/s | p50 ms | p99 ms |\n|---|---|---|---|";
        out += if self.counting { "---|" } else { "" };
        out += "---|---|---|\n";
        for ((place, proxy), samples) in &self.samples {
            let of = |value: fn(&Sample) -> f64| median(samples.iter().map(value).collect());
            // The number of hosts is compared with itself; everything else with Weir at the usual number.
            let weir = self
                .samples
                .iter()
                .find(|((at, name), _)| at == place && name.starts_with("weir"));
            let base =
                weir.map(|(_, samples)| median(samples.iter().map(Sample::total_us).collect()));
            let ratio = base.map_or_else(
                || "-".to_owned(),
                |base| format!("{:.2}", of(Sample::total_us) / base),
            );
            let counted = match (self.counting, samples.first().and_then(|s| s.instructions)) {
                (true, Some(_)) => format!(
                    " {:.1}k + {:.1}k |",
                    of(|s| s.instructions.map_or(0.0, |i| i.0)) / 1e3,
                    of(|s| s.instructions.map_or(0.0, |i| i.1)) / 1e3
                ),
                _ => String::new(),
            };
            let row = format!(
                "| {} | {proxy} | {:.1} + {:.1} = {:.1} | {ratio} |{counted} {:.0} | {:.2} | {:.2} |\n",
                self.order[*place],
                of(|s| s.user_us),
                of(|s| s.system_us),
                of(Sample::total_us),
                of(|s| s.load.per_second),
                of(|s| ms(s.load.p50)),
                of(|s| ms(s.load.p99)),
            );
            out += &row;
        }
        out += "\n| idle | resident KiB |\n|---|---|\n";
        for (proxy, kib) in &self.idle {
            out += &format!("| {proxy} | {kib} |\n");
        }
        out
    }

    /// Every sample, with the machine's facts; gives the file's path.
    pub(crate) fn write(&self, dir: &Path) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        let path = dir.join(format!("{}.csv", facts::now()));
        let mut csv = format!("# {}\n", facts::machine());
        for (proxy, kib) in &self.idle {
            writeln!(csv, "# idle {proxy} {kib} KiB")?;
        }
        csv += "workload,proxy,user_us,system_us,user_instructions,kernel_instructions,requests,requests_per_second,p50_ms,p99_ms\n";
        for ((place, proxy), samples) in &self.samples {
            for s in samples {
                let (user, kernel) = s
                    .instructions
                    .map_or((String::new(), String::new()), |(u, k)| {
                        (format!("{u:.0}"), format!("{k:.0}"))
                    });
                writeln!(
                    csv,
                    "{},{proxy},{:.2},{:.2},{user},{kernel},{},{:.0},{:.3},{:.3}",
                    self.order[*place],
                    s.user_us,
                    s.system_us,
                    s.load.requests,
                    s.load.per_second,
                    ms(s.load.p50),
                    ms(s.load.p99)
                )?;
            }
        }
        std::fs::write(&path, csv).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

/// The middle of the values; of an even number, the lower one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values
        .get(values.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_shrugs_off_one_bad_round() {
        assert!((median(vec![5.0, 1.0, 100.0]) - 5.0).abs() < f64::EPSILON);
        assert!((median(vec![2.0, 1.0]) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_sample_splits_exact_time_by_counted_ticks() {
        let load = Load {
            requests: 1000,
            per_second: 1000.0,
            p50: Duration::ZERO,
            p99: Duration::ZERO,
        };
        let after = Cpu {
            total: Duration::from_millis(40),
            user_s: 0.01,
            system_s: 0.03,
        };
        let sample = Sample::new(load, Cpu::default(), after, None).unwrap();
        assert!((sample.user_us - 10.0).abs() < 1e-9 && (sample.system_us - 30.0).abs() < 1e-9);
    }
}
