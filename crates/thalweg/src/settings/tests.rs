//! Tests of the table of settings: every row by every way in.

use super::given::{Given, nearest};
use super::kind::Kind;
use super::setting::Setting;
use super::table::{GROUPS, all};
use super::*;
use clap::FromArgMatches;
use std::path::Path;
use std::sync::Arc;
use thalweg_node::Durability;

/// What `thalweg serve` with these arguments would be started with.
fn started(args: &[&str]) -> anyhow::Result<Settings> {
    let command = <ServeArgs as clap::Args>::augment_args(clap::Command::new("serve"));
    // What this machine's environment says is not asked.
    let command = command.mut_args(|argument| argument.env(None));
    let matches = command.try_get_matches_from([&["serve"], args].concat())?;
    ServeArgs::from_arg_matches(&matches)?.resolve()
}

fn refusal(args: &[&str]) -> String {
    format!("{:#}", started(args).err().unwrap_or_else(|| panic!("{args:?} is refused")))
}

fn row(name: &str) -> &'static Setting {
    all().find(|setting| setting.name == name).unwrap_or_else(|| panic!("{name} is a setting"))
}

/// A value that the setting takes and that is not its default.
fn other_value(setting: &Setting) -> String {
    let default = setting.kind.value(&Settings::default());
    match &setting.kind {
        Kind::Bytes(_) => "33MiB".to_owned(),
        Kind::Milliseconds(_) => "1234ms".to_owned(),
        Kind::Count(_) => "7".to_owned(),
        Kind::PowerOfTwo(_) => "8".to_owned(),
        Kind::Address(_) => "127.0.0.1:1".to_owned(),
        Kind::Choice(choice) => {
            let names = choice.names.iter().map(|name| (*name).to_owned());
            names.rev().find(|name| Some(name) != default.as_ref()).expect("two names")
        }
        Kind::Path(_) => "/somewhere/else".to_owned(),
        Kind::Secret(_) => "secret".to_owned(),
    }
}

#[test]
fn defaults_are_durable_and_private() {
    let settings = started(&[]).expect("defaults are valid");
    assert_eq!(settings.engine.durability, Durability::Sync);
    assert!(settings.resp.ip().is_loopback());
    assert!(settings.http.is_some_and(|address| address.ip().is_loopback()));
    assert!(settings.postgres.is_some_and(|address| address.ip().is_loopback()));
}

/// Each row on the command line and in a file: it arrives, it alone changes, and `sys.settings`
/// says where it comes from.
#[test]
fn every_setting_arrives_by_every_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("thalweg.toml");
    for setting in all().filter(|setting| setting.name != "config") {
        let value = other_value(setting);
        let flag = setting.flag();
        let by_flag = started(&[flag.as_str(), &value]).expect("valid");
        std::fs::write(&path, format!("{} = {value:?}\n", setting.name)).expect("write");
        let config = path.to_str().expect("text");
        let by_file = started(&["--config", config]).expect("valid");
        for (settings, source) in [(&by_flag, "command line"), (&by_file, "file")] {
            assert_eq!(setting.kind.value(settings).as_ref(), Some(&value), "{}", setting.name);
            let rows = settings.rows(&settings.doors);
            let row = rows.iter().find(|row| row[0].as_deref() == Some(setting.name));
            let row = row.expect("a row in sys.settings");
            assert_eq!(row[3].as_deref(), Some(source), "{}", setting.name);
            let shown = if setting.name == "password" { "(set)" } else { &value };
            assert_eq!(row[1].as_deref(), Some(shown));
        }
        let follows: &[&str] = match setting.name {
            "data" => &["segments"],
            "memory-max" => &["sql-memory-max", "view-memory-max"],
            _ => &[],
        };
        for other in all().filter(|other| other.name != setting.name) {
            let is_same = other.kind.value(&by_flag) == other.kind.value(&Settings::default());
            assert_eq!(is_same, !follows.contains(&other.name), "{} {}", setting.name, other.name);
        }
    }
}

#[test]
fn the_first_of_flag_variable_and_file_counts() {
    let given =
        |origin, text: &str| Given { setting: row("memory-max"), text: text.to_owned(), origin };
    let layers = [
        given(Origin::CommandLine, "1GiB"),
        given(Origin::Environment, "2GiB"),
        given(Origin::File, "3GiB"),
    ];
    for (first, expected) in [(0, 1u64 << 30), (1, 2 << 30), (2, 3 << 30)] {
        let settings = Settings::from_given(&layers[first..], None).expect("valid");
        assert_eq!(settings.engine.memory_max_bytes, expected);
        assert_eq!(settings.origins["memory-max"], layers[first].origin);
        assert_eq!(settings.sql.memory_max_bytes as u64, expected / 5);
    }
    let error = Settings::from_given(&[given(Origin::Environment, "lots")], None).err();
    let error = error.expect("refused").to_string();
    assert!(error.contains("THALWEG_MEMORY_MAX"), "{error}");
}

#[test]
fn every_wrong_value_is_refused_with_the_setting_and_what_it_takes() {
    for setting in all() {
        let wrong: &[&str] = match &setting.kind {
            Kind::Bytes(_) => &["lots", "1", "-1", ""],
            Kind::Milliseconds(_) => &["soon", "-1", ""],
            Kind::Count(_) => &["many", "-1", "1.5"],
            Kind::PowerOfTwo(_) => &["3", "0", "2048", "many"],
            Kind::Address(_) => &["nowhere", "127.0.0.1", "127.0.0.1:99999", ""],
            Kind::Choice(_) => &["maybe", ""],
            Kind::Path(_) => &[""],
            Kind::Secret(_) => &[],
        };
        // An empty --config is a file that cannot be read.
        for value in wrong.iter().filter(|_| setting.name != "config") {
            let message = refusal(&[&format!("{}={value}", setting.flag())]);
            let expected = format!("{} takes {}", setting.flag(), setting.kind.allowed());
            assert!(message.starts_with(&expected), "{message}");
            assert!(message.contains(&format!("not '{value}'")), "{message}");
        }
    }
    assert!(refusal(&["--durability", "maybe"]).contains("sync, interval, none"));
    assert!(refusal(&["--memory-max", "1KiB"]).contains("at least 16MiB"));
    assert!(refusal(&["--threads", "0"]).contains("from 1 to 256"));
    assert!(refusal(&["--partitions", "3"]).contains("power of two"));
    assert!(refusal(&["--http", "nowhere"]).contains("or off"));
    assert!(!refusal(&["--resp", "off"]).contains("or off"));
}

#[test]
fn public_without_a_password_is_refused() {
    for door in ["--resp", "--http", "--postgres", "--resp-tls", "--http-tls"] {
        let message = refusal(&[door, "0.0.0.0:0"]);
        assert!(message.starts_with(&format!("{door} 0.0.0.0:0")), "{message}");
        assert!(message.contains("--password"), "{message}");
        // An empty password is none.
        assert_eq!(refusal(&[door, "0.0.0.0:0", "--password="]), message);
        started(&[door, "0.0.0.0:0", "--password", "secret"]).expect("allowed with a password");
    }
}

#[test]
fn tls_needs_a_certificate_and_its_key() {
    let files = |arguments: &[&str]| started(arguments).expect("valid").tls_files();
    assert!(files(&[]).expect("no TLS").is_none());
    assert!(files(&["--resp-tls", "off", "--http-tls", "off"]).expect("no TLS").is_none());
    for (arguments, missing) in [
        (["--tls-certificate", "c.pem"], "--tls-key"),
        (["--tls-key", "k.pem"], "--tls-certificate"),
        (["--resp-tls", "127.0.0.1:1"], "--tls-certificate"),
        (["--http-tls", "127.0.0.1:1"], "--tls-certificate"),
    ] {
        let message = files(&arguments).expect_err("refused").to_string();
        assert!(message.starts_with(arguments[0]) && message.contains(missing), "{message}");
    }
    let both = ["--tls-certificate", "c.pem", "--tls-key", "k.pem", "--resp-tls", "127.0.0.1:1"];
    let both = files(&both).expect("complete").expect("TLS");
    assert_eq!((both.certificate, both.key), ("c.pem".into(), "k.pem".into()));
}

#[test]
fn memory_that_keeps_nothing_promises_nothing() {
    let settings = started(&["--data", "memory"]).expect("valid");
    assert_eq!(settings.engine.durability, Durability::None);
    assert_eq!((settings.sql.folder, settings.sql.segments), (None, None));
    assert!(refusal(&["--data", "memory", "--durability", "sync"]).contains("use none"));
}

#[test]
fn a_file_is_refused_with_what_was_meant() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("thalweg.toml");
    let config = path.to_str().expect("text");
    for (text, words) in [
        ("durabilty = \"sync\"", &["'durabilty'", "did you mean 'durability'?"] as &[&str]),
        ("memory_max = \"1GiB\"", &["did you mean 'memory-max'?"]),
        ("maxmemory = \"1GiB\"", &["did you mean 'memory-max'?"]),
        ("zzz = 1", &["'zzz'", "thalweg serve --help"]),
        ("config = \"other.toml\"", &["'config'"]),
        ("threads = true", &["threads in ", "a number from 1 to 256", "boolean"]),
        ("threads = 1000", &["--threads takes a number from 1 to 256, not '1000' (from "]),
        ("threads = 1\npassword = secret", &["is not TOML in line 2: "]),
    ] {
        std::fs::write(&path, text).expect("write");
        let message = refusal(&["--config", config]);
        assert!(message.contains(config) && !message.contains("secret"), "{message}");
        for word in words {
            assert!(message.contains(word), "{text}: {message}");
        }
    }
    std::fs::write(&path, "threads = 3\npartitions = \"64\"").expect("write");
    let settings = started(&["--config", config, "--threads", "4"]).expect("valid");
    assert_eq!((settings.threads, settings.engine.partitions), (4, 64));
    assert!(refusal(&["--config", "/nowhere"]).contains("/nowhere"));
    assert_eq!(nearest("postgress"), Some("postgres"));
}

/// CONFIG: what can change does, by every name of it; what cannot says so; nothing else moves.
#[test]
fn config_shows_and_changes_what_the_table_says() {
    let started = Arc::new(started(&[]).expect("valid"));
    let parameters = parameters(&started);
    let mut names: Vec<&str> = parameters.iter().map(|parameter| parameter.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name stands for two settings");
    for setting in all() {
        assert!(!setting.can_change || !setting.config.is_empty(), "{}", setting.name);
        for (name, _) in setting.config {
            let parameter = parameters.iter().find(|parameter| parameter.name == *name);
            let parameter = parameter.expect("a parameter");
            let mut doors = started.doors.clone();
            let changed = (parameter.set)(&mut doors, &other_value(setting));
            if !setting.can_change {
                let why = changed.expect_err("it cannot change");
                assert!(why.contains(&setting.flag()), "{why}");
                continue;
            }
            // A number with a unit is read by all of them.
            changed.unwrap_or_else(|why| panic!("{name}: {why}"));
            let now = started.with(&doors);
            for other in all() {
                let moved = other.kind.value(&now) != other.kind.value(&started);
                assert_eq!(moved, other.name == setting.name, "{} by {name}", other.name);
            }
            let rows = started.rows(&doors);
            let row = rows.iter().find(|row| row[0].as_deref() == Some(setting.name));
            assert_eq!(row.expect("a row")[3].as_deref(), Some("CONFIG SET"));
        }
    }
}

#[test]
fn config_speaks_as_redis_does() {
    let arguments = ["--durability", "interval", "--memory-max", "1GiB", "--data", "/d"];
    let started = Arc::new(started(&arguments).expect("valid"));
    let parameters = parameters(&started);
    let mut doors = started.doors.clone();
    let find = |name: &str| {
        parameters.iter().find(|parameter| parameter.name == name).expect("a parameter")
    };
    for (name, expected) in [
        ("appendfsync", "everysec"),
        ("appendonly", "yes"),
        ("databases", "1"),
        ("dir", "/d"),
        ("durability", "interval"),
        ("maxclients", "10000"),
        ("maxmemory", "1073741824"),
        ("maxmemory-policy", "s3-fifo"),
        ("partitions", "32"),
        ("proto-max-bulk-len", "536870912"),
        ("requirepass", ""),
        ("save", ""),
        ("slowlog-log-slower-than", "10000"),
        ("timeout", "0"),
    ] {
        assert_eq!((find(name).get)(&doors), expected, "{name}");
    }
    for (name, text, expected) in [
        ("timeout", "5", "5"),
        ("timeout", "1500ms", "1"),
        ("slowlog-log-slower-than", "-1", "-1"),
        ("slowlog-log-slower-than", "0", "0"),
        ("proto-max-bulk-len", "1mb", "1048576"),
        ("requirepass", "secret", "(set)"),
        ("requirepass", "", ""),
    ] {
        (find(name).set)(&mut doors, text).expect("taken");
        assert_eq!((find(name).get)(&doors), expected, "{name} {text}");
    }
    assert_eq!(doors.idle_timeout_ms, 1_500);
    assert_eq!(doors.slow_us, 0);
    let why = (find("maxclients").set)(&mut doors, "0").expect_err("too few");
    assert_eq!(why, "takes a number from 1, not '0'");
    let memory = Arc::new(super::tests::started(&["--data", "memory"]).expect("valid"));
    let parameters = super::parameters(&memory);
    let get = |name: &str| {
        let parameter = parameters.iter().find(|parameter| parameter.name == name);
        (parameter.expect("a parameter").get)(&memory.doors)
    };
    assert_eq!(
        (get("dir"), get("appendonly"), get("appendfsync")),
        ("".into(), "no".into(), "no".into())
    );
}

/// No setting comes, goes or gets another name without somebody noticing.
#[test]
fn the_names_are_a_promise() {
    let names: Vec<&str> = all().map(|setting| setting.name).collect();
    let promised = "data durability sync-interval partitions config resp http postgres resp-tls \
                    http-tls tls-certificate tls-key password threads memory-max sql-memory-max \
                    view-memory-max eviction segments \
                    view-checkpoint stream-idle log-segment log-compress-min checkpoint-log \
                    connections-max bulk-max frame-max output-max body-max idle-timeout \
                    slow-log-above-us slow-log-max";
    assert_eq!(names, promised.split_whitespace().collect::<Vec<_>>());
    assert_eq!(row("memory-max").variable(), "THALWEG_MEMORY_MAX");
}

#[test]
fn the_page_of_settings_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    const HEADING: &str = "\n## All settings\n";
    let above = page.split(HEADING).next().unwrap_or_default();
    let expected = format!("{above}{HEADING}{}", tables());
    if std::env::var_os("THALWEG_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expected).expect("write");
    } else {
        let hint = "docs/settings.md is not current; run the test with THALWEG_UPDATE_DOCS=1";
        assert!(page == expected, "{hint}");
    }
}

/// The tables of the page `docs/settings.md`, a group a table.
fn tables() -> String {
    let mut page = String::new();
    for group in GROUPS {
        page.push_str(&format!(
            "\n### {}\n\n| setting | default | what it does | in CONFIG |\n|---|---|---|---|\n",
            group.title
        ));
        for setting in group.settings {
            let names = setting.config.iter().map(|(name, _)| format!("`{name}`"));
            let names = names.collect::<Vec<_>>().join(", ");
            let live = if setting.can_change { ", changes while it runs" } else { "" };
            page.push_str(&format!(
                "| `{}` | {} | {} | {names}{live} |\n",
                setting.name,
                setting.default().unwrap_or_default(),
                setting.what.replace('|', "\\|"),
            ));
        }
    }
    page
}
