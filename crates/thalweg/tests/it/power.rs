//! Power cuts on a real file system: ext4 on a loop device is shut down under a node at work,
//! without its journal being flushed, so that whatever was not made durable is gone.
//!
//! An fdatasync that is under way at that moment may return success although its block was lost:
//! the kernel's journal has ended by then, and the caller is not told (seen with a program of ten
//! lines). With a real power cut no process would be left to see the success. So acknowledgements
//! count up to the moment of the cut.
//!
//! Needs root, a loop device and Linux; says so and passes where those are missing.
//! `THALWEG_TEST_CUTS` says how often.

use crate::kill::{survive, times};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// Waits for a byte, then `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`: the kernel's own
/// way to play a power cut.
const GO_DOWN: &str = "import fcntl, os, struct, sys\n\
    directory = os.open(sys.argv[1], os.O_RDONLY)\n\
    os.write(1, b'.')\n\
    os.read(0, 1)\n\
    fcntl.ioctl(directory, 0x8004587D, struct.pack('I', 2))";

/// ext4 in a file.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    fn make(folder: &Path) -> Result<Self, String> {
        let disk = Self { image: folder.join("image"), mount: folder.join("mount") };
        let file = std::fs::File::create(&disk.image).map_err(|error| error.to_string())?;
        file.set_len(512 << 20).map_err(|error| error.to_string())?;
        std::fs::create_dir(&disk.mount).map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").arg("-q").arg(&disk.image))?;
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount))
    }

    fn unmount(&self) -> Result<(), String> {
        run(Command::new("umount").arg(&self.mount))
    }

    /// Says that the power is off, and cuts it at once.
    fn cut_power(&self, dead: &AtomicBool) -> std::io::Result<()> {
        let mut cutter = Command::new("python3")
            .args(["-c", GO_DOWN])
            .arg(&self.mount)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let (Some(ready), Some(go)) = (&mut cutter.stdout, &mut cutter.stdin) {
            ready.read_exact(&mut [0])?;
            dead.store(true, Ordering::SeqCst);
            go.write_all(b".")?;
        }
        let status = cutter.wait()?;
        if status.success() { Ok(()) } else { Err(std::io::Error::other(status.to_string())) }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It may not be mounted.
        let _gone = self.unmount();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = match Disk::make(folder.path()) {
        Ok(disk) => disk,
        Err(why) => {
            eprintln!("skipped: no file system of our own can be mounted here: {why}");
            return;
        }
    };
    survive(&disk.mount.join("data"), times("THALWEG_TEST_CUTS", 40), |server, dead| {
        disk.cut_power(dead).expect("cut the power");
        server.kill();
        disk.unmount().expect("unmount");
        disk.mount().expect("mount");
    });
}
