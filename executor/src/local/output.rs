//! What a task writes to `$DALSEGNO_OUTPUT`: lines `NAME=JSON`, the last one for a name counts.

use rustix::fs::OFlags;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The largest output file. Outputs are for deciding what happens next; data belongs in files of its own.
pub const OUTPUT_BYTES_MAX: u64 = 1 << 20;

/// How much of a bad line a message quotes, in characters.
const QUOTE_CHARS_MAX: usize = 60;

/// Reads the file; a missing one is empty.
///
/// # Errors
/// What is wrong in which line, and the cure.
pub(crate) fn read(path: &Path, declared: &[String]) -> Result<Map<String, Value>, String> {
    let mut bytes = Vec::new();
    // Opening a pipe would wait for somebody who writes.
    let opened = File::options()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path);
    match opened {
        Ok(file) => {
            if !file.metadata().is_ok_and(|it| it.is_file()) {
                return Err(
                    "what is at $DALSEGNO_OUTPUT is not a plain file; append lines to that path, and make \
                     nothing else there"
                        .into(),
                );
            }
            let read = file.take(OUTPUT_BYTES_MAX + 1).read_to_end(&mut bytes);
            read.map_err(|error| format!("cannot read the output file: {error}"))?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(format!("cannot read the output file: {error}")),
    }
    if bytes.len() as u64 > OUTPUT_BYTES_MAX {
        return Err(format!(
            "the output file is larger than {} KiB; write the data to a file and its path as output",
            OUTPUT_BYTES_MAX >> 10
        ));
    }
    parse(&bytes, declared)
}

/// The same for a file that was brought from elsewhere.
///
/// # Errors
/// As for a file.
pub fn parse(bytes: &[u8], declared: &[String]) -> Result<Map<String, Value>, String> {
    let mut outputs = Map::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let number = index + 1;
        let line = std::str::from_utf8(line)
            .map_err(|_| {
                format!("line {number} of the output file is not UTF-8; write text as JSON")
            })?
            .trim();
        if line.is_empty() {
            continue;
        }
        let Some((name, json)) = line.split_once('=') else {
            return Err(format!(
                "line {number} of the output file is `{}`; expected NAME=JSON, with the JSON on one line",
                quote(line)
            ));
        };
        let name = name.trim_end();
        if !is_name(name) {
            return Err(format!(
                "line {number} of the output file: `{}` is not a name; expected letters, digits and _, not \
                 beginning with a digit",
                quote(name)
            ));
        }
        let value = serde_json::from_str(json.trim_start()).map_err(|error| {
            let hint = match json.trim() {
                "" => format!("write {name}=null for no value"),
                text if text.starts_with(['{', '[', '"']) => "write the whole value on one line".into(),
                text => format!("write text in double quotes: {name}={}", Value::from(quote(text))),
            };
            format!("line {number} of the output file: the value of {name} is not JSON ({error}); {hint}")
        })?;
        outputs.insert(name.to_owned(), value);
    }
    let missing: Vec<_> = declared
        .iter()
        .filter(|name| !outputs.contains_key(*name))
        .collect();
    if let Some(first) = missing.first() {
        let names: Vec<_> = missing.iter().map(|name| name.as_str()).collect();
        let written: Vec<_> = outputs.keys().map(String::as_str).collect();
        let written = match written.as_slice() {
            [] => "nothing was written".into(),
            names => format!("only {} was written", names.join(", ")),
        };
        return Err(format!(
            "declared but not written: {}; {written}. Append a line such as {first}=1 to the file in \
             $DALSEGNO_OUTPUT",
            names.join(", ")
        ));
    }
    Ok(outputs)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_')
        && name
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || it == '_')
}

fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_values_and_the_last_one_counts() {
        let text = b"a=1\n\n b = [1, {\"x\": \"=\"}]\r\na=\"two\"\n";
        let outputs = parse(text, &["b".into()]).expect("valid");
        assert_eq!(
            Value::from(outputs).to_string(),
            r#"{"a":"two","b":[1,{"x":"="}]}"#
        );
        assert_eq!(parse(b"", &[]), Ok(Map::new()));
    }

    #[test]
    fn what_is_wrong_names_the_line_and_the_cure() {
        let error = |text: &str| parse(text.as_bytes(), &["auc".into()]).expect_err(text);
        let errors = [
            error("auc=1\nhello world"),
            error("auc=1\n2x=1"),
            error("auc=hello"),
            error("auc="),
            error("auc={"),
            error("acu=1\nx=2"),
            error(""),
            error(&"x".repeat(100)),
        ];
        assert_eq!(
            errors.join("\n"),
            "\
line 2 of the output file is `hello world`; expected NAME=JSON, with the JSON on one line
line 2 of the output file: `2x` is not a name; expected letters, digits and _, not beginning with a digit
line 1 of the output file: the value of auc is not JSON (expected value at line 1 column 1); write text in double quotes: auc=\"hello\"
line 1 of the output file: the value of auc is not JSON (EOF while parsing a value at line 1 column 0); write auc=null for no value
line 1 of the output file: the value of auc is not JSON (EOF while parsing an object at line 1 column 1); write the whole value on one line
declared but not written: auc; only acu, x was written. Append a line such as auc=1 to the file in $DALSEGNO_OUTPUT
declared but not written: auc; nothing was written. Append a line such as auc=1 to the file in $DALSEGNO_OUTPUT
line 1 of the output file is `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…`; expected NAME=JSON, with the JSON on one line"
        );
        let error = parse(b"a=1\n\xff=2", &[]).expect_err("not text");
        assert_eq!(
            error,
            "line 2 of the output file is not UTF-8; write text as JSON"
        );
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("output");
        assert_eq!(read(&path, &[]), Ok(Map::new()));
        std::fs::write(&path, " ".repeat(OUTPUT_BYTES_MAX as usize)).expect("written");
        assert_eq!(read(&path, &[]), Ok(Map::new()));
        std::fs::write(&path, " ".repeat(OUTPUT_BYTES_MAX as usize + 1)).expect("written");
        let error = read(&path, &[]).expect_err("too large");
        assert!(
            error.starts_with("the output file is larger than 1024 KiB; write"),
            "{error}"
        );
    }
}
