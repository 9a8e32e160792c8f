//! What a worker does when nothing comes.

use super::*;

impl Reader {
    /// Notes that a partition has nothing more to read for now, and how far it lets event time go
    /// on without it.
    pub(super) fn note_end(
        &mut self,
        index: usize,
        newest: Option<StreamId>,
    ) -> Result<(), SqlError> {
        let Some(reader) = self.partitions.get(index) else { return Ok(()) };
        let number = usize::from(reader.number());
        let delay_us = self.delay_us();
        let after = self.view.progress(reader.number()).after();
        let after = newest.map_or(after, |newest| newest.max(after));
        // Alone it waits for nobody, so nobody marks it.
        let marked_us = match newest {
            Some(_) => reader.marked_us(after)?,
            None => None,
        };
        let mut live = self.view.live.lock();
        if let Some(activity) = live.activities.partitions.get_mut(number) {
            activity.note_end();
        }
        if let Some(progress) = live.progress.get_mut(number) {
            progress.pass(after);
        }
        let (Some(marked_us), Some(delay_us)) = (marked_us, delay_us) else { return Ok(()) };
        if let Some(progress) = live.progress.get_mut(number) {
            progress.max_us = progress.max_us.max(Some(marked_us.saturating_add(delay_us)));
        }
        live.advance(Some(delay_us))
    }

    pub(super) fn delay_us(&self) -> Option<i64> {
        self.stream.watermark.as_ref().map(|watermark| watermark.delay_us)
    }

    /// Marks partitions that are idle; once in a while, and not before history is behind the view:
    /// what others brought long ago says nothing about who is silent now.
    pub(super) fn mark_idle(&mut self) -> Result<(), SqlError> {
        let Some(delay_us) = self.delay_us() else { return Ok(()) };
        if self.marked.elapsed() < self.mark_interval || self.view.is_in_history() {
            return Ok(());
        }
        self.marked = Instant::now();
        let (idle, progress) = {
            let live = self.view.live.lock();
            (live.activities.idle(&live.positions(), Instant::now()), live.progress.clone())
        };
        for (number, event_us) in idle {
            let own = |reader: &&mut PartitionReader| usize::from(reader.number()) == number;
            let Some(reader) = self.partitions.iter_mut().find(own) else { continue };
            let Some(progress) = progress.get(number) else { continue };
            let watermark_us = event_us.saturating_sub(delay_us);
            // Where a record came meanwhile there is nothing to do.
            let mark = Mark { after: progress.after(), watermark_us };
            if let Err(error) = reader.append_mark(mark) {
                // The disk is full, or memory is: it is tried again later, and windows stay open
                // meanwhile.
                tracing::warn!(%error, key = reader.key(), "an idle partition could not be marked");
            }
        }
        Ok(())
    }

    /// Appends records that came too late to the view's late stream, each once whatever happens;
    /// gives the gates behind which they are there for good.
    pub(super) fn set_aside(
        &self,
        reader: &PartitionReader,
        late: Vec<(StreamId, Fields)>,
    ) -> Result<Gates, SqlError> {
        let target = format!("{}.late", self.view.name);
        let producer = format!("view {}", self.view.incarnation);
        let mut gates = Gates::NONE;
        for (id, fields) in late {
            let request = format!("{}/{}-{}", reader.key(), id.ms, id.sequence);
            let mut args: Vec<&[u8]> = vec![
                b"XADD",
                target.as_bytes(),
                b"IDMP",
                producer.as_bytes(),
                request.as_bytes(),
                b"*",
            ];
            args.extend(fields.iter().flat_map(|(name, value)| [name.as_slice(), value]));
            let mut session = thalweg_node::Session::default();
            match self.engine.run_in(&mut session, &args)? {
                (thalweg_machine::Reply::Error(error), _) => return Err(error.into()),
                (_, more) => gates.join(&more),
            }
        }
        self.engine.flush();
        Ok(gates)
    }
}

/// The watermark that each record finds in its partition, and the partition's latest event time
/// after all of them. Marks come with the rows that they stand before.
pub(super) fn own_watermarks(
    stream: &StreamDefinition,
    batch: &RecordBatch,
    max_us: Option<i64>,
    marks: &[(usize, i64)],
) -> Result<(Option<OwnWatermarks>, Option<i64>), SqlError> {
    let Some(watermark) = &stream.watermark else { return Ok((None, None)) };
    let Some(column) = batch.column_by_name(&watermark.column) else { return Ok((None, None)) };
    let times = times_us(column)?;
    let mut latest = max_us;
    let mut marks = marks.iter().peekable();
    let mut own = Vec::with_capacity(times.len());
    for row in 0..times.len() {
        while let Some((_, us)) = marks.next_if(|(before, _)| *before <= row) {
            latest = latest.max(Some(us.saturating_add(watermark.delay_us)));
        }
        if times.is_valid(row) {
            latest = latest.max(Some(times.value(row)));
        }
        own.push(latest.map_or(i64::MIN, |latest| latest.saturating_sub(watermark.delay_us)));
    }
    for (_, us) in marks {
        latest = latest.max(Some(us.saturating_add(watermark.delay_us)));
    }
    Ok((Some(OwnWatermarks(own)), latest))
}
