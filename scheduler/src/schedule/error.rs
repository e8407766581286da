//! What can be wrong with a schedule, said so that its author can cure it.

/// Why a schedule was refused. Each text names the part, what was expected and the cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// One field of a cron text cannot be read.
    #[error("cron \"{text}\": {field} \"{found}\" is not valid, expected {expected}; {cure}")]
    Field {
        text: String,
        /// Which field, in words: `minute`, `day of month`, …
        field: &'static str,
        /// The part of the field that is wrong.
        found: String,
        expected: String,
        cure: String,
    },

    /// The fields are fine one by one but not together.
    #[error("cron \"{text}\": {problem}; {cure}")]
    Cron {
        text: String,
        problem: String,
        cure: String,
    },

    #[error(
        "cron text has {length} characters, expected at most {max}; \
         write several schedules instead of one long list"
    )]
    TooLong { length: usize, max: usize },

    #[error("every {period} is not a usable period, expected {expected}; {cure}")]
    Period {
        period: crate::time::Span,
        expected: &'static str,
        cure: &'static str,
    },

    #[error(transparent)]
    Calendar(crate::calendar::CalendarError),

    #[error(
        "calendar `{calendar}`: roll needs a cron schedule with one time a day, so that it is clear what moves to \
         which day; write one schedule for each time of day, or roll: skip"
    )]
    Roll { calendar: String },

    #[error(
        "unknown time zone \"{name}\", expected a name of the IANA database such as \
         \"Europe/Berlin\" or \"UTC\"{}",
        suggestion.as_ref().map_or_else(String::new, |zone| format!("; did you mean \"{zone}\"?"))
    )]
    TimeZone {
        name: String,
        suggestion: Option<&'static str>,
    },
}
