//! Bytes of a Python file to text: UTF-8, or what a line such as `# -*- coding: latin-1 -*-` says.

use crate::diagnostic::{Diagnostic, Diagnostics};

/// What Windows-1252 has in place of the control characters from 0x80 on; `\0` stands for nothing.
const WINDOWS: [char; 32] = [
    '€', '\0', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\0', 'Ž', '\0', '\0', '‘',
    '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\0', 'ž', 'Ÿ',
];

pub(super) fn decode(name: &str, bytes: Vec<u8>) -> Result<String, Diagnostics> {
    let Some(coding) = coding(&bytes) else {
        return crate::folder::utf8(name, bytes);
    };
    match coding.to_ascii_lowercase().replace('_', "-").as_str() {
        "utf-8" | "utf8" | "u8" | "utf-8-sig" | "ascii" | "us-ascii" => {
            crate::folder::utf8(name, bytes)
        }
        "latin-1" | "latin1" | "l1" | "iso-8859-1" | "iso8859-1" | "iso-latin-1" | "8859" => {
            Ok(bytes.into_iter().map(char::from).collect())
        }
        "cp1252" | "windows-1252" | "1252" => {
            let letter = |byte: u8| match byte {
                0x80..=0x9f => WINDOWS[usize::from(byte - 0x80)],
                _ => char::from(byte),
            };
            Ok(bytes.into_iter().map(letter).collect())
        }
        _ if bytes.is_ascii() => crate::folder::utf8(name, bytes),
        _ => {
            let message = format!("the file says that it is in `{coding}`, which is not read");
            let help = "save it as UTF-8, and remove the line with `coding`; Latin-1 and Windows-1252 are read, too";
            Err(Diagnostic::of_file(name, "metaflow.encoding", message, help).into())
        }
    }
}

/// As Python looks for it: in a comment on one of the first two lines, the first of them being one, too.
fn coding(bytes: &[u8]) -> Option<String> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return None;
    }
    for line in bytes.split(|it| *it == b'\n' || *it == b'\r').take(2) {
        let line = line.trim_ascii_start();
        if line.is_empty() {
            continue;
        }
        if line[0] != b'#' {
            return None;
        }
        let line = String::from_utf8_lossy(line);
        let sign = |it: &char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
        let named = line.match_indices("coding").find_map(|(at, word)| {
            let rest = line[at + word.len()..].strip_prefix([':', '='])?;
            let name: String = rest.trim_start().chars().take_while(sign).collect();
            (!name.is_empty()).then_some(name)
        });
        if named.is_some() {
            return named;
        }
    }
    None
}
