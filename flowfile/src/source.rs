//! The text of a file and where things are in it.

use std::ops::Range;
use std::sync::Arc;

/// A file's name and text, shared by all its diagnostics.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
    /// Byte offset of each line's start.
    lines: Vec<usize>,
}

impl Source {
    pub(crate) fn new(name: &str, text: &str) -> Arc<Self> {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        Arc::new(Self {
            name: name.to_owned(),
            text: text.to_owned(),
            lines: std::iter::once(0).chain(starts).collect(),
        })
    }

    /// Line and column, both from 1; the column counts characters.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.boundary(offset);
        let line = self.lines.partition_point(|&start| start <= offset);
        let start = self.lines[line - 1];
        (line, self.text[start..offset].chars().count() + 1)
    }

    /// A range that lies within the text, on character boundaries.
    pub(crate) fn clamp(&self, range: Range<usize>) -> Range<usize> {
        let start = self.boundary(range.start);
        start..self.boundary(range.end).max(start)
    }

    pub(crate) fn slice(&self, range: Range<usize>) -> &str {
        &self.text[self.clamp(range)]
    }

    /// The line in which a place is, without its end.
    pub(crate) fn line_around(&self, offset: usize) -> &str {
        let line = self
            .lines
            .partition_point(|&start| start <= self.boundary(offset));
        let end = self.lines.get(line).copied().unwrap_or(self.text.len());
        self.text[self.lines[line - 1]..end].trim_end_matches(['\n', '\r'])
    }

    /// A range cut to its first line, as an excerpt marks it.
    pub(crate) fn first_line(&self, range: Range<usize>) -> Range<usize> {
        let range = self.clamp(range);
        let text = &self.text[range.clone()];
        let line = text.lines().next().unwrap_or_default().trim_end();
        range.start..range.start + line.len()
    }

    fn boundary(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let source = Source::new("f", "grün: 1\nb: 2\n");
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position("grün: ".len()), (1, 7));
        assert_eq!(source.position("grün: 1\n".len()), (2, 1));
        assert_eq!(source.position(9_999), (3, 1));
    }
}
