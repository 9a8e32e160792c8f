//! The program: command line, configuration, wiring, signals.

mod bench;
mod client;
mod demo;
mod random;
mod serve;
mod settings;
mod sql;

use clap::{Parser, Subcommand};

/// Requests allocate and free small things on several threads at once; mimalloc is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "thalweg",
    version,
    about = "Key-value data and streams over one durable log, spoken to over Redis and HTTP"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node
    Serve(Box<settings::ServeArgs>),
    /// Run the order system end to end and watch it
    Demo(demo::DemoArgs),
    /// Put a Redis-speaking server under load and measure it
    Bench(bench::BenchArgs),
}

fn main() -> std::process::ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("thalweg: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
