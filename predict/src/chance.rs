//! Chance without a generator: a number follows from the seed and from what it is drawn for.

/// A seed and what was mixed into it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) const fn of(self, number: u64) -> Self {
        Self(mix(self.0.rotate_left(23) ^ number))
    }

    pub(crate) fn named(self, text: &str) -> Self {
        // FNV-1a: short names, and the mixing comes after.
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        self.of(hash)
    }

    /// Between 0 and 1, neither of them.
    pub(crate) fn unit(self) -> f64 {
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }
}

/// The finalizer of SplitMix64.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_spread_evenly_and_the_same_every_time() {
        let draws = |seed| (0..10_000).map(move |it| Chance::new(seed).named("step").of(it).unit());
        let below = |limit: f64| draws(7).filter(|it| *it < limit).count();
        assert!((900..1_100).contains(&below(0.1)), "{}", below(0.1));
        assert!((4_800..5_200).contains(&below(0.5)), "{}", below(0.5));
        assert!(draws(7).eq(draws(7)) && !draws(7).eq(draws(8)));
    }
}
