//! What a plain scalar means: the core schema of YAML 1.2, in which `yes` and `on` are texts.

use crate::yaml::Data;

pub(crate) fn resolve(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        "true" | "True" | "TRUE" => return Data::Bool(true),
        "false" | "False" | "FALSE" => return Data::Bool(false),
        _ => {}
    }
    int(text)
        .map(Data::Int)
        .or_else(|| float(text).map(Data::Float))
        .unwrap_or_else(|| Data::Text(text.to_owned()))
}

fn int(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return based(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return based(digits, 8);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn based(digits: &str, radix: u32) -> Option<i64> {
    let plain = digits.chars().all(|it| it.is_digit(radix));
    plain
        .then(|| i64::from_str_radix(digits, radix).ok())
        .flatten()
}

fn float(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    match digits {
        ".inf" | ".Inf" | ".INF" => {
            let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
            return Some(sign * f64::INFINITY);
        }
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    let number = digits
        .bytes()
        .all(|it| matches!(it, b'0'..=b'9' | b'.' | b'e' | b'E' | b'-' | b'+'))
        && digits
            .bytes()
            .next()
            .is_some_and(|it| it.is_ascii_digit() || it == b'.')
        && digits.bytes().any(|it| it.is_ascii_digit());
    number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let cases = [
            ("", "Null"),
            ("~", "Null"),
            ("true", "Bool(true)"),
            ("yes", "Text(\"yes\")"),
            ("on", "Text(\"on\")"),
            ("12", "Int(12)"),
            ("-3", "Int(-3)"),
            ("012", "Int(12)"),
            ("0x1F", "Int(31)"),
            ("0o17", "Int(15)"),
            ("1.5", "Float(1.5)"),
            ("1e3", "Float(1000.0)"),
            ("99999999999999999999", "Float(1e20)"),
            (".inf", "Float(inf)"),
            ("1_000", "Text(\"1_000\")"),
            ("06:00", "Text(\"06:00\")"),
            ("2026-11-22", "Text(\"2026-11-22\")"),
            ("1.2.3", "Text(\"1.2.3\")"),
            ("-", "Text(\"-\")"),
            ("e5", "Text(\"e5\")"),
        ];
        for (text, expected) in cases {
            assert_eq!(format!("{:?}", resolve(text)), expected, "{text}");
        }
    }
}
