//! One field of a cron text: lists, ranges, steps and names become a set of numbers.

use std::collections::BTreeSet;

/// What a field may hold. Numbers are stored as written, minus `base`.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// As written: the smallest and largest number.
    pub(super) min: u32,
    pub(super) max: u32,
    /// Subtracted from what is written, so that weekdays count from Sunday = 0 in every dialect.
    pub(super) base: u32,
    /// Full names in order from the number `min`, or none; three letters are enough.
    pub(super) names: &'static [&'static str],
    /// A range may run over the end: `FRI-MON`.
    pub(super) wraps: bool,
}

/// Why a part of a field cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) found: String,
    pub(super) expected: String,
    pub(super) cure: String,
}

impl Wrong {
    pub(super) fn new(found: &str, expected: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            found: found.to_owned(),
            expected: expected.into(),
            cure: cure.into(),
        }
    }
}

impl Kind {
    /// The numbers that one item of a list names: `*`, `5`, `1-5`, `*/15`, `5/20`, `8-18/2`.
    pub(super) fn item(&self, text: &str) -> Result<BTreeSet<u32>, Wrong> {
        let (base, step) = match text.split_once('/') {
            Some((base, step)) => (base, Some(self.step(text, step)?)),
            None => (text, None),
        };
        let (first, last) = if base == "*" {
            (self.min - self.base, self.last())
        } else if let Some((first, last)) = base.split_once('-') {
            (self.number(first)?, self.number(last)?)
        } else {
            let first = self.number(base)?;
            let last = if step.is_some() { self.last() } else { first };
            (first, last.max(first))
        };
        let last = match () {
            () if first <= last => last,
            () if self.wraps => last + self.size(),
            () => {
                return Err(Wrong::new(
                    base,
                    "a range that rises",
                    format!(
                        "write the two parts as a list, such as {}-{},{}-{}",
                        first + self.base,
                        self.max,
                        self.min,
                        last + self.base
                    ),
                ));
            }
        };
        let numbers = (first..=last).step_by(step.unwrap_or(1));
        // Only weekdays wrap; there the last number written, 7 of Unix, may be Sunday again.
        Ok(numbers
            .map(|n| if self.wraps { n % self.size() } else { n })
            .collect())
    }

    /// One number or name.
    pub(super) fn number(&self, text: &str) -> Result<u32, Wrong> {
        if let Some(index) = self.name_index(text) {
            return Ok(self.min - self.base + index);
        }
        match text.parse::<u32>() {
            Ok(number)
                if (self.min..=self.max).contains(&number)
                    && text.bytes().all(|b| b.is_ascii_digit()) =>
            {
                Ok(number - self.base)
            }
            _ => Err(Wrong::new(text, self.expected(), self.cure(text))),
        }
    }

    pub(super) fn expected(&self) -> String {
        let (min, max) = (self.min, self.max);
        match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => {
                let short = |name: &str| name[..3].to_uppercase();
                format!("{min} to {max} or {} to {}", short(first), short(last))
            }
            _ => format!("{min} to {max}"),
        }
    }

    fn cure(&self, text: &str) -> String {
        match text {
            "" => "remove the stray comma, dash or slash".to_owned(),
            "0" if self.base == 1 => {
                "with six or seven fields the week starts at SUN = 1; write the name of the day"
                    .to_owned()
            }
            "?" => "\"?\" stands alone, in the day of month or the day of week".to_owned(),
            "H" | "h" => "write a fixed number; to spread the load set jitter".to_owned(),
            _ if self.name == "hour" && text == "24" => "midnight is hour 0".to_owned(),
            _ => "use numbers, lists 1,2, ranges 1-5 or steps */5".to_owned(),
        }
    }

    fn step(&self, item: &str, step: &str) -> Result<usize, Wrong> {
        let most = self.max - self.base;
        match step.parse::<u32>() {
            Ok(number) if (1..=most.max(1)).contains(&number) => Ok(number as usize),
            Ok(number) if number > 0 => {
                let cure = match self.name {
                    "second" | "minute" | "hour" => format!(
                        "for such a period write every: {number}{} instead of cron",
                        &self.name[..1]
                    ),
                    _ => "list the numbers wanted".to_owned(),
                };
                Err(Wrong::new(item, format!("a step of 1 to {most}"), cure))
            }
            _ => Err(Wrong::new(
                item,
                format!("a step of 1 to {most}"),
                "write the step as a number after the slash, such as */5",
            )),
        }
    }

    /// Position of a name: at least three letters of it, in any case.
    fn name_index(&self, text: &str) -> Option<u32> {
        if text.len() < 3 || !text.is_ascii() {
            return None;
        }
        let text = text.to_ascii_lowercase();
        let index = self.names.iter().position(|name| name.starts_with(&text))?;
        u32::try_from(index).ok()
    }

    /// The largest number that is not a second way to write the first.
    fn last(&self) -> u32 {
        if self.wraps { 6 } else { self.max - self.base }
    }

    fn size(&self) -> u32 {
        self.last() + 1
    }
}
