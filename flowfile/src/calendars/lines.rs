//! The lines of an iCalendar text (RFC 5545, section 3.1): unfolded, and taken apart.

use std::ops::Range;

/// One property, such as `DTSTART;VALUE=DATE:20261224`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// In upper case.
    pub(super) name: String,
    /// Names in upper case, values without quotes.
    pub(super) params: Vec<(String, String)>,
    pub(super) value: String,
    /// Where it begins in the text: its first line.
    pub(super) at: Range<usize>,
}

impl Line {
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        let found = self.params.iter().find(|(it, _)| it == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// All lines that are not blank; `Err` for one that is no property.
pub(super) fn lines(text: &str) -> Vec<Result<Line, Range<usize>>> {
    unfold(text)
        .into_iter()
        .filter(|(line, _)| !line.trim().is_empty())
        .map(|(line, at)| parse(&line, at.clone()).ok_or(at))
        .collect()
}

/// A line that begins with a space or tab goes on with the one before.
fn unfold(text: &str) -> Vec<(String, Range<usize>)> {
    let mut unfolded: Vec<(String, Range<usize>)> = Vec::new();
    let mut offset = 0;
    for raw in text.split_inclusive('\n') {
        let line = raw.trim_end_matches(['\r', '\n']);
        match (line.strip_prefix([' ', '\t']), unfolded.last_mut()) {
            (Some(more), Some((last, _))) => last.push_str(more),
            _ => unfolded.push((line.to_owned(), offset..offset + line.len())),
        }
        offset += raw.len();
    }
    unfolded
}

fn parse(line: &str, at: Range<usize>) -> Option<Line> {
    let mut parts: Vec<String> = vec![String::new()];
    let mut quoted = false;
    let mut value = None;
    for (place, sign) in line.char_indices() {
        match sign {
            '"' => quoted = !quoted,
            ';' if !quoted => parts.push(String::new()),
            ':' if !quoted => {
                value = Some(line[place + 1..].to_owned());
                break;
            }
            _ => parts.last_mut()?.push(sign),
        }
    }
    let (name, params) = parts.split_first()?;
    let params = params.iter().map(|it| {
        let (name, value) = it.split_once('=').unwrap_or((it, ""));
        (name.trim().to_ascii_uppercase(), value.to_owned())
    });
    Some(Line {
        name: name.trim().to_ascii_uppercase(),
        params: params.collect(),
        value: value?,
        at,
    })
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn folded_lines_and_quotes_are_put_together() {
        let text =
            "BEGIN:VEVENT\r\nSUMMARY;X-A=\"b;c:d\":Kar\r\n freitag: frei\r\n\r\nnonsense\r\n";
        let found = lines(text);
        let summary = found[1].as_ref().expect("a property");
        assert_eq!(
            (summary.name.as_str(), summary.value.as_str()),
            ("SUMMARY", "Karfreitag: frei")
        );
        assert_eq!(summary.param("X-A"), Some("b;c:d"));
        assert_eq!(&text[summary.at.clone()], "SUMMARY;X-A=\"b;c:d\":Kar");
        assert_eq!(
            &text[found[2].as_ref().expect_err("no property").clone()],
            "nonsense"
        );
    }
}
