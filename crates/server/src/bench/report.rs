//! What a suite found, as one JSON object.

use std::time::Duration;

use serde::Serialize;

/// A baseline that was taken in the same run.
#[derive(Debug, Clone, Serialize)]
pub struct Baseline {
    /// What it is.
    pub name: &'static str,
    /// Its value, in the case's unit.
    pub value: f64,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Case {
    /// What was measured.
    pub name: String,
    /// The median.
    pub value: f64,
    /// Of `value`, e.g. `ms`.
    pub unit: &'static str,
    /// How many samples the median is of.
    pub samples: usize,
    /// What it is held against.
    pub baseline: Baseline,
    /// Case against baseline, above 1 where the case is better.
    pub ratio: f64,
    /// What is wanted, in words; empty where nothing is.
    pub goal: String,
    /// Whether the goal was met.
    pub met: bool,
    /// What else to know of it, in words.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub note: &'static str,
    /// Why it was not measured; empty where it was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub skipped: String,
}

impl Case {
    /// A case whose value is a time: less is better.
    pub fn time(
        name: impl Into<String>,
        taken: Duration,
        samples: usize,
        baseline: (&'static str, Duration),
    ) -> Self {
        let (value, against) = (taken.as_secs_f64() * 1e3, baseline.1.as_secs_f64() * 1e3);
        Self {
            name: name.into(),
            value,
            unit: "ms",
            samples,
            baseline: Baseline { name: baseline.0, value: against },
            ratio: against / value,
            goal: String::new(),
            met: true,
            note: "",
            skipped: String::new(),
        }
    }

    /// A case whose value is a rate: more is better.
    pub fn rate(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        samples: usize,
        baseline: (&'static str, f64),
    ) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            samples,
            baseline: Baseline { name: baseline.0, value: baseline.1 },
            ratio: value / baseline.1,
            goal: String::new(),
            met: true,
            note: "",
            skipped: String::new(),
        }
    }

    /// A case whose value is a number of something: less is better.
    pub fn count(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        samples: usize,
        baseline: (&'static str, f64),
    ) -> Self {
        let case = Self::rate(name, value, unit, samples, baseline);
        Self { ratio: case.baseline.value / value, ..case }
    }

    /// A case that was not measured against a baseline.
    pub fn skipped(name: impl Into<String>, baseline: &'static str, why: &str) -> Self {
        let mut case = Self::time(name, Duration::ZERO, 0, (baseline, Duration::ZERO));
        case.ratio = 0.0;
        case.skipped = format!("{baseline}: {why}");
        case
    }

    /// The case with what else to know of it.
    #[must_use]
    pub fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    /// The case with a ratio to reach.
    #[must_use]
    pub fn at_least(mut self, ratio: f64) -> Self {
        self.goal = format!("ratio >= {ratio}");
        self.met = self.ratio >= ratio;
        self
    }

    /// The case with so many times its baseline to stay below.
    #[must_use]
    pub fn at_most_times(mut self, times: f64) -> Self {
        self.goal = format!("value <= {times} x baseline");
        self.met = self.value <= times * self.baseline.value;
        self
    }

    /// The case with a value to reach, in its own unit.
    #[must_use]
    pub fn value_at_least(mut self, value: f64) -> Self {
        self.goal = format!("value >= {value} {}", self.unit);
        self.met = self.value >= value;
        self
    }

    /// The case with a difference to stay below, in its own unit.
    #[must_use]
    pub fn above_by_at_most(mut self, difference: f64) -> Self {
        self.goal = format!("value - baseline <= {difference} {}", self.unit);
        self.met = self.value - self.baseline.value <= difference;
        self
    }
}

/// The machine that a report is from.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's own name.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Vector extensions that matter here.
    pub features: Vec<&'static str>,
    /// The GPU; this build uses none.
    pub gpu: Option<String>,
}

impl Machine {
    fn here() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let line = info.lines().find(|l| l.starts_with("model name"));
        let cpu = line.and_then(|l| l.split_once(':')).map(|(_, name)| name.trim().to_owned());
        #[cfg(target_arch = "x86_64")]
        let features = [
            ("avx2", std::arch::is_x86_feature_detected!("avx2")),
            ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let features: [(&str, bool); 0] = [];
        Self {
            cpu: cpu.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            features: features.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect(),
            gpu: None,
        }
    }
}

/// Everything that a suite found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Which suite.
    pub suite: String,
    /// Where.
    pub machine: Machine,
    /// Version of the binary.
    pub commit: String,
    /// What was measured.
    pub cases: Vec<Case>,
}

impl Report {
    /// A report from this machine.
    #[must_use]
    pub fn new(suite: &str, cases: Vec<Case>) -> Self {
        let commit =
            option_env!("PANSCAN_COMMIT").unwrap_or(concat!("v", env!("CARGO_PKG_VERSION"))).to_owned();
        Self { suite: suite.to_owned(), machine: Machine::here(), commit, cases }
    }
}
