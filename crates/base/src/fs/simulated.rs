//! A disk in memory that does what real disks do on bad days.
//!
//! Every file has the bytes that programs see and, since the last `sync_data`, the list of writes
//! that the disk has only promised. [`SimulatedFs::power_cut`] forgets a random part of those
//! promises, sector by sector and in any order, and names that no `sync_dir` covered.
//! [`SimulatedFs::fail`] plans faults. The same seed gives the same disaster.

use super::{File, Fs};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a disk tears a write into.
const SECTOR_BYTES: usize = 512;

/// A fault to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// After this many more changes (writes, syncs, creations, renames, removals) the power is
    /// gone: everything fails.
    PowerCutAfter(u64),
    /// After this many more `sync_data` calls one fails with EIO, and what it should have written
    /// is lost.
    SyncErrorAfter(u64),
    /// The disk holds this many bytes and no more.
    Capacity(u64),
}

/// A simulated disk. Clones share it.
#[derive(Clone)]
pub struct SimulatedFs {
    disk: Arc<Mutex<Disk>>,
}

struct Disk {
    random: u64,
    next_inode: u64,
    inodes: BTreeMap<u64, Inode>,
    /// Names as programs see them, and as they would be found after a power cut.
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    capacity: u64,
    changes_left: Option<u64>,
    syncs_left: Option<u64>,
    changes: u64,
}

#[derive(Default)]
struct Inode {
    visible: Vec<u8>,
    durable: Vec<u8>,
    promised: Vec<Promise>,
}

enum Promise {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl SimulatedFs {
    /// An empty disk whose disasters follow from `seed`.
    pub fn new(seed: u64) -> Self {
        let disk = Disk {
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            next_inode: 1,
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            capacity: u64::MAX,
            changes_left: None,
            syncs_left: None,
            changes: 0,
        };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Plans a fault.
    pub fn fail(&self, fault: Fault) {
        let mut disk = self.disk.lock();
        match fault {
            Fault::PowerCutAfter(changes) => disk.changes_left = Some(changes),
            Fault::SyncErrorAfter(syncs) => disk.syncs_left = Some(syncs),
            Fault::Capacity(bytes) => disk.capacity = bytes,
        }
    }

    /// How many changes the disk has seen: the upper bound for [`Fault::PowerCutAfter`].
    pub fn changes(&self) -> u64 {
        self.disk.lock().changes
    }

    /// The power goes and comes back: what was not synced survives in part, or not at all.
    pub fn power_cut(&self) {
        let mut disk = self.disk.lock();
        disk.changes_left = None;
        disk.syncs_left = None;
        let mut random = disk.random;
        for inode in disk.inodes.values_mut() {
            inode.lose_promises(&mut random);
        }
        // Each name that no sync_dir covered is there or not, each on its own.
        let visible = std::mem::take(&mut disk.names);
        let mut names = std::mem::take(&mut disk.durable_names);
        let changed: Vec<PathBuf> = visible
            .keys()
            .chain(names.keys())
            .filter(|path| visible.get(*path) != names.get(*path))
            .cloned()
            .collect();
        for path in changed {
            if next_random(&mut random).is_multiple_of(2) {
                match visible.get(&path) {
                    Some(inode) => names.insert(path, *inode),
                    None => names.remove(&path),
                };
            }
        }
        disk.durable_names = names.clone();
        disk.names = names;
        disk.random = random;
    }

    /// Turns one bit of a file over, as a decaying disk does.
    pub fn flip_bit(&self, path: &Path, bit: u64) {
        let mut disk = self.disk.lock();
        let Some(inode) = disk.names.get(path).copied() else { return };
        let Some(inode) = disk.inodes.get_mut(&inode) else { return };
        for bytes in [&mut inode.visible, &mut inode.durable] {
            if let Some(byte) = bytes.get_mut((bit / 8) as usize) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// A file's bytes as programs see them.
    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        let disk = self.disk.lock();
        let inode = disk.names.get(path).and_then(|inode| disk.inodes.get(inode));
        inode.map(|inode| inode.visible.clone()).unwrap_or_default()
    }

    /// Puts bytes in place of a file's, durable at once.
    pub fn replace(&self, path: &Path, bytes: Vec<u8>) {
        let mut disk = self.disk.lock();
        let number = disk.next_inode;
        disk.next_inode += 1;
        let inode = Inode { durable: bytes.clone(), visible: bytes, promised: Vec::new() };
        disk.inodes.insert(number, inode);
        disk.names.insert(path.to_owned(), number);
        disk.durable_names.insert(path.to_owned(), number);
    }
}

impl Inode {
    fn lose_promises(&mut self, random: &mut u64) {
        for promise in self.promised.drain(..) {
            match promise {
                Promise::SetLen(length) if next_random(random).is_multiple_of(2) => {
                    self.durable.resize(length, 0);
                }
                Promise::SetLen(_) => {}
                Promise::Write { offset, bytes } => {
                    // All, nothing, or some of the sectors.
                    let mode = next_random(random) % 4;
                    for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        let keep = match mode {
                            0 => false,
                            1 => true,
                            _ => next_random(random).is_multiple_of(2),
                        };
                        if keep {
                            write_into(&mut self.durable, offset + index * SECTOR_BYTES, sector);
                        }
                    }
                }
            }
        }
        self.visible = self.durable.clone();
    }

    fn keep_promises(&mut self) {
        for promise in self.promised.drain(..) {
            match promise {
                Promise::Write { offset, bytes } => write_into(&mut self.durable, offset, &bytes),
                Promise::SetLen(length) => self.durable.resize(length, 0),
            }
        }
    }
}

impl Disk {
    /// Counts a change; refuses it when the power is gone.
    fn change(&mut self) -> io::Result<()> {
        self.changes += 1;
        match &mut self.changes_left {
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn used_bytes(&self) -> u64 {
        let files = self.names.values().filter_map(|inode| self.inodes.get(inode));
        files.map(|inode| inode.visible.len() as u64).sum()
    }

    fn grow(&self, inode: u64, length: usize) -> io::Result<()> {
        let now = self.inodes.get(&inode).map_or(0, |inode| inode.visible.len());
        let more = length.saturating_sub(now) as u64;
        if more > 0 && self.used_bytes() + more > self.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Fs for SimulatedFs {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let disk = self.disk.lock();
        let inode = *disk.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimulatedFile { disk: self.disk.clone(), inode }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk.lock();
        disk.change()?;
        if disk.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = disk.next_inode;
        disk.next_inode += 1;
        disk.inodes.insert(inode, Inode::default());
        disk.names.insert(path.to_owned(), inode);
        Ok(Arc::new(SimulatedFile { disk: self.disk.clone(), inode }))
    }

    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk.lock();
        let inside = disk.names.keys().filter(|name| name.parent() == Some(path));
        Ok(inside
            .filter_map(|name| Some(name.file_name()?.to_string_lossy().into_owned()))
            .collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.change()?;
        let inode = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.change()?;
        disk.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.change()?;
        let inside = |name: &PathBuf| name.parent() == Some(path);
        let names: Vec<_> = disk
            .names
            .iter()
            .filter(|(name, _)| inside(name))
            .map(|(name, inode)| (name.clone(), *inode))
            .collect();
        disk.durable_names.retain(|name, _| !inside(name));
        disk.durable_names.extend(names);
        Ok(())
    }
}

struct SimulatedFile {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
}

impl File for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.disk.lock();
        let inode = disk.inodes.get(&self.inode).ok_or(io::ErrorKind::NotFound)?;
        let rest = inode.visible.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.change()?;
        disk.grow(self.inode, offset as usize + bytes.len())?;
        let inode = disk.inodes.get_mut(&self.inode).ok_or(io::ErrorKind::NotFound)?;
        write_into(&mut inode.visible, offset as usize, bytes);
        inode.promised.push(Promise::Write { offset: offset as usize, bytes: bytes.to_vec() });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.change()?;
        let fails = match &mut disk.syncs_left {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if fails {
            disk.syncs_left = None;
        }
        let mut random = disk.random;
        let inode = disk.inodes.get_mut(&self.inode).ok_or(io::ErrorKind::NotFound)?;
        if fails {
            // As ext4 does: the pages count as clean, programs still see the bytes, the disk does
            // not have them.
            let visible = std::mem::take(&mut inode.visible);
            inode.lose_promises(&mut random);
            inode.visible = visible;
            disk.random = random;
            return Err(io::Error::from_raw_os_error(5));
        }
        inode.keep_promises();
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let now = self.length()?;
        if length > now { self.set_len(length) } else { Ok(()) }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.change()?;
        disk.grow(self.inode, length as usize)?;
        let inode = disk.inodes.get_mut(&self.inode).ok_or(io::ErrorKind::NotFound)?;
        inode.visible.resize(length as usize, 0);
        inode.promised.push(Promise::SetLen(length as usize));
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        let disk = self.disk.lock();
        let inode = disk.inodes.get(&self.inode).ok_or(io::ErrorKind::NotFound)?;
        Ok(inode.visible.len() as u64)
    }
}

fn write_into(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    if let Some(target) = file.get_mut(offset..end) {
        target.copy_from_slice(bytes);
    }
}

/// xorshift64*: small, seedable, good enough to choose which sectors die.
fn next_random(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33
}

#[cfg(test)]
mod tests;
