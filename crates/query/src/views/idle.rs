//! Which partitions are idle: silent while others brought records. Windows need not wait for them.
//!
//! This is decided once and written down as a mark in the partition (`stream/marks.rs`). Views go
//! by the marks alone. After a time in which no partition brought anything, no partition is idle
//! yet. When a load then fills two partitions again, the one that is read second counts as silent
//! from the beginning of the load, and not from before.

use std::time::{Duration, Instant};

/// What a view has seen of a partition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Activity {
    /// There was nothing more to read.
    caught_up: bool,
    /// There was nothing more to read at some time since reading began.
    has_caught_up: bool,
    /// When it last brought anything.
    active: Option<Instant>,
}

impl Activity {
    /// There is nothing more to read.
    pub(super) fn note_end(&mut self) {
        self.caught_up = true;
        self.has_caught_up = true;
    }

    /// Whether history is behind it.
    pub(super) fn has_caught_up(&self) -> bool {
        self.has_caught_up
    }
}

/// What a view has seen of all partitions of its stream.
#[derive(Clone, Debug)]
pub(super) struct Activities {
    /// A partition that is silent for this long while others bring records does not hold the
    /// watermark back.
    idle_time: Duration,
    pub(super) partitions: Vec<Activity>,
    /// When the first record came after the last time of silence.
    lively_since: Option<Instant>,
    /// When any of them last brought anything.
    active: Option<Instant>,
}

/// How far a partition has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    /// When its last record came, by its ID.
    pub(super) arrived_ms: u64,
    /// Its latest event time; nothing before its first record.
    pub(super) event_us: Option<i64>,
}

impl Activities {
    pub(super) fn new(partitions: usize, idle_time: Duration) -> Self {
        Self {
            idle_time,
            partitions: vec![Activity::default(); partitions],
            lively_since: None,
            active: None,
        }
    }

    /// History is behind the view: from now on silence counts, whether anything comes or not.
    pub(super) fn note_live(&mut self, now: Instant) {
        self.lively_since.get_or_insert(now);
    }

    /// Records of a partition have been read.
    pub(super) fn note_taken(&mut self, partition: usize, now: Instant) {
        let was_silent =
            self.active.is_none_or(|active| now.duration_since(active) >= self.idle_time);
        if was_silent {
            self.lively_since = Some(now);
        }
        self.active = Some(now);
        if let Some(activity) = self.partitions.get_mut(partition) {
            activity.caught_up = false;
            activity.active = Some(now);
        }
    }

    /// The partitions that are idle, each with the event time that it lets pass; only where that is
    /// news.
    pub(super) fn idle(&self, positions: &[Position], now: Instant) -> Vec<(usize, i64)> {
        let idle: Vec<bool> =
            (0..positions.len()).map(|index| self.is_idle(index, positions, now)).collect();
        let busy = positions.iter().zip(&idle).filter(|(_, idle)| !**idle);
        // A partition that may still bring its first record holds everything.
        let Some(slowest_us) = busy.map(|(position, _)| position.event_us).min().flatten() else {
            return Vec::new();
        };
        let behind = |position: &Position| position.event_us.is_none_or(|us| us < slowest_us);
        let numbered = positions.iter().zip(&idle).enumerate();
        numbered
            .filter(|(_, (position, idle))| **idle && behind(position))
            .map(|(index, _)| (index, slowest_us))
            .collect()
    }

    fn is_idle(&self, index: usize, positions: &[Position], now: Instant) -> bool {
        let (Some(activity), Some(own), Some(lively_since)) =
            (self.partitions.get(index), positions.get(index), self.lively_since)
        else {
            return false;
        };
        let order = |position: &Position| (position.arrived_ms, position.event_us);
        let is_passed =
            positions.iter().any(|other| other.event_us.is_some() && order(other) > order(own));
        let silent_since = activity.active.map_or(lively_since, |active| active.max(lively_since));
        activity.caught_up && is_passed && now.duration_since(silent_since) >= self.idle_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(5);

    fn at(arrived_ms: u64, event_us: i64) -> Position {
        Position { arrived_ms, event_us: Some(event_us) }
    }

    const EMPTY: Position = Position { arrived_ms: 0, event_us: None };

    fn caught_up(partitions: usize) -> Activities {
        let mut activities = Activities::new(partitions, IDLE);
        activities.partitions.iter_mut().for_each(Activity::note_end);
        activities
    }

    #[test]
    fn silence_counts_only_while_others_bring_records() {
        let start = Instant::now();
        let mut activities = caught_up(2);
        // Both were silent for long; then the first is filled.
        let filled = start + 10 * IDLE;
        activities.note_taken(0, filled);
        let positions = [at(1, 100), EMPTY];
        assert_eq!(activities.idle(&positions, filled + IDLE / 2), []);
        assert_eq!(activities.idle(&positions, filled + IDLE), [(1, 100)]);
        // And again, after another silence.
        let again = filled + 10 * IDLE;
        activities.note_taken(0, again);
        let positions = [at(2, 200), at(0, 100)];
        assert_eq!(activities.idle(&positions, again + IDLE / 2), []);
        assert_eq!(activities.idle(&positions, again + IDLE), [(1, 200)]);
    }

    #[test]
    fn who_came_last_and_who_is_not_read_yet_are_not_idle() {
        let start = Instant::now();
        let mut activities = caught_up(3);
        activities.note_taken(0, start);
        activities.note_taken(1, start);
        activities.partitions.get_mut(1).expect("there").note_end();
        // The first has more to read; the third has brought nothing yet and is not caught up
        // either.
        activities.partitions.get_mut(2).expect("there").caught_up = false;
        let later = start + 2 * IDLE;
        assert_eq!(activities.idle(&[at(5, 50), at(4, 40), EMPTY], later), []);
        activities.partitions.get_mut(2).expect("there").note_end();
        assert_eq!(activities.idle(&[at(5, 50), at(4, 40), EMPTY], later), [(1, 50), (2, 50)]);
        // What would not raise anything is not told.
        assert_eq!(activities.idle(&[at(5, 50), at(4, 60), at(0, 50)], later), []);
    }
}
