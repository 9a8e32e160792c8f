//! The program: command line, configuration, wiring, signals.

mod allocator;
mod bench;
mod client;
mod completions;
mod demo;
mod doctor;
mod http;
mod random;
mod refusal;
mod serve;
mod settings;
mod shell;
mod sql;

use clap::{CommandFactory, Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "thalweg",
    version,
    about = "Key-value data, streams and SQL over one durable log, spoken to over Redis, HTTP and \
             Postgres"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node
    Serve(settings::ServeArgs),
    /// Run the order system end to end and watch it
    Demo(demo::DemoArgs),
    /// Type SQL into a terminal
    Sql(shell::SqlArgs),
    /// Look at this machine as a node would meet it, and say what to change
    Doctor(doctor::DoctorArgs),
    /// Put a Redis-speaking server under load and measure it
    Bench(bench::BenchArgs),
    /// Write the script that lets a shell complete these commands and their flags
    Completions(completions::CompletionsArgs),
}

fn main() -> std::process::ExitCode {
    allocator::configure();
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Sql(args) => shell::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Completions(args) => completions::run(&args, Cli::command()),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("thalweg: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
