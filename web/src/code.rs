//! Source text as pages show it: a line each, numbered by the stylesheet, Python and YAML in colours.

use crate::text::escape;
use std::fmt::Write as _;

/// Source longer than this is shown without colours, in bytes.
const COLOURED_BYTES_MAX: usize = 512 * 1024;

/// Lines as `<span id="L7">…</span>`, so that a link can lead to one.
pub(crate) fn lines(source: &str, file: &str) -> String {
    let coloured = source.len() <= COLOURED_BYTES_MAX;
    let mut html = match file.rsplit_once('.') {
        Some((_, "py")) if coloured => python(source),
        Some((_, "yaml" | "yml")) if coloured => yaml(source),
        _ => escape(source),
    };
    if html.ends_with('\n') {
        html.pop();
    }
    let mut shown = String::with_capacity(html.len() * 2);
    for (place, line) in html.split('\n').enumerate() {
        let _ = write!(shown, r#"<span id="L{}">{line}"#, place + 1);
        // The line's end lies inside, so that what is copied has it.
        shown.push_str("\n</span>");
    }
    shown
}

/// A piece of text in a colour; one that spans lines is closed and opened at each end.
fn paint(html: &mut String, class: &str, text: &str) {
    for (place, line) in text.split('\n').enumerate() {
        if place > 0 {
            html.push('\n');
        }
        if !line.is_empty() {
            let _ = write!(html, r#"<i class="{class}">{}</i>"#, escape(line));
        }
    }
}

const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield",
];

fn python(source: &str) -> String {
    let mut html = String::with_capacity(source.len() * 2);
    let mut rest = source;
    let mut line_begins = true;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '"' | '\'' => string(rest, first),
            '@' if line_begins => {
                let name = |it: char| it.is_alphanumeric() || "_.@".contains(it);
                rest.find(|it| !name(it)).unwrap_or(rest.len())
            }
            it if it.is_alphabetic() || it == '_' => {
                let part = |it: char| it.is_alphanumeric() || it == '_';
                rest.find(|it| !part(it)).unwrap_or(rest.len())
            }
            it if it.is_ascii_digit() => {
                let part = |it: char| it.is_alphanumeric() || "_.".contains(it);
                rest.find(|it| !part(it)).unwrap_or(rest.len())
            }
            it => it.len_utf8(),
        };
        let (text, after) = rest.split_at(length);
        // r"…", f"…": the letters belong to the string.
        let quoted = after
            .starts_with(['"', '\''])
            .then(|| text.to_ascii_lowercase());
        let is_prefix = quoted.is_some_and(|it| {
            matches!(
                it.as_str(),
                "r" | "b" | "f" | "u" | "rb" | "br" | "rf" | "fr"
            )
        });
        match first {
            '#' => paint(&mut html, "c", text),
            '"' | '\'' => paint(&mut html, "s", text),
            '@' if length > 1 => paint(&mut html, "d", text),
            _ if is_prefix => paint(&mut html, "s", text),
            _ if KEYWORDS.contains(&text) => paint(&mut html, "k", text),
            it if it.is_ascii_digit() => paint(&mut html, "n", text),
            _ => html.push_str(&escape(text)),
        }
        line_begins = match first {
            '\n' => true,
            ' ' | '\t' => line_begins,
            _ => false,
        };
        rest = after;
    }
    html
}

/// How long the string is with which a text begins, quotes included.
fn string(text: &str, quote: char) -> usize {
    let triple: String = [quote; 3].iter().collect();
    let (open, is_long) = match text.starts_with(&triple) {
        true => (3, true),
        false => (1, false),
    };
    let mut escaped = false;
    for (at, it) in text.char_indices().skip(open) {
        match it {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\n' if !is_long => return at,
            _ if is_long && text[at..].starts_with(&triple) => return at + 3,
            it if !is_long && it == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn yaml(source: &str) -> String {
    let mut html = String::with_capacity(source.len() * 2);
    for line in source.split_inclusive('\n') {
        let (text, end) = match line.strip_suffix('\n') {
            Some(text) => (text, "\n"),
            None => (line, ""),
        };
        let comment = match text.trim_start().starts_with('#') {
            true => Some(0),
            false => text.find(" #"),
        };
        let (text, comment) = text.split_at(comment.unwrap_or(text.len()));
        let indent = text.len() - text.trim_start_matches([' ', '-']).len();
        let key = text[indent..].split_once(':').filter(|(key, after)| {
            let plain = |it: char| it.is_alphanumeric() || "_-. ".contains(it);
            !key.is_empty()
                && key.chars().all(plain)
                && (after.is_empty() || after.starts_with(' '))
        });
        match key {
            Some((key, after)) => {
                html.push_str(&text[..indent]);
                paint(&mut html, "k", key);
                html.push(':');
                html.push_str(&escape(after));
            }
            None => html.push_str(&escape(text)),
        }
        paint(&mut html, "c", comment);
        html.push_str(end);
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_markup_in_them_is_text() {
        assert_eq!(
            lines("a < b\nc\n", "notes.txt"),
            "<span id=\"L1\">a &lt; b\n</span><span id=\"L2\">c\n</span>"
        );
    }

    #[test]
    fn python_has_colours_also_across_lines() {
        let source = "@retry(times=3)  # so\ndef f():\n    \"\"\"a\n    <b>\"\"\"\n    return f'{x}' + 'it\\'s'\n";
        let shown = lines(source, "flow.py");
        for part in [
            r#"<i class="d">@retry</i>(times=<i class="n">3</i>)"#,
            r#"<i class="c"># so</i>"#,
            r#"<i class="k">def</i> f"#,
            "<i class=\"s\">&quot;&quot;&quot;a</i>\n",
            r#"<i class="s">    &lt;b&gt;&quot;&quot;&quot;</i>"#,
            r#"<i class="s">f</i><i class="s">&#39;{x}&#39;</i>"#,
            r#"<i class="s">&#39;it\&#39;s&#39;</i>"#,
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(
            lines("x = 'open\ny = '''open", "f.py").contains("open"),
            "unfinished strings end"
        );
    }

    #[test]
    fn yaml_has_keys_and_comments() {
        let shown = lines(
            "flow: a # b\n# c\n  - run: \"x: y\"\nurl: http://x#y\n",
            "a.yaml",
        );
        for part in [
            r#"<i class="k">flow</i>: a<i class="c"> # b</i>"#,
            r#"<i class="c"># c</i>"#,
            r#"  - <i class="k">run</i>: &quot;x: y&quot;"#,
            r#"<i class="k">url</i>: http://x#y"#,
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}
