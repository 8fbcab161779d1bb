//! The `weir` binary: reads its arguments, calls a role, prints.
#![allow(clippy::print_stderr)]

mod commands;
mod exit;
mod origin;
mod signals;
mod units;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::origin::{self as origin_command, OriginArgs};

#[derive(Parser)]
#[command(name = "weir", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}
#[derive(Subcommand)]
enum Command {
    Origin(OriginArgs),
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Origin(args) => origin_command::run(args),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit.into()
        }
    }
}
