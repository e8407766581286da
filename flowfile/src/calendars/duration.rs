//! Lengths of time of RFC 5545: `P1D`, `P2W`, `PT12H`.

/// Reads a length of time, in seconds.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let text = text.trim();
    let mut rest = text.strip_prefix('+').unwrap_or(text).strip_prefix('P')?;
    let (mut total, mut any) = (0i64, false);
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T') {
            rest = time;
            continue;
        }
        let digits = rest.find(|it: char| !it.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok().filter(|it| *it < 1_000_000)?;
        let unit = match rest.as_bytes()[digits] {
            b'W' => 604_800,
            b'D' => 86_400,
            b'H' => 3_600,
            b'M' => 60,
            b'S' => 1,
            _ => return None,
        };
        total += number * unit;
        any = true;
        rest = &rest[digits + 1..];
    }
    any.then_some(total)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn lengths_are_read() {
        let read = ["P1D", "P2W", "P1DT12H", "PT90M", "+P1D"].map(seconds);
        assert_eq!(
            read,
            [
                Some(86_400),
                Some(1_209_600),
                Some(129_600),
                Some(5_400),
                Some(86_400)
            ]
        );
        for text in ["", "P", "1D", "-P1D", "P1X", "PD", "P99999999D"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
