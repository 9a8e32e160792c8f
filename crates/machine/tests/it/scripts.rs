//! What commands answer, as scripts: `tests/scripts/*.txt`. A line is a command, the indented lines
//! under it its reply; `ADVANCE ms` moves the clock. The replies are those that Redis 7.0 gives,
//! except under the lines that say why not.
//!
//! `THALWEG_UPDATE_SCRIPTS=1` writes the replies anew, to be read before they are believed.

use crate::support::{Ended, Machine, render, split};
use std::path::Path;
use thalweg_machine::PolicyName;

#[test]
fn commands_answer_as_the_scripts_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let (mut cases, mut wrong) = (0, String::new());
    for file in std::fs::read_dir(&folder).expect("tests/scripts") {
        let path = file.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("read");
        let actual = run_script(&text, &mut cases);
        if std::env::var_os("THALWEG_UPDATE_SCRIPTS").is_some() {
            std::fs::write(&path, &actual).expect("write");
        } else if actual != text {
            let differs = |(_, (one, other)): &(usize, (&str, &str))| one != other;
            let pairs = actual.lines().zip(text.lines()).enumerate();
            let (line, (is, wanted)) = { pairs }.find(differs).unwrap_or_default();
            wrong += &format!("{}:{}: {is:?} and not {wanted:?}\n", path.display(), line + 1);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(cases >= 700, "only {cases} cases");
}

/// The script with the replies that the machine gives.
fn run_script(text: &str, cases: &mut usize) -> String {
    let mut machine = Machine::new(1, PolicyName::default());
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.starts_with(' ')) {
        out.push_str(line);
        out.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(ms) = line.strip_prefix("ADVANCE ") {
            machine.now_ms += ms.parse::<u64>().expect("milliseconds");
            continue;
        }
        *cases += 1;
        match machine.run(&split(line)) {
            Ended::Reply(reply) => render(&reply, 1, &mut out),
            Ended::Blocks(args) => {
                let args: Vec<_> = args.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
                out.push_str(&format!("  blocks: {}\n", args.join(" ")));
            }
            Ended::Needs(keys) => panic!("{line}: keys are nowhere but in memory: {keys:?}"),
        }
    }
    out
}
