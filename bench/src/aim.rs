//! What a figure ought to reach.

use serde::{Deserialize, Serialize};

/// What a figure ought to reach, on a calm machine with two cores.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Aim {
    AtMost(f64),
    AtLeast(f64),
    /// Measured over limit.
    RatioAtMost(f64),
    RatioAtLeast(f64),
    /// Shown because it explains another figure.
    None,
}

impl Aim {
    /// Whether it is reached; `None` when there is nothing to reach or no limit to compare with.
    pub(crate) fn is_reached(self, value: f64, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::AtMost(most) => Some(value <= most),
            Self::AtLeast(least) => Some(value >= least),
            Self::RatioAtMost(most) => ratio.map(|it| it <= most),
            Self::RatioAtLeast(least) => ratio.map(|it| it >= least),
            Self::None => None,
        }
    }

    pub(crate) fn text(self, unit: &str) -> String {
        use crate::table::number;
        match self {
            Self::AtMost(most) => format!("≤ {} {unit}", number(most)),
            Self::AtLeast(least) => format!("≥ {} {unit}", number(least)),
            Self::RatioAtMost(most) => format!("≤ {} × limit", number(most)),
            Self::RatioAtLeast(least) => format!("≥ {} × limit", number(least)),
            Self::None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_that_needs_a_limit_is_open_without_one() {
        assert_eq!(Aim::RatioAtMost(1.5).is_reached(3.0, None), None);
        assert_eq!(Aim::RatioAtMost(1.5).is_reached(3.0, Some(1.4)), Some(true));
        assert_eq!(
            Aim::RatioAtLeast(0.7).is_reached(3.0, Some(0.6)),
            Some(false)
        );
        assert_eq!(Aim::AtMost(2.0).is_reached(3.0, None), Some(false));
        assert_eq!(Aim::AtLeast(2.0).text("/s"), "≥ 2 /s");
    }
}
