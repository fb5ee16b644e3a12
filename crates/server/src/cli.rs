//! The command line: arguments, output, exit codes, one module per command.

mod answer;
pub mod args;
mod bench;
mod check;
mod demo;
mod exit;
mod explain;
mod failure;
mod fetch;
mod history;
mod log;
mod output;
mod ready;
mod reference;
mod run;
mod scan;
mod serve;
mod sim;
pub mod stage;
mod stop;
mod store;
mod symbols;

pub use self::run::main;
