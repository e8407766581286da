//! What pip and uv said, in the few words that help.

use std::collections::VecDeque;

/// How many errors are quoted, the first ones.
const ERRORS_MAX: usize = 3;

/// How many characters of a line are quoted.
const CHARS_MAX: usize = 300;

/// How many of the last lines are quoted where none calls itself an error.
const LAST_MAX: usize = 6;

/// Where pip and uv look when nothing names another place.
const INDEX: &str = "https://pypi.org/simple";

/// In these words they say that nobody answers.
const UNREACHABLE: [&str; 8] = [
    "connection broken by",
    "Failed to establish a new connection",
    "Max retries exceeded with url",
    "error sending request",
    "client error (Connect)",
    "Could not connect",
    "dns error",
    "network connectivity is disabled",
];

/// Lines of a program as they come.
#[derive(Debug, Default)]
pub(super) struct Said {
    errors: Vec<String>,
    last: VecDeque<String>,
    index: Option<String>,
    is_unreachable: bool,
    /// uv breaks a sentence into lines.
    goes_on: bool,
}

impl Said {
    pub(super) fn hear(&mut self, line: &str) {
        let line = line.trim();
        if line.is_empty() {
            self.goes_on = false;
            return;
        }
        self.is_unreachable |= UNREACHABLE.iter().any(|it| line.contains(it));
        if let Some(index) = index(line) {
            self.index = Some(index.to_owned());
        }
        let begins = is_error(line);
        if begins && self.errors.len() < ERRORS_MAX {
            let line = cut(line);
            if !self.errors.contains(&line) {
                self.errors.push(line);
            }
        } else if let (true, false, Some(before)) = (self.goes_on, begins, self.errors.last_mut()) {
            *before = cut(&format!("{before} {line}"));
        }
        self.goes_on = match begins {
            true => line.contains("─▶"),
            false => self.goes_on,
        };
        self.last.push_back(cut(line));
        if self.last.len() > LAST_MAX {
            self.last.pop_front();
        }
    }

    /// Why it failed; empty when it said nothing.
    pub(super) fn reason(&self) -> String {
        let unreachable = self.is_unreachable.then(|| {
            let index = self.index.as_deref().unwrap_or(INDEX);
            format!("the package index cannot be reached ({index})")
        });
        let mut parts: Vec<String> = unreachable.into_iter().collect();
        match self.errors.is_empty() && parts.is_empty() {
            true => parts.extend(self.last.iter().cloned()),
            false => parts.extend(self.errors.iter().cloned()),
        }
        parts.join(" / ")
    }
}

fn is_error(line: &str) -> bool {
    let is_called = line
        .get(..6)
        .is_some_and(|it| it.eq_ignore_ascii_case("error:"));
    is_called || ["×", "╰─▶", "├─▶"].iter().any(|it| line.starts_with(it))
}

/// pip tells of indexes other than the usual one, uv of what it did not get.
fn index(line: &str) -> Option<&str> {
    if let Some(indexes) = line.strip_prefix("Looking in indexes: ") {
        return Some(indexes);
    }
    let (_, place) = line.split_once("Failed to fetch: `")?;
    Some(place.split_once('`')?.0)
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        let mut said = Said::default();
        text.lines().for_each(|it| said.hear(it));
        said.reason()
    }

    #[test]
    fn of_pips_lines_the_errors_are_told_and_each_once() {
        let text = "Collecting pandas\n\
                    ERROR: Could not find a version that satisfies the requirement panda5 (from versions: none)\n\
                    ERROR: No matching distribution found for panda5\n\
                    ERROR: No matching distribution found for panda5\n\
                    WARNING: You should consider upgrading\n";
        assert_eq!(
            reason(text),
            "ERROR: Could not find a version that satisfies the requirement panda5 (from versions: none) / \
             ERROR: No matching distribution found for panda5"
        );
        let long = reason(&format!("ERROR: {}", "ä".repeat(500)));
        assert_eq!(long.chars().count(), CHARS_MAX + 1);
        let many: String = (0..9).map(|it| format!("error: number {it}\n")).collect();
        assert_eq!(
            reason(&many),
            "error: number 0 / error: number 1 / error: number 2"
        );
    }

    #[test]
    fn an_index_that_does_not_answer_is_told_with_its_address() {
        let retries = "WARNING: Retrying (Retry(total=3, connect=None)) after connection broken by \
                       'NewConnectionError(…)': /pandas/\n";
        let none = "ERROR: No matching distribution found for pandas";
        assert_eq!(
            reason(&format!(
                "Looking in indexes: http://127.0.0.1:9/\n{retries}{retries}{none}"
            )),
            format!("the package index cannot be reached (http://127.0.0.1:9/) / {none}")
        );
        assert_eq!(
            reason(retries),
            format!("the package index cannot be reached ({INDEX})")
        );
        let uv = "error: Failed to fetch: `http://127.0.0.1:9/pandas/`\n  Caused by: Could not connect, are you offline?";
        assert_eq!(
            reason(uv),
            "the package index cannot be reached (http://127.0.0.1:9/pandas/) / \
             error: Failed to fetch: `http://127.0.0.1:9/pandas/`"
        );
    }

    #[test]
    fn a_sentence_of_uv_is_told_to_its_end() {
        let text = "  × No solution found when resolving dependencies:\n  ╰─▶ Because panda5 was not found in the package\n      \
                    registry, your requirements cannot be met.\n\nhint: something";
        assert_eq!(
            reason(text),
            "× No solution found when resolving dependencies: / ╰─▶ Because panda5 was not found in the package registry, \
             your requirements cannot be met."
        );
    }

    #[test]
    fn where_nothing_is_called_an_error_the_last_lines_are_told() {
        assert_eq!(
            reason("ensurepip is not\navailable\n"),
            "ensurepip is not / available"
        );
        assert_eq!(reason(""), "");
    }
}
