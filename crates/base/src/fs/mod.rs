//! The few file operations that durable code needs, as a trait. So a simulated disk, which loses
//! writes and lies about them, can take the place of a real one.

mod real;
mod simulated;

pub use real::RealFs;
pub use simulated::{Fault, SimulatedFs};

use std::io;
use std::path::Path;
use std::sync::Arc;

/// A directory tree.
///
/// A new or renamed name is durable only after [`Fs::sync_dir`] on its directory; a file's bytes
/// only after [`File::sync_data`].
pub trait Fs: Send + Sync + 'static {
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Creates a file; fails with `AlreadyExists` where there is one.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Creates a directory and all directories above it.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The names of the files in a directory, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Renames a file, replacing the target if there is one.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes created, renamed and removed names of a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// An open file, used by position: there is no cursor to share.
pub trait File: Send + Sync {
    /// Fills as much of `buffer` as the file holds from `offset` on; returns how much.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the bytes written so far durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Reserves disk space so that later writes below `length` cannot fail for want of it. Extends
    /// the file.
    fn allocate(&self, length: u64) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// The file's length.
    fn length(&self) -> io::Result<u64>;
}
