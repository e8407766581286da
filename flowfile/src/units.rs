//! Lengths of time such as `1h30m`, times of day such as `06:00`, and sizes such as `30GiB`.

use crate::reader::Value;
use dalsegno_scheduler::Span;
use dalsegno_scheduler::spec::TimeOfDay;

/// The longest time that may be written: ten years.
const SPAN_MAX: Span = Span::from_mins(10 * 366 * 24 * 60);

impl Value<'_> {
    /// A length of time greater than zero.
    pub(crate) fn duration(&self) -> Option<Span> {
        let span = self.duration_or_zero()?;
        if span == Span::ZERO {
            let message = format!("`{}` must be longer than zero", self.name);
            let help = "write a length of time such as `30s`, or leave the key out";
            self.cx.push(self.bad(message).help(help));
            return None;
        }
        Some(span)
    }

    pub(crate) fn duration_or_zero(&self) -> Option<Span> {
        use crate::yaml::Data;
        let text = match &self.node.data {
            Data::Text(text) => text.trim(),
            Data::Int(0) => return Some(Span::ZERO),
            Data::Int(it) => {
                let help = format!("write a unit: `{it}s`, `{it}m` or `{it}h`");
                self.wrong("a length of time", &help);
                return None;
            }
            _ => {
                self.wrong("a length of time", DURATION_HELP);
                return None;
            }
        };
        let problem = match parse_duration(text) {
            Ok(span) if span <= SPAN_MAX => return Some(span),
            Ok(_) => "is longer than ten years",
            Err(problem) => problem,
        };
        let message = format!(
            "`{}`: `{}` {problem}",
            self.name,
            crate::yaml::shorten(text)
        );
        self.cx.push(self.bad(message).help(DURATION_HELP));
        None
    }

    /// A time of day in whole minutes.
    pub(crate) fn time_of_day(&self) -> Option<TimeOfDay> {
        let time = self.node.text().and_then(|it| it.trim().parse().ok());
        if time.is_none() {
            let help = match self.node.text().map(str::trim) {
                Some("24:00") => "the day ends where the next begins: write \"00:00\"".to_owned(),
                Some(text)
                    if text.len() == 4 && format!("0{text}").parse::<TimeOfDay>().is_ok() =>
                {
                    format!("write two digits for the hour: \"0{text}\"")
                }
                _ => "write hours and minutes in quotes, from \"00:00\" to \"23:59\"".to_owned(),
            };
            self.wrong("a time of day", &help);
        }
        time
    }

    /// A number of bytes greater than zero.
    pub(crate) fn size(&self) -> Option<u64> {
        let Some(text) = self.node.text() else {
            self.wrong("a size", SIZE_HELP);
            return None;
        };
        let size = parse_size(text.trim());
        if size.is_none() {
            let message = format!(
                "`{}`: `{}` is not a size",
                self.name,
                crate::yaml::shorten(text)
            );
            self.cx.push(self.bad(message).help(SIZE_HELP));
        }
        size
    }
}

const DURATION_HELP: &str =
    "write a number and a unit: `500ms`, `90s`, `15m`, `4h`, `7d`, or several as in `1h30m`";
const SIZE_HELP: &str =
    "write a number and a unit: `512MiB`, `30GiB` (powers of 1024), or `1GB` (powers of 1000)";

/// Reads `90s`, `1h30m`, `1.5h`.
pub(crate) fn parse_duration(text: &str) -> Result<Span, &'static str> {
    const NO: &str = "is not a length of time";
    if text.starts_with('-') {
        return Err("is less than zero");
    }
    let (mut rest, mut total) = (text, 0f64);
    if rest.is_empty() {
        return Err(NO);
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|it: char| !it.is_ascii_digit() && it != '.')
            .ok_or("has no unit")?;
        let number: f64 = rest[..digits].parse().map_err(|_| NO)?;
        let after = rest[digits..].trim_start();
        let unit = after
            .find(|it: char| !it.is_alphabetic())
            .unwrap_or(after.len());
        let micros = match &after[..unit] {
            "us" | "µs" => 1.0,
            "ms" => 1e3,
            "s" | "sec" | "second" | "seconds" => 1e6,
            "m" | "min" | "minute" | "minutes" => 60e6,
            "h" | "hour" | "hours" => 3_600e6,
            "d" | "day" | "days" => 86_400e6,
            _ => return Err(NO),
        };
        total += number * micros;
        rest = after[unit..].trim_start();
    }
    // `as` saturates, and the caller refuses what is too long.
    Ok(Span::from_micros(total.round() as i64))
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|it: char| !it.is_ascii_digit() && it != '.')?;
    let number: f64 = text[..digits].parse().ok()?;
    let factor: f64 = match text[digits..].trim() {
        "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "KiB" | "Ki" => 1024.0,
        "MiB" | "Mi" => 1_048_576.0,
        "GiB" | "Gi" => 1_073_741_824.0,
        "TiB" | "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    let bytes = (number * factor).round();
    (1.0..9e15).contains(&bytes).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        let read = |text| parse_duration(text).map(Span::as_micros);
        assert_eq!(read("500ms"), Ok(500_000));
        assert_eq!(read("90s"), Ok(90_000_000));
        assert_eq!(read("1h30m"), Ok(5_400_000_000));
        assert_eq!(read("1h 30m"), Ok(5_400_000_000));
        assert_eq!(read("1.5h"), Ok(5_400_000_000));
        assert_eq!(read("7d"), Ok(7 * 86_400_000_000));
        for text in ["", "5", "h", "5x", "-5s", "1..5s", "5s x", "NaNs", "1e5s"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_tell_1000_from_1024() {
        assert_eq!(parse_size("512MiB"), Some(512 << 20));
        assert_eq!(parse_size("1GB"), Some(1_000_000_000));
        assert_eq!(parse_size("1.5 GiB"), Some(3 << 29));
        for text in ["", "5", "GiB", "5 GiBs", "0GB", "-1GB", "9999999TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
