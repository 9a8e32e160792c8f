//! `thalweg doctor`: looks at the machine as a node with these settings would find it, and says
//! what to change. It starts nothing, and removes what it writes.

mod certificate;
mod disk;
mod machine;
mod ports;

use crate::settings::{ServeArgs, Settings};
use clap::Args;
use std::io::Write;
use thalweg_node::Place;

#[derive(Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    serve: ServeArgs,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    Good,
    /// It works, but not as well as it could.
    Warning,
    /// A node does not start, or loses what it acknowledged.
    Bad,
}

/// What was looked at, and what was found.
#[derive(Debug)]
struct Finding {
    grade: Grade,
    what: &'static str,
    found: String,
    /// What to change, where something is to be changed.
    advice: &'static str,
}

impl Finding {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { grade: Grade::Good, what, found: found.into(), advice: "" }
    }

    fn warning(what: &'static str, found: impl Into<String>, advice: &'static str) -> Self {
        Self { grade: Grade::Warning, what, found: found.into(), advice }
    }

    fn bad(what: &'static str, found: impl Into<String>, advice: &'static str) -> Self {
        Self { grade: Grade::Bad, what, found: found.into(), advice }
    }
}

pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<()> {
    let settings = args.serve.resolve()?;
    let findings = look(&settings);
    let mut out = std::io::stdout().lock();
    for finding in &findings {
        write_finding(&mut out, finding)?;
    }
    let bad = findings.iter().filter(|finding| finding.grade == Grade::Bad).count();
    anyhow::ensure!(bad == 0, "{bad} of {} findings keep a node from working", findings.len());
    Ok(())
}

fn look(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Place::Directory(folder) = &settings.engine.place {
        findings.extend(disk::look(folder, settings.engine.durability));
    }
    findings.extend(machine::look(settings));
    findings.extend(ports::look(settings));
    findings.extend(certificate::look(settings));
    findings
}

fn write_finding(out: &mut impl Write, finding: &Finding) -> std::io::Result<()> {
    let grade = match finding.grade {
        Grade::Good => "good   ",
        Grade::Warning => "warning",
        Grade::Bad => "BAD    ",
    };
    writeln!(out, "{grade}  {:<16} {}", finding.what, finding.found)?;
    if finding.advice.is_empty() { Ok(()) } else { writeln!(out, "         {}", finding.advice) }
}
