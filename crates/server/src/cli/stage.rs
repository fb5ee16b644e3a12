//! What a demo or a measurement stands on: a temporary folder, a simulator, and the settings of a server that knows nothing else.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use panscan_core::time::SessionDate;
use panscan_sim::{MarketSource, SimConfig, Simulator};

use super::args::DemoArgs;
use super::failure::Failure;
use super::sim;
use crate::config::{self, FlagValues, Settings, names};

/// Key that the simulator takes, as it takes every one.
const KEY: &str = "demo";

/// The folder and the simulator; both end with it.
pub struct Stage {
    /// The provider.
    pub simulator: Simulator,
    /// Settings of every server of this demo.
    pub settings: Settings,
    folder: tempfile::TempDir,
}

impl Stage {
    /// Starts the simulator and writes its universe file.
    pub async fn set(args: &DemoArgs) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("panscan-demo-")
            .tempdir()
            .map_err(|error| Failure::file("make a folder in", &std::env::temp_dir(), error))?;
        let simulator = Simulator::start(SimConfig {
            market: market(args),
            rate: sim::rate(&args.rate)?,
            ..SimConfig::default()
        })
        .await?;
        let universe = folder.path().join("universe.csv");
        simulator.write_universe(&universe)?;
        let settings = settings(args, &simulator, folder.path(), &universe)?;
        Ok(Self { simulator, settings, folder })
    }

    /// The folder, for messages.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

fn market(args: &DemoArgs) -> MarketSource {
    if !args.data.is_empty() {
        return MarketSource::Recorded { files: args.data.clone(), universe: args.universe.clone() };
    }
    let end = match MarketSource::default() {
        MarketSource::Generated { end, .. } => end,
        MarketSource::Recorded { .. } => SessionDate::default(),
    };
    MarketSource::Generated {
        symbols: args.symbols as usize,
        sessions: args.sessions as usize,
        seed: args.seed,
        end,
    }
}

/// The settings are the demo's own: nothing of the environment takes part, a real key least of all.
fn settings(
    args: &DemoArgs,
    simulator: &Simulator,
    folder: &Path,
    universe: &Path,
) -> Result<Settings, Failure> {
    let mut flags = FlagValues::default();
    flags.set(&names::LISTEN, SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)).to_string());
    flags.set(&names::POLYGON_API_KEY, KEY);
    flags.set(&names::PROVIDER_URL, simulator.url());
    flags.set(&names::RATE_LIMIT, args.rate.as_str());
    flags.set(&names::STORE, folder.join("store").to_string_lossy());
    flags.set(&names::UNIVERSE, universe.to_string_lossy());
    flags.set(&names::CLOCK, "provider");
    flags.set(&names::REDIS_URL, "");
    flags.set(&names::HISTORY_DAILY, args.sessions.to_string());
    // What runs when the demo ends is its own; nobody is to be waited for.
    flags.set(&names::DRAIN_GRACE, "1s");
    config::load(&flags, std::iter::empty(), &config::read_file).map_err(Failure::Config)
}
