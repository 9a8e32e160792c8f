//! Where orders come from: a seeded generator, or a file.

use crate::random::{Random, Zipf};
use anyhow::{Context, bail};
use serde::Deserialize;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// One order line. Money is in thousandths, so that sums are exact.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) product: String,
    /// Negative for a return.
    pub(crate) quantity: i64,
    pub(crate) price_milli: i64,
    /// When it was placed, in milliseconds since 1970.
    pub(crate) at_ms: i64,
}

impl Order {
    /// The minute in which it was placed.
    pub(crate) fn minute(&self) -> i64 {
        self.at_ms.div_euclid(60_000)
    }

    pub(crate) fn revenue_milli(&self) -> i64 {
        self.quantity * self.price_milli
    }
}

const PRODUCTS: u64 = 5_000;
/// The generated day: 2026-01-15.
const DAY_START_MS: i64 = 1_768_435_200_000;
const DAY_MS: i64 = 86_400_000;
/// One in a hundred is sent again, and one in a hundred comes late, by up to half a minute.
const DUPLICATE_IN: u64 = 100;
const LATE_IN: u64 = 100;
const LATE_MAX_MS: u64 = 30_000;

/// Where orders come from. They can be read any number of times, and are the same each time.
pub(crate) enum Source {
    Generator { orders: u64, seed: u64 },
    File { path: PathBuf, orders: u64 },
}

impl Source {
    pub(crate) fn open(input: Option<&Path>, orders: u64, seed: u64) -> anyhow::Result<Self> {
        let Some(path) = input else {
            if orders == 0 {
                bail!("--orders must be at least 1");
            }
            return Ok(Self::Generator { orders, seed });
        };
        // Read once to the end, so that a broken file is refused before anything starts.
        let mut count = 0;
        read_file(path, &mut |_| {
            count += 1;
            Ok(())
        })?;
        if count == 0 {
            bail!("{} has no orders", path.display());
        }
        Ok(Self::File { path: path.to_owned(), orders: count })
    }

    /// How many different orders there are.
    pub(crate) fn distinct(&self) -> u64 {
        match self {
            Self::Generator { orders, .. } | Self::File { orders, .. } => *orders,
        }
    }

    /// How many orders are sent, about: those that are sent twice come on top.
    pub(crate) fn total(&self) -> u64 {
        match self {
            Self::Generator { orders, .. } => orders + orders / DUPLICATE_IN,
            Self::File { orders, .. } => *orders,
        }
    }

    /// How far an order may be behind one that came before it.
    pub(crate) fn lateness_ms(&self) -> anyhow::Result<u64> {
        let Self::File { .. } = self else { return Ok(LATE_MAX_MS) };
        let (mut latest_ms, mut lateness_ms) = (i64::MIN, 0);
        self.for_each(&mut |order, _| {
            latest_ms = latest_ms.max(order.at_ms);
            lateness_ms = lateness_ms.max(latest_ms.abs_diff(order.at_ms));
            Ok(())
        })?;
        Ok(lateness_ms)
    }

    /// Gives every order as it is sent; `true` with one that was given before.
    pub(crate) fn for_each(
        &self,
        visit: &mut dyn FnMut(Order, bool) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Generator { orders, seed } => generate(*orders, *seed, visit),
            Self::File { path, .. } => read_file(path, &mut |order| visit(order, false)),
        }
    }
}

fn generate(
    orders: u64,
    seed: u64,
    visit: &mut dyn FnMut(Order, bool) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut random = Random::new(seed);
    let zipf = Zipf::new(PRODUCTS, 1.0);
    let prices: Vec<i64> =
        (0..PRODUCTS).map(|_| 500 + random.below(99_500) as i64 / 10 * 10).collect();
    // Sent again a little later, as by a client that missed the answer. Soonest first.
    let mut again: BinaryHeap<Reverse<(u64, u64, Order)>> = BinaryHeap::new();
    for number in 0..orders {
        let product = zipf.rank(&mut random);
        let placed =
            DAY_START_MS + (i128::from(number) * i128::from(DAY_MS) / i128::from(orders)) as i64;
        let late = if random.below(LATE_IN) == 0 { random.below(LATE_MAX_MS) as i64 } else { 0 };
        let order = Order {
            id: format!("o{number:09}"),
            product: format!("p{product:05}"),
            quantity: 1 + random.below(5) as i64,
            price_milli: prices.get(product as usize).copied().unwrap_or(1_000),
            at_ms: (placed - late).max(DAY_START_MS),
        };
        if random.below(DUPLICATE_IN) == 0 {
            again.push(Reverse((number + 1 + random.below(5_000), number, order.clone())));
        }
        visit(order, false)?;
        while again.peek().is_some_and(|Reverse((due, _, _))| *due <= number) {
            if let Some(Reverse((_, _, order))) = again.pop() {
                visit(order, true)?;
            }
        }
    }
    while let Some(Reverse((_, _, order))) = again.pop() {
        visit(order, true)?;
    }
    Ok(())
}

fn read_file(
    path: &Path,
    visit: &mut dyn FnMut(Order) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut line = String::new();
    let mut number = 0u64;
    let mut columns: Option<Columns> = None;
    loop {
        line.clear();
        if reader.read_line(&mut line).with_context(|| format!("read {}", path.display()))? == 0 {
            return Ok(());
        }
        number += 1;
        // A quoted field may hold line breaks.
        while columns.is_some() && line.matches('"').count() % 2 == 1 {
            if reader.read_line(&mut line)? == 0 {
                break;
            }
        }
        let text = line.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            continue;
        }
        let order = if text.starts_with('{') {
            parse_json(text)
        } else if let Some(columns) = &columns {
            columns.parse(text, number)
        } else {
            columns = Some(
                Columns::from_header(text)
                    .with_context(|| format!("{}, line 1", path.display()))?,
            );
            continue;
        };
        visit(order.with_context(|| format!("{}, line {number}", path.display()))?)?;
    }
}

#[derive(Deserialize)]
struct JsonOrder {
    order_id: String,
    product: String,
    quantity: i64,
    price: f64,
    ts_ms: i64,
}

fn parse_json(text: &str) -> anyhow::Result<Order> {
    let order: JsonOrder = serde_json::from_str(text)?;
    Ok(Order {
        id: order.order_id,
        product: order.product,
        quantity: order.quantity,
        price_milli: (order.price * 1_000.0).round() as i64,
        at_ms: order.ts_ms,
    })
}

/// Where the fields are in a CSV file.
struct Columns {
    invoice: usize,
    product: usize,
    quantity: usize,
    date: usize,
    price: usize,
}

impl Columns {
    fn from_header(header: &str) -> anyhow::Result<Self> {
        let names = split_csv(header);
        let find = |name: &str| {
            names
                .iter()
                .position(|other| other.eq_ignore_ascii_case(name))
                .with_context(|| format!("the header has no column {name}"))
        };
        Ok(Self {
            invoice: find("InvoiceNo")?,
            product: find("StockCode")?,
            quantity: find("Quantity")?,
            date: find("InvoiceDate")?,
            price: find("UnitPrice")?,
        })
    }

    fn parse(&self, line: &str, number: u64) -> anyhow::Result<Order> {
        let fields = split_csv(line);
        let field = |index: usize| fields.get(index).map(String::as_str).context("too few columns");
        let quantity = field(self.quantity)?;
        Ok(Order {
            // An invoice has many lines, and the same line may stand in it twice: the line number
            // tells them apart.
            id: format!("{}-{number}", field(self.invoice)?),
            product: field(self.product)?.to_owned(),
            quantity: quantity
                .parse()
                .with_context(|| format!("'{quantity}' is not a quantity"))?,
            price_milli: parse_milli(field(self.price)?)?,
            at_ms: parse_time(field(self.date)?)?,
        })
    }
}

fn split_csv(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                push(&mut fields, '"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => push(&mut fields, c),
        }
    }
    fields
}

fn push(fields: &mut [String], c: char) {
    if let Some(field) = fields.last_mut() {
        field.push(c);
    }
}

/// A decimal number in thousandths, exactly.
pub(super) fn parse_milli(text: &str) -> anyhow::Result<i64> {
    let wrong = || format!("'{text}' is not a price with at most three decimals");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.len() > 3 {
        bail!(wrong());
    }
    let whole: i64 = whole.parse().with_context(wrong)?;
    let fraction: i64 = format!("{fraction:0<3}").parse().with_context(wrong)?;
    let value = whole
        .checked_mul(1_000)
        .and_then(|value| value.checked_add(fraction))
        .with_context(wrong)?;
    Ok(if negative { -value } else { value })
}

/// `2010-12-01 08:26:00` in milliseconds since 1970, taken as UTC.
fn parse_time(text: &str) -> anyhow::Result<i64> {
    let numbers: Vec<i64> = text
        .split(['-', ' ', ':', 'T'])
        .map(|part| {
            part.parse().with_context(|| format!("'{text}' is not a time like 2010-12-01 08:26:00"))
        })
        .collect::<Result<_, _>>()?;
    let &[year, month, day, hour, minute, ref rest @ ..] = numbers.as_slice() else {
        bail!("'{text}' is not a time like 2010-12-01 08:26:00");
    };
    let second = rest.first().copied().unwrap_or(0);
    // Days since 1970 by the civil calendar (H. Hinnant's algorithm).
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Ok((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_real_lines_with_their_dirt() {
        let columns = Columns::from_header(
            "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
        )
        .expect("a header");
        let line = "C536379,D,\"Discount, \"\"special\"\"\",-1,2010-12-01 \
                    09:41:00,27.5,14527.0,United Kingdom";
        let order = columns.parse(line, 7).expect("a line");
        assert_eq!(order.id, "C536379-7");
        assert_eq!(
            (order.quantity, order.price_milli, order.revenue_milli()),
            (-1, 27_500, -27_500)
        );
        assert_eq!(order.at_ms, 1_291_196_460_000);
        assert!(columns.parse("1,2,3,x,2010-12-01 09:41:00,1,1,1", 8).is_err());
        assert_eq!(parse_milli("-0.005").expect("a price"), -5);
    }

    #[test]
    fn the_generator_is_what_it_says() {
        let source = Source::open(None, 100_000, 7).expect("open");
        let (mut fresh, mut twice, mut late, mut last) = (0, 0, 0, 0);
        let mut ids = std::collections::HashSet::new();
        source
            .for_each(&mut |order, again| {
                assert_eq!(ids.insert(order.id.clone()), !again);
                if again {
                    twice += 1
                } else {
                    fresh += 1
                }
                late += i32::from(!again && order.at_ms < last - 1_000);
                last = last.max(order.at_ms);
                Ok(())
            })
            .expect("generate");
        assert_eq!(fresh, 100_000);
        assert!((800..1_200).contains(&twice), "{twice}");
        assert!((700..1_300).contains(&late), "{late}");
    }
}
