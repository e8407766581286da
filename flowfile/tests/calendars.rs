//! Calendars and blackouts: files beside flow files, and what a flow makes of them.

use dalsegno_flowfile::{Diagnostics, FlowFile, lint, parse, parse_in, read, read_dir};
use dalsegno_scheduler::Timestamp;
use dalsegno_scheduler::calendar::ClosedDays;
use dalsegno_scheduler::spec::{BlackoutAction, BlackoutWindow, Calendar, Roll};
use std::fmt::Write;
use std::path::Path;

struct House(tempfile::TempDir);

impl House {
    fn new(files: &[(&str, &str)]) -> Self {
        let house = Self(tempfile::tempdir().expect("a folder"));
        for (name, text) in files {
            house.write(name, text);
        }
        house
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    /// Reads a flow with these lines.
    fn flow(&self, lines: &str) -> Result<FlowFile, Diagnostics> {
        self.write(
            "shop.yaml",
            &format!("flow: shop\n{lines}\nsteps: {{ a: {{ run: x }} }}\n"),
        );
        read(&self.path().join("shop.yaml"))
    }

    /// `file:line:column code: message (help)` of all findings.
    fn told(&self, lines: &str) -> String {
        let found = match self.flow(lines) {
            Ok(file) => file.warnings,
            Err(found) => found,
        };
        let mut text = String::new();
        for it in &found {
            let file = Path::new(&it.file);
            let name = file.strip_prefix(self.path()).expect("below").display();
            let help = it.help.as_deref().expect("a cure");
            writeln!(
                text,
                "{name}:{}:{} {}: {} ({help})",
                it.line, it.column, it.code, it.message
            )
            .expect("a string");
        }
        text.replace(&format!("{}/", self.path().display()), "")
    }

    /// The calendar of the flow's schedule, which must be without a fault.
    fn calendar(&self, name: &str) -> Calendar {
        let file = self.flow(&format!(
            "schedule: {{ cron: '0 6 * * *', calendar: {name} }}"
        ));
        let file = file.unwrap_or_else(|it| panic!("{}", it.render(false)));
        assert!(file.warnings.is_empty(), "{}", file.warnings.render(false));
        let calendar = file.flow.spec().schedules[0].calendar.clone();
        calendar.expect("it has one").calendar
    }
}

/// The closed days of a month and what they are called.
fn closed(calendar: &Calendar, month: &str) -> String {
    let closed = ClosedDays::new(calendar).expect("it was checked");
    let first: chrono::NaiveDate = format!("{month}-01").parse().expect("a month");
    let days = first
        .iter_days()
        .take_while(|it| it.to_string().starts_with(month));
    let told = days.filter_map(|it| Some(format!("{} {}", it.format("%d"), closed.note(it)?)));
    told.collect::<Vec<_>>().join(", ")
}

const YAML: &str = "description: The days off.\ndates:\n  2026-04-03: Karfreitag\n  2026-12-24:\nrrule:\n  - { rule: 'FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=25,26', note: Weihnachten }\n  - { rule: FREQ=YEARLY, start: 2020-05-01, note: Tag der Arbeit }\n  - FREQ=MONTHLY;BYDAY=-1FR\nweekdays: [SUN]\n";

const ICS: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\nBEGIN:STANDARD\r\nDTSTART:19701025T030000\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n\
BEGIN:VEVENT\r\nUID:1\r\nDTSTART;VALUE=DATE:20261224\r\nDTEND;VALUE=DATE:20261227\r\nSUMMARY:Weih\r\n nachten\\, endlich\r\nBEGIN:VALARM\r\nDTSTART:20260101T000000\r\nEND:VALARM\r\nEND:VEVENT\r\n\
BEGIN:VEVENT\r\nDTSTART;TZID=Europe/Berlin:20261201T080000\r\nDTEND;TZID=Europe/Berlin:20261201T180000\r\nSUMMARY:Inventur\r\nEND:VEVENT\r\n\
BEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261206\r\nRRULE:FREQ=WEEKLY;COUNT=3\r\nEXDATE;VALUE=DATE:20261213\r\nSUMMARY:Advent\r\nEND:VEVENT\r\n\
BEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20200101\r\nRRULE:FREQ=YEARLY\r\nSUMMARY:Neujahr\r\nEND:VEVENT\r\n\
BEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261230\r\nDURATION:P2D\r\nRDATE;VALUE=DATE:20261228\r\nSUMMARY:Ruhe\r\nEND:VEVENT\r\n\
BEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261210\r\nSTATUS:CANCELLED\r\nSUMMARY:Fiel aus\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

#[test]
fn a_calendar_is_a_file_beside_the_flow() {
    let house = House::new(&[("calendars/german.yaml", YAML)]);
    let it = house.calendar("german");
    assert_eq!(it.name, "german");
    insta::assert_snapshot!(closed(&it, "2026-12"), @"06 Sunday, 13 Sunday, 20 Sunday, 24 Thursday, 25 Weihnachten, 26 Weihnachten, 27 Sunday");
    insta::assert_snapshot!(closed(&it, "2026-05"), @"01 Tag der Arbeit, 03 Sunday, 10 Sunday, 17 Sunday, 24 Sunday, 29 Friday, 31 Sunday");
}

#[test]
fn events_of_an_ics_file_are_closed_days() {
    let house = House::new(&[("calendars/shop.ics", ICS)]);
    let it = house.calendar("shop");
    insta::assert_snapshot!(closed(&it, "2026-12"), @"01 Inventur, 06 Advent, 20 Advent, 24 Weihnachten, endlich, 25 Weihnachten, endlich, 26 Weihnachten, endlich, 28 Ruhe, 29 Ruhe, 30 Ruhe, 31 Ruhe");
    insta::assert_snapshot!(closed(&it, "2031-01"), @"01 Neujahr");
}

#[test]
fn a_calendar_may_take_an_ics_file_along() {
    let more = "weekdays: [sat, Sunday]\nics: shop.ics\n";
    let house = House::new(&[("calendars/all.yaml", more), ("calendars/shop.ics", ICS)]);
    let it = house.calendar("all");
    insta::assert_snapshot!(closed(&it, "2027-01"), @"01 Neujahr, 02 Saturday, 03 Sunday, 09 Saturday, 10 Sunday, 16 Saturday, 17 Sunday, 23 Saturday, 24 Sunday, 30 Saturday, 31 Sunday");
}

#[test]
fn the_nearest_calendar_counts_and_the_flows_folder_is_searched_too() {
    let flow = "flow: NAME\nschedule: { cron: '@daily', calendar: { name: off, roll: next } }\nsteps: { a: { run: x } }\n";
    let house = House::new(&[
        ("calendars/off.yaml", "dates: [2026-01-01]"),
        ("team/calendars/off.yaml", "dates: [2026-02-02]"),
        ("team/a.yaml", &flow.replace("NAME", "a")),
        ("other/b.yaml", &flow.replace("NAME", "b")),
    ]);
    let files = read_dir(house.path());
    let days: Vec<String> = files
        .iter()
        .map(|(_, file)| {
            let file = file
                .as_ref()
                .unwrap_or_else(|it| panic!("{}", it.render(false)));
            let it = file.flow.spec().schedules[0]
                .calendar
                .as_ref()
                .expect("one");
            assert_eq!(it.roll, Roll::Next);
            let day = it.calendar.dates.keys().next().expect("a day");
            format!("{} {day}", file.flow.name())
        })
        .collect();
    assert_eq!(days, ["b 2026-01-01", "a 2026-02-02"]);
}

#[test]
fn another_text_of_the_calendar_is_another_version_of_the_flow() {
    let lines = "schedule: { every: 1h, calendar: off }";
    let house = House::new(&[("calendars/off.yaml", "dates: [2026-01-01]")]);
    let version = |house: &House| house.flow(lines).expect("valid").version;
    let before = version(&house);
    house.write("calendars/off.yaml", "# the same days\ndates: [2026-01-01]");
    assert_eq!(version(&house), before);
    house.write("calendars/off.yaml", "dates: [2026-01-02]");
    assert_ne!(version(&house), before);
}

#[test]
fn a_text_alone_has_no_calendars_and_a_folder_gives_it_some() {
    let text = "flow: a\nschedule: { every: 1h, calendar: off }\nsteps: { a: { run: x } }\n";
    let found = parse("a.yaml", text).expect_err("there are no files");
    assert_eq!(
        found.iter().next().map(|it| it.code),
        Some("flow.unknown_calendar")
    );
    let house = House::new(&[("calendars/off.yaml", "dates: [2026-01-01]")]);
    assert!(parse_in(house.path(), "a.yaml", text).is_ok());
}

#[test]
fn what_is_wrong_with_a_calendar_is_told_at_its_file() {
    let calendars = [
        (
            "one",
            "dates:\n  2026-02-30: no day\n  2026-13: no\nweekday: SUN\n",
        ),
        (
            "two",
            "rrule: [FREQ=HOURLY;BYHOUR=3, FREQ=YEARLY, { rule: 'FREQ=YEARLY;BYMOON=1' }]\n",
        ),
        (
            "three",
            "weekdays: [MON, Caturday]\nics: ../../etc/passwd\n",
        ),
        ("four", ""),
        ("five", "weekdays: [MON, TUE, WED, THU, FRI, SAT, SUN]\n"),
        ("six", "ics: gone.ics\n"),
    ];
    let house = House::new(&[]);
    let mut all = String::new();
    for (name, text) in calendars {
        house.write(&format!("calendars/{name}.yaml"), text);
        all += &house.told(&format!("schedule: {{ every: 1d, calendar: {name} }}"));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn what_is_wrong_with_an_ics_file_is_told_at_its_line() {
    let event = |lines: &str| {
        format!("BEGIN:VCALENDAR\nBEGIN:VEVENT\n{lines}\nEND:VEVENT\nEND:VCALENDAR\n")
    };
    let files = [
        "day,name\n2026-01-01,new year\n".to_owned(),
        "BEGIN:VCARD\nFN:Clara\nEND:VCARD\n".to_owned(),
        "BEGIN:VCALENDAR\nEND:VCALENDAR\n".to_owned(),
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260101\n".to_owned(),
        event("SUMMARY:when?"),
        event("DTSTART:2026-01-01"),
        event("DTSTART:20260102\nDTEND:20260101"),
        event("DTSTART:20260101\nDTEND:20290101"),
        event("DTSTART:20260101\nDURATION:one day"),
        event("DTSTART:20260101\nRRULE:FREQ=SECONDLY"),
        event("DTSTART:20260101\nRECURRENCE-ID:20260101"),
        event("DTSTART:20260101T230000Z"),
        event("DTSTART:20260101\nRRULE:FREQ=DAILY;INTERVAL=2\nEXDATE:20260103"),
    ];
    let house = House::new(&[]);
    let mut all = String::new();
    for text in files {
        house.write("calendars/shop.ics", &text);
        all += &house.told("schedule: { every: 1d, calendar: shop }");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_calendar_that_nobody_wrote_is_refused_with_those_there_are() {
    let house = House::new(&[
        ("calendars/german_holidays.yaml", YAML),
        ("calendars/bank.ics", ICS),
    ]);
    let told = |lines: &str| house.told(lines);
    insta::assert_snapshot!(
        [
            told("schedule: { cron: '@daily', calendar: german_holiday }"),
            told("schedule: { cron: '@daily', calendar: moon }"),
            told("schedule: { cron: '@daily', calendar: ../secret }"),
            told("schedule: { cron: '@daily', calendar: { roll: later } }"),
            told("schedule: { every: 1h, calendar: { name: bank, roll: next } }"),
            told("blackouts: { calendar: bnak }"),
        ]
        .concat()
    );
    let none = House::new(&[]);
    insta::assert_snapshot!(none.told("schedule: { cron: '@daily', calendar: off }"), @"shop.yaml:2:39 flow.unknown_calendar: there is no calendar `off` (there is none yet: write it as calendars/off.yaml beside the flow file, or as an .ics file)");
}

#[test]
fn blackouts_are_daily_or_once_or_a_calendar() {
    let house = House::new(&[("calendars/bank.ics", ICS)]);
    let file = house.flow("blackouts:\n  - { daily: { from: '22:00', to: '06:00', days: [FRI, SAT] }, timezone: Europe/Berlin }\n  - { from: 2026-12-24, to: 2026-12-27T12:00:00Z, do: skip, name: feast }\n  - { calendar: bank }\n");
    let file = file.unwrap_or_else(|it| panic!("{}", it.render(false)));
    let it = &file.flow.spec().blackouts;
    let names: Vec<&str> = it.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(
        names,
        ["22:00 to 06:00 on Fri, Sat", "feast", "calendar bank"]
    );
    assert!(matches!(&it[0].window, BlackoutWindow::Daily { days, .. } if days.len() == 2));
    assert_eq!(
        (it[0].action, it[1].action),
        (BlackoutAction::Defer, BlackoutAction::Skip)
    );
    assert_eq!(it[0].timezone, "Europe/Berlin");
    assert!(matches!(&it[2].window, BlackoutWindow::Calendar(it) if !it.dates.is_empty()));
}

#[test]
fn blackouts_are_checked() {
    let house = House::new(&[]);
    let told = |lines: &str| house.told(lines);
    insta::assert_snapshot!([
        told("blackouts: { name: x }"),
        told("blackouts: { daily: { from: '22:00' }, from: 2026-01-01 }"),
        told("blackouts: { daily: { from: '22:00', to: 6, days: [Fry] } }"),
        told("blackouts: { from: 2026-01-02, to: 2026-01-01 }"),
        told("blackouts: { from: 2026-01-02 }"),
        told("blackouts: { daily: { from: '06:00', to: '06:00' } }"),
        told("blackouts: { daily: { from: '06:00', to: '08:00' }, do: wait, timezone: Mars }"),
        told("blackouts: [{ from: 2026-01-01, to: 2026-01-02, name: a }, { from: 2026-01-01, to: 2026-01-02, name: a }]"),
    ].concat());
}

#[test]
fn a_folder_named_calendars_that_holds_flows_does_not_hide_them() {
    let house = House::new(&[
        ("calendars/off.yaml", "dates: [2026-01-01]"),
        (
            "team/calendars/a.yaml",
            "flow: a\nsteps: { a: { run: x } }\n",
        ),
    ]);
    let names: Vec<String> = read_dir(house.path())
        .into_iter()
        .map(|(_, file)| file.expect("valid").flow.name().to_string())
        .collect();
    assert_eq!(names, ["a"]);
}

#[test]
fn what_the_clock_will_do_is_a_warning() {
    let house = House::new(&[("calendars/mondays.yaml", "weekdays: [MON]")]);
    let linted = |lines: &str| {
        let file = house.flow(lines);
        let mut file = file.unwrap_or_else(|it| panic!("{}", it.render(false)));
        let now = Timestamp::parse_rfc3339("2026-11-22T00:00:00Z").expect("a moment");
        lint("shop.yaml", &mut file, now);
        let told = file.warnings.iter().map(|it| {
            format!(
                "{}:{}:{} {}: {} ({})\n",
                it.file,
                it.line,
                it.column,
                it.code,
                it.message,
                it.help.as_deref().unwrap_or_default()
            )
        });
        told.collect::<String>()
    };
    insta::assert_snapshot!([
        linted("schedule: { cron: '30 2 * * *', timezone: Europe/Berlin, dst: { gap: skip, overlap: both } }"),
        linted("schedule: { cron: '0 6 * * *', end: 2026-01-01 }"),
        linted("schedule: { cron: '0 6 * * *', start: 2027-01-01, end: 2027-01-01T01:00:00Z }"),
        linted("schedule: { cron: '0 6 * * MON', calendar: mondays }"),
        linted("schedule: { cron: '0 6 * * *' }\nblackouts: { daily: { from: '05:00', to: '07:00' }, do: skip }"),
    ].concat());
    for fine in [
        "schedule: { cron: '30 2 * * *', timezone: Europe/Berlin }",
        "schedule: { cron: '0 6 * * MON', calendar: { name: mondays, roll: next } }",
        "schedule: { cron: '0 6 * * *' }\nblackouts: { daily: { from: '05:00', to: '07:00' } }",
        "schedule: { cron: '0 6,8 * * *' }\nblackouts: { daily: { from: '05:00', to: '07:00' }, do: skip }",
    ] {
        assert_eq!(linted(fine), "", "{fine}");
    }
}
