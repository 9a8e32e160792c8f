//! Seeded randomness for generators: the same seed gives the same load everywhere.

/// A small, fast generator (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// Between 0 and 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Ranks below `count` with frequencies proportional to 1/rank^exponent, by inverting the
/// continuous distribution.
#[derive(Clone, Copy)]
pub(crate) struct Zipf {
    count: f64,
    exponent: f64,
}

impl Zipf {
    pub(crate) fn new(count: u64, exponent: f64) -> Self {
        Self { count: count as f64, exponent }
    }

    pub(crate) fn rank(&self, random: &mut Random) -> u64 {
        let unit = random.unit();
        let limit = self.count + 1.0;
        let value = if (self.exponent - 1.0).abs() < 1e-9 {
            limit.powf(unit)
        } else {
            let power = 1.0 - self.exponent;
            (1.0 + unit * (limit.powf(power) - 1.0)).powf(1.0 / power)
        };
        (value as u64).clamp(1, self.count as u64) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_follow_the_law() {
        let (zipf, mut random) = (Zipf::new(1_000, 1.0), Random::new(1));
        let mut counts = vec![0u32; 1_000];
        for _ in 0..200_000 {
            counts[zipf.rank(&mut random) as usize] += 1;
        }
        // Twice the rank, half the frequency, as far as the continuous form allows.
        let ratio = f64::from(counts[9]) / f64::from(counts[19]);
        assert!((1.7..2.3).contains(&ratio), "{ratio}");
        assert!(counts.iter().all(|&count| count > 0));
    }
}
