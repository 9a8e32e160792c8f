//! `thalweg completions`: what a shell has to read to complete commands, flags and names.

use clap::{Args, ValueEnum};
use clap_complete::Shell;
use std::io::Write;

/// How to use it.
const HOW: &str = "Add to ~/.bashrc:   source <(thalweg completions bash)\n\
                   Add to ~/.zshrc:    source <(thalweg completions zsh)\n\
                   For fish:           thalweg completions fish > \
                   ~/.config/fish/completions/thalweg.fish";

#[derive(Args)]
#[command(after_help = HOW)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Known,
}

/// Shells that can be had.
#[derive(Clone, Copy, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn run(args: &CompletionsArgs, command: clap::Command) -> anyhow::Result<()> {
    std::io::stdout().lock().write_all(&script(args.shell, command))?;
    Ok(())
}

fn script(shell: Known, mut command: clap::Command) -> Vec<u8> {
    let shell = match shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "thalweg", &mut script);
    script
}
