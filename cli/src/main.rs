//! The `weir` binary: reads its arguments, calls a role, prints.
//!
//! [`args`] is the whole command line; each command lives in a module of its own under [`commands`]. Those that
//! serve compose the library crates in [`serve`]; those that look or change go through [`client`] to the admin
//! API of a running Weir. How the program ends is one list: [`exit::Exit`].
// What a command prints is its purpose; tests and scripts read it.
#![allow(clippy::print_stderr)]

mod args;
mod client;
mod commands;
mod exit;
mod origin;
mod output;
mod redirect;
mod serve;
mod signals;
mod state_dir;
mod units;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command, Global};
use client::{Client, TokenSource};
use commands::list::Kind;
use exit::Outcome;
use output::{Printer, Tone};

/// Returns memory to the kernel sooner than the system's allocator, and gives each worker its own heap.
#[global_allocator]
static ALLOCATOR: weir_sys::Allocator = weir_sys::Allocator;

fn main() -> ExitCode {
    serve::limits::use_small_pages();
    let cli = Cli::parse();
    let no_color = cli.global.no_color;
    match dispatch(cli.command, &cli.global) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let painter = Printer {
                color: output::color_on_stderr(no_color),
                ..Printer::new(cli.global.output, no_color)
            };
            eprintln!("{}: {failure}", painter.paint(Tone::Bad, "error"));
            failure.exit.into()
        }
    }
}

fn dispatch(command: Command, global: &Global) -> Outcome {
    let printer = Printer::new(global.output, global.no_color);
    let client = || {
        Client::new(
            global.admin.clone(),
            TokenSource::new(global.token_file.clone()),
        )
    };
    match command {
        Command::Demo(args) => commands::demo::run(&args, global),
        Command::Run(args) => commands::run::run(args, global),
        Command::Control(args) => commands::control::run(args, global),
        Command::Proxy(args) => commands::proxy::run(args, global),
        Command::Sidecar(args) => commands::sidecar::run(*args, global),
        Command::Forward(args) => commands::forward::run(&args, global),
        Command::Check(args) => commands::check::run(&args, printer, global.no_color),
        Command::Diff(args) => commands::diff::run(&args, &client(), printer, global.no_color),
        Command::Apply(args) => commands::apply::run(&args, &client(), printer),
        Command::History(args) => commands::history::run(&args, &client(), printer),
        Command::Rollback(args) => commands::rollback::run(&args, &client(), printer),
        Command::Schema(_) => commands::schema::run(printer),
        Command::Mesh(args) => commands::mesh::run(&args, &client(), printer),
        Command::Status(args) => commands::status::run(&args, &client(), printer),
        Command::Routes(args) => commands::list::run(Kind::Routes, &args, &client(), printer),
        Command::Services(args) => commands::list::run(Kind::Services, &args, &client(), printer),
        Command::Endpoints(args) => commands::list::run(Kind::Endpoints, &args, &client(), printer),
        Command::Listeners(args) => commands::list::run(Kind::Listeners, &args, &client(), printer),
        Command::Certs(args) => commands::list::run(Kind::Certs, &args, &client(), printer),
        Command::Discovery(args) => commands::list::run(Kind::Discovery, &args, &client(), printer),
        Command::Proxies(args) => commands::list::run(Kind::Proxies, &args, &client(), printer),
        Command::Edges(args) => commands::list::run(Kind::Edges, &args, &client(), printer),
        Command::Canary(args) => commands::canary::run(&args, &client(), printer),
        Command::Endpoint(args) => commands::endpoint::run(&args, &client(), printer),
        Command::Token(args) => commands::token::run(&args, &client(), printer),
        Command::Cert(args) => commands::cert::run(&args, &client(), printer),
        Command::Explain(args) => commands::explain::run(&args, &client(), printer),
        Command::Healthcheck(args) => commands::healthcheck::run(&args, client()),
        Command::Completion(args) => commands::completion::run(&args),
        Command::DockerGate(args) => commands::docker_gate::run(&args, global),
        Command::Origin(args) => commands::origin::run(args),
    }
}
