//! A flow file that is valid, and when it will start.

use super::tone::Tone;
use dalsegno_scheduler::metaflow::Dynamic;
use dalsegno_scheduler::{Flow, Timestamp};
use std::fmt::Write as _;
use std::path::Path;

/// Coming times that are shown of each schedule: enough to see whether it was meant so.
const TIMES_SHOWN: usize = 3;

/// The flow, its file, and the next times of each of its schedules on their own wall clock.
pub(crate) fn checked(flow: &Flow, file: &Path, now: Timestamp) -> String {
    let mut text = format!(
        "{} {}  {}\n",
        Tone::Good.paint("✓"),
        Tone::Strong.paint(flow.name().as_str()),
        Tone::Quiet.paint(&file.display().to_string())
    );
    for (spec, schedule) in flow.schedules() {
        let after = spec.start.map_or(now, |it| now.max(Timestamp(it.0 - 1)));
        let due = std::iter::successors(schedule.next_after(after), |it| schedule.next_after(*it));
        let due = due.take_while(|it| spec.end.is_none_or(|end| *it < end));
        let times: Vec<String> = due
            .take(TIMES_SHOWN)
            .map(|it| it.to_chrono().with_timezone(&schedule.timezone()))
            .map(|it| it.format("%a %d %b %H:%M %Z").to_string())
            .collect();
        let times = match times.as_slice() {
            [] => "never".to_owned(),
            times => times.join(", "),
        };
        let _ = writeln!(text, "    {}: {times}", schedule.describe());
    }
    text
}

/// The heading above what is wrong with a file.
pub(crate) fn refused(file: &Path) -> String {
    let file = file.display().to_string();
    format!("{} {}\n", Tone::Bad.paint("✗"), Tone::Strong.paint(&file))
}

/// A warning with its cure.
pub(crate) fn warning(message: &str, help: &str) -> String {
    format!(
        "{}: {message}\n  {} {help}\n",
        Tone::Warn.paint("warning"),
        Tone::Quiet.paint("help:")
    )
}

/// An error that is no place in the file, with its cure.
pub(crate) fn error(message: &str, help: &str) -> String {
    format!(
        "{}: {message}\n  {} {help}\n",
        Tone::Bad.paint("error"),
        Tone::Quiet.paint("help:")
    )
}

/// Metaflow could not be asked about a file, which is an error where that was wished.
pub(crate) fn not_asked(message: &str) -> String {
    format!(
        "{}: Metaflow cannot be asked: {message}\n",
        Tone::Bad.paint("error")
    )
}

/// What only running a Metaflow file can tell.
pub(crate) fn dynamic(found: &[Dynamic]) -> String {
    let mut text = String::new();
    for it in found {
        let _ = writeln!(
            text,
            "    {} on line {} is known only when the file runs: {}",
            it.what, it.line, it.reason
        );
    }
    if !found.is_empty() {
        let help = Tone::Quiet.paint("help:");
        let _ = writeln!(
            text,
            "    {help} the daemon asks Metaflow in the background, and until then only people start the flow; `--probe` asks now"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_times_are_on_the_schedules_own_clock_also_across_a_change_of_it() {
        let source = "flow: early\nschedule: { cron: '0 6 * * *', timezone: Europe/Berlin }\nsteps: { go: { run: 'true' } }\n";
        let file = dalsegno_flowfile::parse("early.yaml", source).expect("a valid flow");
        let now = Timestamp::parse_rfc3339("2026-10-24T00:00:00Z").expect("valid");
        let text = checked(&file.flow, Path::new("flows/early.yaml"), now);
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string(), @r"
        ✓ early  flows/early.yaml
            at 06:00 (Europe/Berlin): Sat 24 Oct 06:00 CEST, Sun 25 Oct 06:00 CET, Mon 26 Oct 06:00 CET
        ");
    }
}
