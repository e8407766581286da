//! Calendars: files of closed days that schedules and blackouts name.

mod duration;
mod ics;
mod lines;
mod text;

pub(crate) use text::weekday;

use crate::diagnostic::Diagnostic;
use crate::folder;
use crate::reader::{Value, did_you_mean};
use dalsegno_scheduler::spec::Calendar;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The folder of calendars, beside flow files or above them.
pub(crate) const FOLDER: &str = "calendars";
/// In this order of preference, should there be several of one name.
const ENDINGS: [&str; 3] = ["yaml", "yml", "ics"];
/// The most single days of one calendar.
pub(crate) const DATES_MAX: usize = 10_000;

/// Where calendars are looked for: beside the flow file first, then in the folders above it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calendars {
    folders: Vec<PathBuf>,
}

impl Calendars {
    /// Those for a flow file in `folder`, up to `root`; without one, as far up as the path goes.
    pub(crate) fn of(folder: &Path, root: Option<&Path>) -> Self {
        const UP_MAX: usize = 16;
        let mut folders = Vec::new();
        for it in folder.ancestors().take(UP_MAX) {
            folders.push(it.join(FOLDER));
            if root == Some(it) {
                break;
            }
        }
        Self { folders }
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        let folders = self.folders.iter();
        let mut paths =
            folders.flat_map(|it| ENDINGS.map(|ending| it.join(format!("{name}.{ending}"))));
        paths.find(|it| it.is_file())
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = self
            .folders
            .iter()
            .filter_map(|it| std::fs::read_dir(it).ok())
            .flatten();
        let paths = entries.filter_map(|it| Some(it.ok()?.path()));
        let named = |path: PathBuf| {
            let ending = path.extension()?.to_str()?;
            let name = path.file_stem()?.to_str()?;
            ENDINGS.contains(&ending).then(|| name.to_owned())
        };
        paths.filter_map(named).collect()
    }
}

/// Reads the name of a calendar, and the calendar itself. What is wrong with its file is told at that file.
pub(crate) fn named(value: Value<'_>) -> Option<Calendar> {
    let name = value.text()?;
    let cx = value.cx;
    let plain = |it: char| it.is_ascii_alphanumeric() || "_-.".contains(it);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        let message = format!(
            "`{}` is not the name of a calendar",
            crate::yaml::shorten(name)
        );
        let help = "write the name of its file without folder and ending: `german_holidays` for calendars/german_holidays.yaml";
        cx.push(cx.at(value.span(), "flow.bad_name", message).help(help));
        return None;
    }
    let Some(path) = cx.calendars.find(name) else {
        let known = cx.calendars.names();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let help = match known.as_slice() {
            [] => format!(
                "there is none yet: write it as {FOLDER}/{name}.yaml beside the flow file, or as an .ics file"
            ),
            known => did_you_mean(name, known),
        };
        let message = format!("there is no calendar `{name}`");
        cx.push(
            cx.at(value.span(), "flow.unknown_calendar", message)
                .help(help),
        );
        return None;
    };
    match read(&path, name) {
        Ok((calendar, found)) => {
            found.into_iter().for_each(|it| cx.push(it));
            Some(calendar)
        }
        Err(found) => {
            found.into_iter().for_each(|it| cx.push(it));
            let message = format!("the calendar `{name}` cannot be used");
            let help = format!("cure what is wrong in {}", path.display());
            cx.push(cx.at(value.span(), "flow.calendar", message).help(help));
            None
        }
    }
}

/// The calendar of a file with its warnings, or what is wrong with it.
fn read(path: &Path, name: &str) -> Result<(Calendar, Vec<Diagnostic>), Vec<Diagnostic>> {
    let text = folder::text(path).map_err(|it| it.into_iter().collect::<Vec<_>>())?;
    let shown = path.display().to_string();
    let mut found = Vec::new();
    let calendar = match path.extension().is_some_and(|it| it == "ics") {
        true => {
            let mut calendar = Calendar {
                name: name.to_owned(),
                ..Calendar::default()
            };
            ics::read(&shown, &text, &mut calendar, &mut found);
            calendar
        }
        false => text::read(path, &shown, &text, name, &mut found),
    };
    let is_error = |it: &Diagnostic| it.severity == crate::diagnostic::Severity::Error;
    match found.iter().any(is_error) {
        true => Err(found),
        false => Ok((calendar, found)),
    }
}
