//! The program `fleetfoot`. One file per command in `commands/`; what they share stands here beside them:
//! `failure` (exit codes and advice), `arrays` (files of data), `models` (files of models), `processing` (raw inputs and answers), `client` (the
//! `/v1` of a server).
#![forbid(unsafe_code)]

mod arrays;
mod client;
mod commands;
mod demo;
mod failure;
mod models;
mod output;
mod processing;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::{commands as c, failure::Failure, output::Output};

/// Signed int8 bundles for devices: quantize, pack, publish, run, measure, update, fall back.
#[derive(Parser)]
#[command(name = "fleetfoot", version, max_term_width = 110)]
struct Cli {
    /// Print one JSON document on standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(subcommand)]
    Keys(c::keys::Command),
    Quantize(c::quantize::Args),
    Pack(c::pack::Args),
    Schema(c::schema::Args),
    Verify(c::verify::Args),
    Inspect(c::inspect::Args),
    Run(c::run::Args),
    Bench(c::bench::Args),
    Eval(c::eval::Args),
    Diff(c::diff::Args),
    #[command(subcommand)]
    Repo(c::repo::Command),
    Publish(c::publish::Args),
    #[command(subcommand)]
    Rollout(c::rollout::Command),
    #[command(subcommand)]
    Policy(c::policy::Command),
    Simulate(c::simulate::Args),
    Serve(c::serve::Args),
    #[command(subcommand)]
    Token(c::token::Command),
    #[command(subcommand)]
    Audit(c::audit::Command),
    Openapi(c::openapi::Args),
    Device(c::device::Args),
    #[command(hide = true)]
    Admit(c::admit::Args),
    Demo(c::demo::Args),
    /// Write a completion script for a shell to standard output.
    ///
    /// Example: fleetfoot completions bash > ~/.local/share/bash-completion/completions/fleetfoot
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if !error.use_stderr() {
                // Help or version. Nothing is left to do if the terminal is gone.
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            if std::env::args_os().any(|argument| argument == "--json") {
                let failure = Failure::usage(error.render().to_string().trim_start_matches("error: ").trim_end());
                failure.print(&Output::new(true));
                return ExitCode::from(failure.exit.code());
            }
            let _ = error.print();
            return ExitCode::from(2);
        }
    };
    let filter = EnvFilter::try_from_env("FLEETFOOT_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let output = Output::new(cli.json);
    match dispatch(cli.command, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(&output);
            ExitCode::from(failure.exit.code())
        }
    }
}

fn dispatch(command: Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Keys(command) => c::keys::run(command, output),
        Command::Quantize(args) => c::quantize::run(&args, output),
        Command::Eval(args) => c::eval::run(&args, output),
        Command::Diff(args) => c::diff::run(&args, output),
        Command::Pack(args) => c::pack::run(&args, output),
        Command::Schema(args) => c::schema::run(&args, output),
        Command::Verify(args) => c::verify::run(&args, output),
        Command::Inspect(args) => c::inspect::run(&args, output),
        Command::Run(args) => c::run::run(&args, output),
        Command::Bench(args) => c::bench::run(&args, output),
        Command::Repo(command) => c::repo::run(command, output),
        Command::Publish(args) => c::publish::run(&args, output),
        Command::Rollout(command) => c::rollout::run(command, output),
        Command::Policy(command) => c::policy::run(&command, output),
        Command::Simulate(args) => c::simulate::run(&args, output),
        Command::Serve(args) => c::serve::run(&args, output),
        Command::Token(command) => c::token::run(&command, output),
        Command::Audit(command) => c::audit::run(&command, output),
        Command::Openapi(args) => c::openapi::run(&args, output),
        Command::Device(args) => c::device::run(&args, output),
        Command::Admit(args) => c::admit::run(&args),
        Command::Demo(args) => c::demo::run(&args, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "fleetfoot", &mut script);
            output.result(|| String::from_utf8_lossy(&script).into_owned(), || String::from_utf8_lossy(&script).into())
        }
    }
}
