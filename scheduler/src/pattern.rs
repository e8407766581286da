//! Patterns over object keys: matching with captures, in time that grows with the lengths of key and pattern only.

use crate::spec::KeyPattern;

/// The longest pattern, in bytes: as long as a key of S3 may be.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// The most wildcards in a pattern.
pub const WILDCARDS_MAX: usize = 32;

/// What is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error(
        "a pattern over object keys is expected, and there is nothing; `**` stands for every key"
    )]
    Empty,
    #[error("the pattern has {0} bytes, and at most {PATTERN_BYTES_MAX} are allowed")]
    TooLong(usize),
    #[error("the pattern has {0} wildcards, and at most {WILDCARDS_MAX} are allowed")]
    TooManyWildcards(usize),
    #[error("`***` at byte {0} means nothing: `*` matches within a segment, `**` across segments")]
    ThreeStars(usize),
}

/// A piece of a pattern. Every piece but the first is a wildcard with one capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    /// `?`: one character that is no `/`.
    One,
    /// `*`: anything without `/`, or nothing.
    Segment,
    /// `**`: anything, or nothing.
    All,
    /// `**/` at the beginning or after a `/`: whole segments with the `/` after them, or nothing.
    Folders,
}

impl KeyPattern {
    /// Checks that the pattern can be used.
    ///
    /// # Errors
    /// When it is empty, too long, has too many wildcards, or three stars in a row.
    pub fn check(&self) -> Result<(), PatternError> {
        if self.0.is_empty() {
            return Err(PatternError::Empty);
        }
        if self.0.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong(self.0.len()));
        }
        if let Some(at) = self.0.find("***") {
            return Err(PatternError::ThreeStars(at));
        }
        let wildcards = pieces(&self.0)
            .iter()
            .filter(|it| !matches!(it, Piece::Text(_)))
            .count();
        if wildcards > WILDCARDS_MAX {
            return Err(PatternError::TooManyWildcards(wildcards));
        }
        Ok(())
    }

    /// What each wildcard matched, from left to right; `None` when the key does not match. Each wildcard takes as little
    /// as it can, the first one first. `**/` after a `/` (or at the beginning) also matches no folder at all, and then
    /// its capture is empty.
    ///
    /// ```
    /// use dalsegno_scheduler::spec::KeyPattern;
    ///
    /// let pattern = KeyPattern("orders/dt=*/**/*.csv".into());
    /// assert_eq!(pattern.captures("orders/dt=2026-11-22/eu/de/1.csv"), Some(vec!["2026-11-22", "eu/de", "1"]));
    /// assert_eq!(pattern.captures("orders/dt=2026-11-22/1.csv"), Some(vec!["2026-11-22", "", "1"]));
    /// assert_eq!(pattern.captures("orders/_SUCCESS"), None);
    /// ```
    pub fn captures<'k>(&self, key: &'k str) -> Option<Vec<&'k str>> {
        let pieces = pieces(&self.0);
        // Most keys fail here, before anything is allocated for them.
        if let Some(Piece::Text(text)) = pieces.first()
            && !key.starts_with(text)
        {
            return None;
        }
        if let Some(Piece::Text(text)) = pieces.last()
            && !key.ends_with(text)
        {
            return None;
        }
        let ends = Ends::new(&pieces, key);
        if !ends.reachable(0, 0) {
            return None;
        }
        let (mut at, mut found) = (0, Vec::new());
        for (number, piece) in pieces.iter().enumerate() {
            let next = ends_of(*piece, key, at)
                .find(|end| ends.reachable(number + 1, *end))
                .expect("the rest of the pattern matches from here");
            match piece {
                Piece::Text(_) => {}
                Piece::Folders => found.push(key[at..next].strip_suffix('/').unwrap_or_default()),
                Piece::One | Piece::Segment | Piece::All => found.push(&key[at..next]),
            }
            at = next;
        }
        Some(found)
    }

    /// The pattern up to its first wildcard.
    pub fn literal_prefix(&self) -> &str {
        let end = self.0.find(['*', '?']).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// The folder that every matching key is in: the literal prefix up to its last `/`.
    pub(crate) fn folder(&self) -> &str {
        let prefix = self.literal_prefix();
        &prefix[..prefix.rfind('/').map_or(0, |at| at + 1)]
    }
}

/// From which places of the key the pieces from a number on match the rest of it.
struct Ends {
    /// Places in the key: 0 to its length.
    places: usize,
    /// One bit for each piece (and the end) and place.
    bits: Vec<u64>,
}

impl Ends {
    /// Works from the end to the front: each pair of piece and place is looked at once.
    fn new(pieces: &[Piece<'_>], key: &str) -> Self {
        let places = key.len() + 1;
        let mut all = Self {
            places,
            bits: vec![0; (places * (pieces.len() + 1)).div_ceil(64)],
        };
        all.set(pieces.len(), key.len());
        for (number, piece) in pieces.iter().enumerate().rev() {
            // Whether the rest matches from here or from a later place that the piece can reach.
            let mut reached = false;
            for at in (0..places).rev() {
                if !key.is_char_boundary(at) {
                    continue;
                }
                let rest = &key[at..];
                let next = |width: usize| all.reachable(number + 1, at + width);
                let here = match piece {
                    Piece::Text(text) => rest.starts_with(text) && next(text.len()),
                    Piece::One => one(rest).is_some_and(next),
                    Piece::Segment => {
                        reached = next(0) || (reached && !rest.starts_with('/'));
                        reached
                    }
                    Piece::All => {
                        reached |= next(0);
                        reached
                    }
                    Piece::Folders => {
                        let here = next(0) || reached;
                        // What comes before this place may end its folders here, if that is a `/`.
                        if at > 0 && key.as_bytes()[at - 1] == b'/' {
                            reached |= next(0);
                        }
                        here
                    }
                };
                if here {
                    all.set(number, at);
                }
            }
        }
        all
    }

    fn reachable(&self, piece: usize, place: usize) -> bool {
        let bit = piece * self.places + place;
        self.bits[bit / 64] >> (bit % 64) & 1 == 1
    }

    fn set(&mut self, piece: usize, place: usize) {
        let bit = piece * self.places + place;
        self.bits[bit / 64] |= 1 << (bit % 64);
    }
}

/// Where a piece that begins at a place may end, the nearest first.
fn ends_of<'a>(piece: Piece<'a>, key: &'a str, at: usize) -> impl Iterator<Item = usize> + 'a {
    let rest = &key[at..];
    let last = match piece {
        Piece::Text(text) => at + text.len(),
        Piece::One => at + one(rest).unwrap_or(0),
        Piece::Segment => at + rest.find('/').unwrap_or(rest.len()),
        Piece::All | Piece::Folders => key.len(),
    };
    let first = match piece {
        Piece::Text(_) | Piece::One => last,
        Piece::Segment | Piece::All | Piece::Folders => at,
    };
    (first..=last).filter(move |&end| {
        let folder = end == at || key.as_bytes()[end - 1] == b'/';
        key.is_char_boundary(end) && (piece != Piece::Folders || folder)
    })
}

/// The width of the first character, if `?` matches it.
fn one(text: &str) -> Option<usize> {
    let first = text.chars().next().filter(|it| *it != '/')?;
    Some(first.len_utf8())
}

fn pieces(pattern: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < pattern.len() {
        let rest = &pattern[at..];
        let begins = at == 0 || pattern.as_bytes()[at - 1] == b'/';
        let (piece, width) = match rest.as_bytes() {
            [b'*', b'*', b'/', ..] if begins => (Piece::Folders, 3),
            [b'*', b'*', ..] => (Piece::All, 2),
            [b'*', ..] => (Piece::Segment, 1),
            [b'?', ..] => (Piece::One, 1),
            _ => {
                let end = rest.find(['*', '?']).unwrap_or(rest.len());
                (Piece::Text(&rest[..end]), end)
            }
        };
        pieces.push(piece);
        at += width;
    }
    pieces
}

/// Whether a name is meant by a pattern in which `*` stands for any text.
pub(crate) fn matches_name(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(start) else {
        return false;
    };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return name.ends_with(piece);
        }
        match name.find(piece) {
            Some(at) => name = &name[at + piece.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Tries every end of every piece, nearest first: exponential, and obviously right.
    fn naive<'k>(pattern: &str, key: &'k str) -> Option<Vec<&'k str>> {
        fn is_folders(text: &str) -> bool {
            text.is_empty() || text.ends_with('/')
        }
        fn walk<'k>(rest: &[Piece<'_>], key: &'k str) -> Option<Vec<&'k str>> {
            let Some((piece, rest)) = rest.split_first() else {
                return key.is_empty().then(Vec::new);
            };
            (0..=key.len())
                .filter(|it| key.is_char_boundary(*it))
                .find_map(|end| {
                    let (taken, after) = key.split_at(end);
                    let fits = match piece {
                        Piece::Text(text) => taken == *text,
                        Piece::One => taken.chars().count() == 1 && taken != "/",
                        Piece::Segment => !taken.contains('/'),
                        Piece::All => true,
                        Piece::Folders => is_folders(taken),
                    };
                    let mut found = fits.then(|| walk(rest, after)).flatten()?;
                    match piece {
                        Piece::Text(_) => {}
                        Piece::Folders => {
                            found.insert(0, taken.strip_suffix('/').unwrap_or_default())
                        }
                        _ => found.insert(0, taken),
                    }
                    Some(found)
                })
        }
        walk(&pieces(pattern), key)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn the_matcher_agrees_with_a_naive_one(
            pattern in "([aé/]|\\*|\\*\\*|\\?|\\*\\*/){1,6}",
            key in "[abé/]{0,9}",
        ) {
            let pattern = KeyPattern(pattern.replace("****", "**").replace("***", "**"));
            let found = pattern.captures(&key);
            prop_assert_eq!(&found, &naive(&pattern.0, &key));
            if found.is_some() {
                prop_assert!(key.starts_with(pattern.literal_prefix()));
                prop_assert!(key.starts_with(pattern.folder()));
            }
        }
    }

    #[test]
    fn what_a_pattern_matches() {
        let cases: &[(&str, &str, Option<&[&str]>)] = &[
            ("a/*.csv", "a/b.csv", Some(&["b"])),
            ("a/*.csv", "a/b/c.csv", None),
            ("a/**.csv", "a/b/c.csv", Some(&["b/c"])),
            ("**/x", "x", Some(&[""])),
            ("**/x", "a/b/x", Some(&["a/b"])),
            ("**/x", "ax", None),
            ("a/**/x", "a/x", Some(&[""])),
            ("a/**", "a/", Some(&[""])),
            ("a/**", "b/", None),
            ("?/x", "é/x", Some(&["é"])),
            ("?/x", "//x", None),
            ("*-*", "a-b-c", Some(&["a", "b-c"])),
            ("plain", "plain", Some(&[])),
            ("plain", "plainer", None),
            ("ab*ba", "aba", None),
        ];
        for (pattern, key, wanted) in cases {
            let pattern = KeyPattern((*pattern).into());
            assert_eq!(
                pattern.captures(key).as_deref(),
                *wanted,
                "{} on {key}",
                pattern.0
            );
        }
    }

    #[test]
    fn a_wicked_pattern_on_a_long_key_takes_no_time() {
        let wicked = KeyPattern(format!("{}b", "a*".repeat(WILDCARDS_MAX)));
        wicked.check().expect("within the limits");
        assert_eq!(wicked.captures(&"a".repeat(1024)), None);
        let folders = KeyPattern(format!("{}b", "**/".repeat(WILDCARDS_MAX)));
        assert_eq!(folders.captures(&"a/".repeat(512)), None);
    }

    #[test]
    fn a_pattern_that_cannot_be_used_says_why() {
        let error = |text: &str| {
            KeyPattern(text.into())
                .check()
                .expect_err("bad")
                .to_string()
        };
        insta::assert_snapshot!(error(""), @"a pattern over object keys is expected, and there is nothing; `**` stands for every key");
        insta::assert_snapshot!(error("a/***"), @"`***` at byte 2 means nothing: `*` matches within a segment, `**` across segments");
        insta::assert_snapshot!(error(&"x".repeat(1025)), @"the pattern has 1025 bytes, and at most 1024 are allowed");
        insta::assert_snapshot!(error(&"?".repeat(33)), @"the pattern has 33 wildcards, and at most 32 are allowed");
    }
}
