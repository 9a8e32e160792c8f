//! Pieces of local files that stay in memory. What one query has read of a Parquet file, the next
//! one need not read again. A piece counts only as long as its file is the same one, unchanged.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// A file that was written a moment ago may be written again within one tick of its time stamps.
const SETTLED: Duration = Duration::from_secs(2);
/// No piece takes a larger part of the memory than one in so many.
const PIECE_SHARE: usize = 8;
/// What a piece takes beside its bytes.
const PIECE_BYTES: usize = 256;

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Version {
    device: u64,
    inode: u64,
    length: u64,
    /// When the content and when the inode were changed: each in seconds and nanoseconds.
    times: [i64; 4],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Piece {
    file: Path,
    version: Version,
    range: Range<u64>,
}

/// Pieces by when they were last of use.
#[derive(Debug, Default)]
struct Pieces {
    all: HashMap<Piece, (Bytes, u64)>,
    by_use: BTreeMap<u64, Piece>,
    bytes: usize,
    /// Counts uses.
    clock: u64,
}

impl Pieces {
    fn get(&mut self, piece: &Piece) -> Option<Bytes> {
        let (bytes, used) = self.all.get_mut(piece)?;
        self.clock += 1;
        if let Some(piece) = self.by_use.remove(used) {
            self.by_use.insert(self.clock, piece);
        }
        *used = self.clock;
        Some(bytes.clone())
    }

    fn insert(&mut self, piece: Piece, bytes: Bytes, bytes_max: usize) {
        let size = bytes.len() + PIECE_BYTES;
        if size > bytes_max / PIECE_SHARE || self.all.contains_key(&piece) {
            return;
        }
        self.bytes += size;
        self.clock += 1;
        self.by_use.insert(self.clock, piece.clone());
        self.all.insert(piece, (bytes, self.clock));
        while self.bytes > bytes_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            if let Some((bytes, _)) = self.all.remove(&oldest) {
                self.bytes -= bytes.len() + PIECE_BYTES;
            }
        }
    }
}

/// The files of this machine.
#[derive(Debug)]
pub(crate) struct CachedFiles {
    files: LocalFileSystem,
    pieces: Mutex<Pieces>,
    bytes_max: usize,
    settled: Duration,
}

impl std::fmt::Display for CachedFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.files)
    }
}

impl CachedFiles {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            files: LocalFileSystem::new(),
            pieces: Mutex::default(),
            bytes_max,
            settled: SETTLED,
        }
    }

    /// Which file there is; nothing where it is not to be trusted. (One system call, which takes
    /// less time than handing it to another thread.)
    fn version(&self, file: &Path) -> Option<Version> {
        let path = self.files.path_to_filesystem(file).ok()?;
        let metadata = std::fs::metadata(path).ok()?;
        let times =
            [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
        // A copy may bring its time stamp along: what the inode says counts, too.
        let changed = u64::try_from(metadata.mtime().max(metadata.ctime())).ok()?;
        let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let settled = age >= Duration::from_secs(changed).saturating_add(self.settled);
        settled.then(|| Version {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            times,
        })
    }

    fn find(&self, file: &Path, version: Version, ranges: &[Range<u64>]) -> Vec<Option<Bytes>> {
        let mut pieces = self.pieces.lock();
        let piece =
            |range: &Range<u64>| Piece { file: file.clone(), version, range: range.clone() };
        ranges.iter().map(|range| pieces.get(&piece(range))).collect()
    }

    fn keep(&self, file: &Path, version: Version, ranges: Vec<Range<u64>>, read: &[Bytes]) {
        let mut pieces = self.pieces.lock();
        for (range, bytes) in ranges.into_iter().zip(read) {
            let piece = Piece { file: file.clone(), version, range };
            pieces.insert(piece, bytes.clone(), self.bytes_max);
        }
    }
}

#[async_trait]
impl ObjectStore for CachedFiles {
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let Some(version) = self.version(location) else {
            return self.files.get_ranges(location, ranges).await;
        };
        let found = self.find(location, version, ranges);
        let missing = ranges.iter().zip(&found).filter(|(_, found)| found.is_none());
        let missing: Vec<Range<u64>> = missing.map(|(range, _)| range.clone()).collect();
        if missing.is_empty() {
            return Ok(found.into_iter().flatten().collect());
        }
        let read = self.files.get_ranges(location, &missing).await?;
        // What was read while the file was replaced may be of the one or of the other.
        if self.version(location) == Some(version) {
            self.keep(location, version, missing, &read);
        }
        let mut read = read.into_iter();
        Ok(found.into_iter().filter_map(|found| found.or_else(|| read.next())).collect())
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.files.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.files.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;

    async fn read_one(files: &CachedFiles, path: &Path, range: Range<u64>) -> String {
        read(files, path, std::slice::from_ref(&range)).await
    }

    async fn read(files: &CachedFiles, path: &Path, ranges: &[Range<u64>]) -> String {
        let pieces = files.get_ranges(path, ranges).await.expect("read");
        let texts = pieces.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        texts.collect::<Vec<_>>().join(" ")
    }

    #[tokio::test]
    async fn pieces_are_those_of_the_file_that_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.parquet");
        let at = Path::from_absolute_path(&path).expect("a path");
        let mut files = CachedFiles { settled: Duration::ZERO, ..CachedFiles::new(1 << 20) };
        std::fs::write(&path, b"0123456789").expect("write");
        assert_eq!(read(&files, &at, &[2..4, 6..8]).await, "23 67");
        assert_eq!(read(&files, &at, &[0..1, 6..8, 2..4]).await, "0 67 23");
        assert_eq!(files.pieces.lock().all.len(), 3);
        // Another file of the same length and age.
        let age =
            std::fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("an age");
        let other = folder.path().join("b.parquet");
        std::fs::write(&other, b"abcdefghij").expect("write");
        let writer = std::fs::File::options().write(true).open(&other).expect("open");
        writer.set_modified(age).expect("set the time");
        std::fs::rename(&other, &path).expect("rename");
        assert_eq!(read_one(&files, &at, 2..4).await, "cd");
        // One that was written just now is read anew each time.
        files.settled = SETTLED;
        assert_eq!(read_one(&files, &at, 4..6).await, "ef");
        assert_eq!(files.pieces.lock().all.len(), 4);
        files.delete(&at).await.expect("delete");
        assert!(files.get_ranges(&at, &[2..4, 4..6]).await.is_err());
    }

    #[tokio::test]
    async fn what_was_used_least_lately_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.parquet");
        let at = Path::from_absolute_path(&path).expect("a path");
        std::fs::write(&path, [b'x'; 100_000]).expect("write");
        let files = CachedFiles { settled: Duration::ZERO, ..CachedFiles::new(40_000) };
        for start in 0..20 {
            let is_kept = files.pieces.lock().all.keys().any(|piece| piece.range == (0..4_000));
            assert!(is_kept || start == 0, "it was used the last time but one");
            for range in [0..4_000, start * 4_000..(start + 1) * 4_000] {
                read_one(&files, &at, range).await;
            }
            assert!(files.pieces.lock().bytes <= 40_000);
        }
        let starts: Vec<u64> = {
            let pieces = files.pieces.lock();
            pieces.by_use.values().map(|piece| piece.range.start).collect()
        };
        assert_eq!(starts.len(), 9);
        assert!(starts.contains(&0) && starts.contains(&76_000) && !starts.contains(&4_000));
        // Too large a piece would drive out all others.
        read_one(&files, &at, 0..50_000).await;
        assert_eq!(files.pieces.lock().all.len(), 9);
    }
}
