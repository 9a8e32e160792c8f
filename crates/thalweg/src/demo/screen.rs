//! The demo's picture in the terminal: redrawn in place on a terminal, a line a second elsewhere.
//! Above it a line says what begins.

use super::Board;
use std::io::{IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const SPARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const SPARK_COLUMNS: usize = 40;

pub(super) struct Screen {
    total: u64,
    live: bool,
    shown: Option<Instant>,
    lines: usize,
    settled: u64,
    rates: Vec<f64>,
}

impl Screen {
    pub(super) fn new(total: u64) -> Self {
        let live = std::io::stdout().is_terminal();
        Self { total, live, shown: None, lines: 0, settled: 0, rates: Vec::new() }
    }

    /// Shows how far things are, now and then.
    pub(super) fn show(&mut self, board: &Board, started: Instant) {
        let interval = Duration::from_millis(if self.live { 200 } else { 1_000 });
        if self.shown.is_some_and(|shown| shown.elapsed() < interval) {
            return;
        }
        self.draw(board, started);
    }

    /// Says what begins now, above the picture.
    pub(super) fn say(&mut self, line: &str) {
        let mut text = self.erase();
        text.push_str(line);
        text.push('\n');
        self.lines = 0;
        write(&text);
    }

    pub(super) fn say_all(&mut self, lines: Vec<String>) {
        lines.iter().for_each(|line| self.say(line));
    }

    pub(super) fn finish(&mut self, board: &Board, started: Instant) {
        if self.live {
            self.draw(board, started);
        }
    }

    fn draw(&mut self, board: &Board, started: Instant) {
        let settled = board.settled.load(Ordering::Relaxed);
        let acknowledged = board.acknowledged.load(Ordering::Relaxed);
        let since = self.shown.map_or(started, |shown| shown);
        let seconds = since.elapsed().as_secs_f64().max(0.001);
        let rate = settled.saturating_sub(self.settled) as f64 / seconds;
        self.shown = Some(Instant::now());
        self.settled = settled;
        self.rates.push(rate);
        let latency = board.latency_us.lock();
        let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
        let progress = format!(
            "{:>5.1} s  {rate:>9.0} orders/s  acknowledged {:>3.0} %  in the views {settled}",
            started.elapsed().as_secs_f64(),
            (acknowledged as f64 / self.total as f64 * 100.0).min(100.0),
        );
        let waited =
            format!("acknowledged within {:.2} ms (p50), {:.2} ms (p99)", ms(0.5), ms(0.99));
        drop(latency);
        // On a terminal no line may be wider than it is, for it is drawn over.
        let mut lines = if self.live {
            vec![progress, format!("         {waited}")]
        } else {
            vec![format!("{progress}  {waited}")]
        };
        if self.live {
            lines.push(self.sparkline());
            for (product, revenue) in &*board.top.lock() {
                lines.push(format!("  {product:<12} {revenue:>16}"));
            }
        }
        let mut text = self.erase();
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        self.lines = lines.len();
        write(&text);
    }

    /// What goes back up over the picture, where there is one.
    fn erase(&self) -> String {
        match self.lines {
            lines if self.live && lines > 0 => format!("\x1b[{lines}A\x1b[J"),
            _ => String::new(),
        }
    }

    fn sparkline(&self) -> String {
        let top = self.rates.iter().copied().fold(1.0, f64::max);
        let start = self.rates.len().saturating_sub(SPARK_COLUMNS);
        let recent = self.rates.get(start..).unwrap_or_default();
        let bars = recent.iter().map(|rate| {
            let level = (rate / top * 7.0).round() as usize;
            SPARKS.get(level).copied().unwrap_or('█')
        });
        bars.collect()
    }
}

fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    // A closed terminal ends nothing.
    let _nobody_watches = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
