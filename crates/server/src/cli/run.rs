//! From arguments to an exit code: settings, log, runtime, the command.

use std::future::Future;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use super::args::{Cli, Command, Global, ServeArgs};
use super::exit::Exit;
use super::failure::Failure;
use super::serve::ServeOptions;
use super::stop::Stop;
use super::{bench, check, demo, fetch, log, reference, scan, serve, sim, store};
use crate::app::{self, Ledger};
use crate::config::{self, FlagValues, Problem, Settings, names};

/// How long threads that are still at work may hold up the end.
const LINGER: Duration = Duration::from_millis(200);

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version end here too, with 0; a closed pipe does not matter to either.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage.code()));
        }
    };
    match command(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if let Some(message) = failure.message() {
                // Where stderr is gone there is nobody to tell.
                drop(writeln!(io::stderr().lock(), "panscan: {message}"));
            }
            failure.exit().into()
        }
    }
}

fn command(cli: Cli) -> Result<Exit, Failure> {
    let Cli { global, command } = cli;
    // The log of an in-process server is not what people wait for; `--log` shows it.
    match command {
        Command::Reference => reference::run(),
        Command::Store(args) => {
            let mut flags = FlagValues::default();
            let folder = args.command.at().store.as_ref();
            flags.set_some(&names::STORE, folder.map(|path| path.to_string_lossy()));
            let settings = settings(&global, flags, "warn")?;
            store::run(args, &settings.tiers.store, settings.tiers.l3_bytes)
        }
        Command::Keys(_) => Err(Failure::Absent("keys".to_owned())),
        Command::Sim(args) => {
            settings(&global, FlagValues::default(), "info")?;
            wait(async |stop| sim::run(*args, &stop).await)
        }
        Command::Serve(args) => {
            let settings = settings(&global, serve_flags(&args)?, "info")?;
            let options = ServeOptions { ready_file: args.ready_file, warm: args.warm };
            wait(async |stop| serve::run(settings, options, &stop).await)
        }
        Command::Check(args) => {
            let loaded = load(&global, FlagValues::default(), "warn");
            wait(async |_| {
                check::run(*args, loaded, |settings| {
                    app::source(settings, Ledger::Off).map_err(|e| e.to_string())
                })
                .await
            })
        }
        Command::Scan(args) => {
            if let Some(flag) = scan::absent(&args) {
                return Err(Failure::Absent(flag.to_owned()));
            }
            let mut flags = FlagValues::default();
            flags.set_some(&names::SERVER, args.server.clone());
            if args.local {
                flags.set(&names::LISTEN, "127.0.0.1:0");
            }
            let settings = settings(&global, flags, "warn")?;
            wait(async |stop| scan::run(*args, settings, &stop).await)
        }
        Command::Fetch(args) => {
            let mut flags = FlagValues::default();
            flags.set_some(&names::SERVER, args.server.clone());
            let settings = settings(&global, flags, "warn")?;
            wait(async |stop| fetch::run(*args, settings, &stop).await)
        }
        Command::Demo(args) => {
            settings(&global, FlagValues::default(), "error")?;
            let color = log::colored(global.color);
            wait(async |stop| demo::run(*args, color, &stop).await)
        }
        Command::Bench(args) => {
            let settings = settings(&global, FlagValues::default(), "error")?;
            wait(async |stop| bench::run(*args, &settings, &stop).await)
        }
    }
}

/// Reads the settings and starts the log with them. `quiet` is the level of a command that says by itself what
/// people want to know.
fn settings(global: &Global, flags: FlagValues, quiet: &str) -> Result<Settings, Failure> {
    load(global, flags, quiet).map_err(Failure::Config)
}

fn load(global: &Global, mut flags: FlagValues, quiet: &str) -> Result<Settings, Vec<Problem>> {
    flags.set_some(&names::CONFIG, global.config.as_ref().map(|path| path.to_string_lossy()));
    flags.set_some(&names::LOG, global.log.clone());
    let loaded = config::load(&flags, config::process_env(), &config::read_file);
    let said = loaded.as_ref().ok().filter(|settings| {
        settings.shown(names::LOG.name).is_some_and(|shown| shown.origin != config::Origin::Default)
    });
    let filter = said.map_or(quiet, |settings| &settings.server.log);
    log::start(filter, global.log_format, global.color);
    loaded
}

/// Runs a command that waits, until it ends or the second Ctrl-C.
fn wait<F>(command: impl FnOnce(Stop) -> F) -> Result<Exit, Failure>
where
    F: Future<Output = Result<Exit, Failure>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Unexpected(format!("no threads: {error}")))?;
    let ended = runtime.block_on(async {
        let stop = Stop::listen().map_err(|error| Failure::Unexpected(format!("no signals: {error}")))?;
        tokio::select! {
            ended = command(stop.clone()) => ended,
            () = stop.insisted() => Ok(Exit::Interrupted),
        }
    });
    runtime.shutdown_timeout(LINGER);
    ended
}

/// The settings that flags of `serve` stand for; what this build lacks is refused.
fn serve_flags(args: &ServeArgs) -> Result<FlagValues, Failure> {
    for (given, flag) in [
        (args.metrics_listen.is_some(), "--metrics-listen"),
        (args.live, "--live"),
        (args.tls_cert.is_some(), "--tls-cert"),
        (args.tls_key.is_some(), "--tls-key"),
        (args.tls_client_ca.is_some(), "--tls-client-ca"),
        (args.keys.is_some(), "--keys"),
    ] {
        if given {
            return Err(Failure::Absent(format!("serve {flag}")));
        }
    }
    let mut flags = FlagValues::new(args.insecure_listen);
    flags.set_some(&names::LISTEN, args.listen.clone());
    flags.set_some(&names::PROVIDER_URL, args.provider.clone());
    flags.set_some(&names::UNIVERSE, args.universe.as_ref().map(|path| path.to_string_lossy()));
    flags.set_some(&names::STORE, args.store.as_ref().map(|path| path.to_string_lossy()));
    flags.set_some(&names::BACKEND, args.backend.clone());
    flags.set_some(&names::THREADS, args.threads.clone());
    if args.no_redis {
        flags.set(&names::REDIS_URL, "");
    }
    Ok(flags)
}
