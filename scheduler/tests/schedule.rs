//! When flows are due: every cron syntax, every kind of clock change, and two oracles.

use chrono::{DateTime, MappedLocalTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::parser::CronParser;
use dalsegno_scheduler::schedule::{Gap, Overlap, Schedule, ScheduleError, When};
use dalsegno_scheduler::{Span, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeSet;
use std::sync::LazyLock;

#[test]
fn every_cron_syntax_finds_its_days() {
    let texts = [
        "0 10 * * *",
        "0 10 * * ?",
        "0 0 10 * * *",
        "0 0 10 * * * *",
        "0 0 10 * * ? *",
        "0 10 * * ? *",
        "cron(0 10 * * ? *)",
        "0 10 ? * MON-FRI *",
        "0 0 10 ? * MON-FRI *",
        "0 10 * * MON-FRI",
        "0 10 * * 1-5",
        "0 0 10 * * 1-5",
        "0/5 8-17 ? * 2-6 *",
        "0 10 * * 0",
        "0 10 * * 7",
        "0 0 10 * * 1",
        "0 0 10 * * 7",
        "0 10 ? * 1 *",
        "0 10 ? * L *",
        "0 10 * * monday",
        "0 10 * * FRI-MON",
        "0 10 * * SAT-SUN",
        "0 10 * * 5-7",
        "0 10 L * *",
        "0 0 10 L * *",
        "0 10 L * ? *",
        "0 10 L-2 * ? *",
        "0 10 15W * *",
        "0 10 3W * ? *",
        "0 10 LW * ? *",
        "0 9 1,15,L * *",
        "0 10 * * 5L",
        "0 9 ? * 2L *",
        "0 10 * * FRI#2",
        "0 10 * * 5#2",
        "0 9 ? * 6#3 *",
        "0 10 1 * MON",
        "0 10 29 2 *",
        "0 10 * sept-Nov thurs",
        "0 10 * JAN,FEB ? *",
        "0 0 1 1 ? 2027-2030",
        "*/15 * * * *",
        "0/15 * * * ? *",
        "5/20 * * * *",
        "10-30/10 * * * *",
        "*/10 * * * * ?",
        "@hourly",
        "@daily",
        "@midnight",
        "@weekly",
        "@monthly",
        "@yearly",
        "@annually",
    ];
    let saturday = at("2026-03-07T12:00:00Z");
    let table: Vec<String> = texts
        .iter()
        .map(|text| {
            let schedule = schedule(text, "UTC", Gap::Shift, None);
            let times = schedule
                .between(saturday, Timestamp::MAX)
                .take(3)
                .map(|at| at.to_chrono().format("%a %F %T").to_string());
            format!("{text:22} {}", times.collect::<Vec<_>>().join(", "))
        })
        .collect();
    insta::assert_snapshot!(table.join("\n"), @r"
    0 10 * * *             Sun 2026-03-08 10:00:00, Mon 2026-03-09 10:00:00, Tue 2026-03-10 10:00:00
    0 10 * * ?             Sun 2026-03-08 10:00:00, Mon 2026-03-09 10:00:00, Tue 2026-03-10 10:00:00
    0 0 10 * * *           Sun 2026-03-08 10:00:00, Mon 2026-03-09 10:00:00, Tue 2026-03-10 10:00:00
    0 0 10 * * * *         Sun 2026-03-08 10:00:00, Mon 2026-03-09 10:00:00, Tue 2026-03-10 10:00:00
    0 0 10 * * ? *         Sun 2026-03-08 10:00:00, Mon 2026-03-09 10:00:00, Tue 2026-03-10 10:00:00
    0 10 * * ? *           Sun 2026-03-08 10:00:00, Mon 2026-03-09 10:00:00, Tue 2026-03-10 10:00:00
    cron(0 10 * * ? *)     Sun 2026-03-08 10:00:00, Mon 2026-03-09 10:00:00, Tue 2026-03-10 10:00:00
    0 10 ? * MON-FRI *     Mon 2026-03-09 10:00:00, Tue 2026-03-10 10:00:00, Wed 2026-03-11 10:00:00
    0 0 10 ? * MON-FRI *   Mon 2026-03-09 10:00:00, Tue 2026-03-10 10:00:00, Wed 2026-03-11 10:00:00
    0 10 * * MON-FRI       Mon 2026-03-09 10:00:00, Tue 2026-03-10 10:00:00, Wed 2026-03-11 10:00:00
    0 10 * * 1-5           Mon 2026-03-09 10:00:00, Tue 2026-03-10 10:00:00, Wed 2026-03-11 10:00:00
    0 0 10 * * 1-5         Sun 2026-03-08 10:00:00, Mon 2026-03-09 10:00:00, Tue 2026-03-10 10:00:00
    0/5 8-17 ? * 2-6 *     Mon 2026-03-09 08:00:00, Mon 2026-03-09 08:05:00, Mon 2026-03-09 08:10:00
    0 10 * * 0             Sun 2026-03-08 10:00:00, Sun 2026-03-15 10:00:00, Sun 2026-03-22 10:00:00
    0 10 * * 7             Sun 2026-03-08 10:00:00, Sun 2026-03-15 10:00:00, Sun 2026-03-22 10:00:00
    0 0 10 * * 1           Sun 2026-03-08 10:00:00, Sun 2026-03-15 10:00:00, Sun 2026-03-22 10:00:00
    0 0 10 * * 7           Sat 2026-03-14 10:00:00, Sat 2026-03-21 10:00:00, Sat 2026-03-28 10:00:00
    0 10 ? * 1 *           Sun 2026-03-08 10:00:00, Sun 2026-03-15 10:00:00, Sun 2026-03-22 10:00:00
    0 10 ? * L *           Sat 2026-03-14 10:00:00, Sat 2026-03-21 10:00:00, Sat 2026-03-28 10:00:00
    0 10 * * monday        Mon 2026-03-09 10:00:00, Mon 2026-03-16 10:00:00, Mon 2026-03-23 10:00:00
    0 10 * * FRI-MON       Sun 2026-03-08 10:00:00, Mon 2026-03-09 10:00:00, Fri 2026-03-13 10:00:00
    0 10 * * SAT-SUN       Sun 2026-03-08 10:00:00, Sat 2026-03-14 10:00:00, Sun 2026-03-15 10:00:00
    0 10 * * 5-7           Sun 2026-03-08 10:00:00, Fri 2026-03-13 10:00:00, Sat 2026-03-14 10:00:00
    0 10 L * *             Tue 2026-03-31 10:00:00, Thu 2026-04-30 10:00:00, Sun 2026-05-31 10:00:00
    0 0 10 L * *           Tue 2026-03-31 10:00:00, Thu 2026-04-30 10:00:00, Sun 2026-05-31 10:00:00
    0 10 L * ? *           Tue 2026-03-31 10:00:00, Thu 2026-04-30 10:00:00, Sun 2026-05-31 10:00:00
    0 10 L-2 * ? *         Sun 2026-03-29 10:00:00, Tue 2026-04-28 10:00:00, Fri 2026-05-29 10:00:00
    0 10 15W * *           Mon 2026-03-16 10:00:00, Wed 2026-04-15 10:00:00, Fri 2026-05-15 10:00:00
    0 10 3W * ? *          Fri 2026-04-03 10:00:00, Mon 2026-05-04 10:00:00, Wed 2026-06-03 10:00:00
    0 10 LW * ? *          Tue 2026-03-31 10:00:00, Thu 2026-04-30 10:00:00, Fri 2026-05-29 10:00:00
    0 9 1,15,L * *         Sun 2026-03-15 09:00:00, Tue 2026-03-31 09:00:00, Wed 2026-04-01 09:00:00
    0 10 * * 5L            Fri 2026-03-27 10:00:00, Fri 2026-04-24 10:00:00, Fri 2026-05-29 10:00:00
    0 9 ? * 2L *           Mon 2026-03-30 09:00:00, Mon 2026-04-27 09:00:00, Mon 2026-05-25 09:00:00
    0 10 * * FRI#2         Fri 2026-03-13 10:00:00, Fri 2026-04-10 10:00:00, Fri 2026-05-08 10:00:00
    0 10 * * 5#2           Fri 2026-03-13 10:00:00, Fri 2026-04-10 10:00:00, Fri 2026-05-08 10:00:00
    0 9 ? * 6#3 *          Fri 2026-03-20 09:00:00, Fri 2026-04-17 09:00:00, Fri 2026-05-15 09:00:00
    0 10 1 * MON           Mon 2026-03-09 10:00:00, Mon 2026-03-16 10:00:00, Mon 2026-03-23 10:00:00
    0 10 29 2 *            Tue 2028-02-29 10:00:00, Sun 2032-02-29 10:00:00, Fri 2036-02-29 10:00:00
    0 10 * sept-Nov thurs  Thu 2026-09-03 10:00:00, Thu 2026-09-10 10:00:00, Thu 2026-09-17 10:00:00
    0 10 * JAN,FEB ? *     Fri 2027-01-01 10:00:00, Sat 2027-01-02 10:00:00, Sun 2027-01-03 10:00:00
    0 0 1 1 ? 2027-2030    Fri 2027-01-01 00:00:00, Sat 2028-01-01 00:00:00, Mon 2029-01-01 00:00:00
    */15 * * * *           Sat 2026-03-07 12:15:00, Sat 2026-03-07 12:30:00, Sat 2026-03-07 12:45:00
    0/15 * * * ? *         Sat 2026-03-07 12:15:00, Sat 2026-03-07 12:30:00, Sat 2026-03-07 12:45:00
    5/20 * * * *           Sat 2026-03-07 12:05:00, Sat 2026-03-07 12:25:00, Sat 2026-03-07 12:45:00
    10-30/10 * * * *       Sat 2026-03-07 12:10:00, Sat 2026-03-07 12:20:00, Sat 2026-03-07 12:30:00
    */10 * * * * ?         Sat 2026-03-07 12:00:10, Sat 2026-03-07 12:00:20, Sat 2026-03-07 12:00:30
    @hourly                Sat 2026-03-07 13:00:00, Sat 2026-03-07 14:00:00, Sat 2026-03-07 15:00:00
    @daily                 Sun 2026-03-08 00:00:00, Mon 2026-03-09 00:00:00, Tue 2026-03-10 00:00:00
    @midnight              Sun 2026-03-08 00:00:00, Mon 2026-03-09 00:00:00, Tue 2026-03-10 00:00:00
    @weekly                Sun 2026-03-08 00:00:00, Sun 2026-03-15 00:00:00, Sun 2026-03-22 00:00:00
    @monthly               Wed 2026-04-01 00:00:00, Fri 2026-05-01 00:00:00, Mon 2026-06-01 00:00:00
    @yearly                Fri 2027-01-01 00:00:00, Sat 2028-01-01 00:00:00, Mon 2029-01-01 00:00:00
    @annually              Fri 2027-01-01 00:00:00, Sat 2028-01-01 00:00:00, Mon 2029-01-01 00:00:00
    ");
}

#[test]
fn schedules_read_as_a_person_says_them() {
    let texts = [
        "0 6 * * MON-FRI",
        "30 6,18 * * 6,0",
        "0 10 * * FRI-MON",
        "* * * * *",
        "*/15 * * * *",
        "0/5 8-17 ? * 2-6 *",
        "@hourly",
        "30 * * * *",
        "0 */2 * * *",
        "0 9-17 * * *",
        "0 8 1 * *",
        "0 8 1,15 1,7 *",
        "0 8 L * *",
        "0 8 L-1 * *",
        "0 8 L-2 * *",
        "0 8 LW * *",
        "0 8 15W,L * *",
        "0 8 * * FRI#2",
        "0 8 * * FRIL",
        "0 8 1 * MON",
        "7 3/5 * * *",
        "*/10 * * * * ?",
    ];
    let table: Vec<String> = texts
        .iter()
        .map(|text| {
            let schedule = schedule(text, "Europe/Berlin", Gap::Shift, None);
            format!("{text:18} {}", schedule.describe())
        })
        .collect();
    insta::assert_snapshot!(table.join("\n"), @r"
    0 6 * * MON-FRI    at 06:00, Monday to Friday (Europe/Berlin)
    30 6,18 * * 6,0    at 06:30 and 18:30 on Saturday and Sunday (Europe/Berlin)
    0 10 * * FRI-MON   at 10:00 on Monday, Friday, Saturday and Sunday (Europe/Berlin)
    * * * * *          every minute (Europe/Berlin)
    */15 * * * *       every 15 minutes (Europe/Berlin)
    0/5 8-17 ? * 2-6 * every 5 minutes from 08:00 to 17:55, Monday to Friday (Europe/Berlin)
    @hourly            every hour (Europe/Berlin)
    30 * * * *         every hour at :30 (Europe/Berlin)
    0 */2 * * *        every 2 hours (Europe/Berlin)
    0 9-17 * * *       every hour from 09:00 to 17:00 (Europe/Berlin)
    0 8 1 * *          at 08:00 on day 1 of the month (Europe/Berlin)
    0 8 1,15 1,7 *     at 08:00 on days 1 and 15 in January and July (Europe/Berlin)
    0 8 L * *          at 08:00 on the last day of the month (Europe/Berlin)
    0 8 L-1 * *        at 08:00 on the last day but one of the month (Europe/Berlin)
    0 8 L-2 * *        at 08:00 on the last day but 2 of the month (Europe/Berlin)
    0 8 LW * *         at 08:00 on the last weekday of the month (Europe/Berlin)
    0 8 15W,L * *      at 08:00 on the weekday nearest to day 15 and the last day of the month (Europe/Berlin)
    0 8 * * FRI#2      at 08:00 on the second Friday of the month (Europe/Berlin)
    0 8 * * FRIL       at 08:00 on the last Friday of the month (Europe/Berlin)
    0 8 1 * MON        at 08:00 on day 1 of the month or on Monday (Europe/Berlin)
    7 3/5 * * *        at 03:07, 08:07, 13:07, 18:07 and 23:07 (Europe/Berlin)
    */10 * * * * ?     cron */10 * * * * ? (Europe/Berlin)
    ");
    assert_eq!(every(Span::from_mins(90)).describe(), "every 1h 30m");
}

#[test]
fn a_wrong_cron_text_is_refused_with_field_expectation_and_cure() {
    let texts = [
        "",
        "* * *",
        "60 10 * * *",
        "0 24 * * *",
        "0 10 0 * *",
        "0 10 * 13 *",
        "0 10 * * 8",
        "0 10 * * FUN",
        "0 10 ? * 0 *",
        "? 10 * * *",
        "H 10 * * *",
        "+5 * * * *",
        "1,,2 * * * *",
        "*/0 * * * *",
        "*/x * * * *",
        "*/90 * * * *",
        "0 22-2 * * *",
        "0 10 L-31 * *",
        "0 10 32W * *",
        "0 10 * * FRI#6",
        "0 10 * * L",
        "0 0 0 1 1 ? 2101",
        "0 10 ? * ? *",
        "0 10 1 * MON *",
        "0 10 1 1 ? ?",
        "0 0 10 1 * MON",
        "@every 5m",
        "@reboot",
        "rate(5 minutes)",
        "0 10 * * \u{fc}ber",
    ];
    let table: Vec<String> = texts.iter().map(|text| refusal(text).to_string()).collect();
    insta::assert_snapshot!(table.join("\n"), @r##"
    cron "": found 0 fields, expected 5, 6 or 7; write minute hour day month weekday, such as "0 6 * * MON-FRI"
    cron "* * *": found 3 fields, expected 5, 6 or 7; write minute hour day month weekday, such as "0 6 * * MON-FRI"
    cron "60 10 * * *": minute "60" is not valid, expected 0 to 59; use numbers, lists 1,2, ranges 1-5 or steps */5
    cron "0 24 * * *": hour "24" is not valid, expected 0 to 23; midnight is hour 0
    cron "0 10 0 * *": day of month "0" is not valid, expected 1 to 31; use numbers, lists 1,2, ranges 1-5 or steps */5
    cron "0 10 * 13 *": month "13" is not valid, expected 1 to 12 or JAN to DEC; use numbers, lists 1,2, ranges 1-5 or steps */5
    cron "0 10 * * 8": day of week "8" is not valid, expected 0 to 7 or SUN to SAT; use numbers, lists 1,2, ranges 1-5 or steps */5
    cron "0 10 * * FUN": day of week "FUN" is not valid, expected 0 to 7 or SUN to SAT; use numbers, lists 1,2, ranges 1-5 or steps */5
    cron "0 10 ? * 0 *": day of week "0" is not valid, expected 1 to 7 or SUN to SAT; with six or seven fields the week starts at SUN = 1; write the name of the day
    cron "? 10 * * *": minute "?" is not valid, expected 0 to 59; "?" stands alone, in the day of month or the day of week
    cron "H 10 * * *": minute "H" is not valid, expected 0 to 59; write a fixed number; to spread the load set jitter
    cron "+5 * * * *": minute "+5" is not valid, expected 0 to 59; use numbers, lists 1,2, ranges 1-5 or steps */5
    cron "1,,2 * * * *": minute "" is not valid, expected 0 to 59; remove the stray comma, dash or slash
    cron "*/0 * * * *": minute "*/0" is not valid, expected a step of 1 to 59; write the step as a number after the slash, such as */5
    cron "*/x * * * *": minute "*/x" is not valid, expected a step of 1 to 59; write the step as a number after the slash, such as */5
    cron "*/90 * * * *": minute "*/90" is not valid, expected a step of 1 to 59; for such a period write every: 90m instead of cron
    cron "0 22-2 * * *": hour "22-2" is not valid, expected a range that rises; write the two parts as a list, such as 22-23,0-2
    cron "0 10 L-31 * *": day of month "L-31" is not valid, expected L-1 to L-30; L-2 is two days before the last day
    cron "0 10 32W * *": day of month "32W" is not valid, expected 1W to 31W or LW; 15W is the weekday nearest to the 15th
    cron "0 10 * * FRI#6": day of week "FRI#6" is not valid, expected a number from 1 to 5 after "#"; FRI#2 is the second Friday of the month
    cron "0 10 * * L": day of week "L" is not valid, expected a day before "L"; FRIL is the last Friday of the month
    cron "0 0 0 1 1 ? 2101": year "2101" is not valid, expected 1970 to 2100; use numbers, lists 1,2, ranges 1-5 or steps */5
    cron "0 10 ? * ? *": both the day of month and the day of week are "?"; write "*" for one of them
    cron "0 10 1 * MON *": six fields without "?" begin with the second, and so read, it is not valid; if the last field is the year, as in EventBridge, write "?" for the day of month or the day of week
    cron "0 10 1 1 ? ?": year "?" is not valid, expected 1970 to 2100; "?" stands alone, in the day of month or the day of week
    cron "0 0 10 1 * MON": with six or seven fields, day of month and day of week cannot both be restricted; write "?" for one of them, or five fields, where either day is enough
    cron "@every 5m": there is no schedule named "@every 5m"; write every: 5m instead of cron
    cron "@reboot": there is no schedule named "@reboot"; use @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually
    cron "rate(5 minutes)": this is a rate, not cron; write the period as every:, such as every: 5m
    cron "0 10 * * über": day of week "über" is not valid, expected 0 to 7 or SUN to SAT; use numbers, lists 1,2, ranges 1-5 or steps */5
    "##);
    assert_eq!(
        refusal(&"1,".repeat(500)),
        ScheduleError::TooLong {
            length: 1000,
            max: 256
        }
    );
}

#[test]
fn a_time_that_a_clock_change_skips_is_shifted_or_skipped() {
    // New York and Berlin jump at 02:00 to 03:00, Lord Howe to 02:30, Santiago at 00:00 to 01:00.
    let cases = [
        ("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z"),
        ("0 0,2,3 * * *", "America/New_York", "2026-03-08T04:00:00Z"),
        ("*/20 2 * * *", "America/New_York", "2026-03-07T12:00:00Z"),
        ("0 * * * *", "America/New_York", "2026-03-08T05:30:00Z"),
        ("30 * * * *", "America/New_York", "2026-03-08T05:00:00Z"),
        ("0 */2 * * *", "America/New_York", "2026-03-08T04:30:00Z"),
        ("0 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z"),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T20:00:00Z"),
        ("0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z"),
        ("0 0 * * SUN", "America/Santiago", "2026-09-01T12:00:00Z"),
    ];
    let mut table = Vec::new();
    for (text, zone, from) in cases {
        for gap in [Gap::Shift, Gap::Skip] {
            table.push(line(&format!("{gap:?}"), text, zone, gap, None, from));
        }
    }
    insta::assert_snapshot!(table.join("\n"), @r"
    America/New_York     30 2 * * *    Shift   08 03:00-04:00, 09 02:30-04:00, 10 02:30-04:00, 11 02:30-04:00
    America/New_York     30 2 * * *    Skip    09 02:30-04:00, 10 02:30-04:00, 11 02:30-04:00, 12 02:30-04:00
    America/New_York     0 0,2,3 * * * Shift   08 00:00-05:00, 08 03:00-04:00, 09 00:00-04:00, 09 02:00-04:00
    America/New_York     0 0,2,3 * * * Skip    08 00:00-05:00, 08 03:00-04:00, 09 00:00-04:00, 09 02:00-04:00
    America/New_York     */20 2 * * *  Shift   08 03:00-04:00, 09 02:00-04:00, 09 02:20-04:00, 09 02:40-04:00
    America/New_York     */20 2 * * *  Skip    09 02:00-04:00, 09 02:20-04:00, 09 02:40-04:00, 10 02:00-04:00
    America/New_York     0 * * * *     Shift   08 01:00-05:00, 08 03:00-04:00, 08 04:00-04:00, 08 05:00-04:00
    America/New_York     0 * * * *     Skip    08 01:00-05:00, 08 03:00-04:00, 08 04:00-04:00, 08 05:00-04:00
    America/New_York     30 * * * *    Shift   08 00:30-05:00, 08 01:30-05:00, 08 03:30-04:00, 08 04:30-04:00
    America/New_York     30 * * * *    Skip    08 00:30-05:00, 08 01:30-05:00, 08 03:30-04:00, 08 04:30-04:00
    America/New_York     0 */2 * * *   Shift   08 00:00-05:00, 08 04:00-04:00, 08 06:00-04:00, 08 08:00-04:00
    America/New_York     0 */2 * * *   Skip    08 00:00-05:00, 08 04:00-04:00, 08 06:00-04:00, 08 08:00-04:00
    Europe/Berlin        0 2 * * *     Shift   29 03:00+02:00, 30 02:00+02:00, 31 02:00+02:00, 01 02:00+02:00
    Europe/Berlin        0 2 * * *     Skip    30 02:00+02:00, 31 02:00+02:00, 01 02:00+02:00, 02 02:00+02:00
    Australia/Lord_Howe  15 2 * * *    Shift   04 02:30+11:00, 05 02:15+11:00, 06 02:15+11:00, 07 02:15+11:00
    Australia/Lord_Howe  15 2 * * *    Skip    05 02:15+11:00, 06 02:15+11:00, 07 02:15+11:00, 08 02:15+11:00
    America/Santiago     0 0 * * *     Shift   06 01:00-03:00, 07 00:00-03:00, 08 00:00-03:00, 09 00:00-03:00
    America/Santiago     0 0 * * *     Skip    07 00:00-03:00, 08 00:00-03:00, 09 00:00-03:00, 10 00:00-03:00
    America/Santiago     0 0 * * SUN   Shift   06 01:00-03:00, 13 00:00-03:00, 20 00:00-03:00, 27 00:00-03:00
    America/Santiago     0 0 * * SUN   Skip    13 00:00-03:00, 20 00:00-03:00, 27 00:00-03:00, 04 00:00-03:00
    ");
}

#[test]
fn a_time_that_a_clock_change_repeats_runs_on_the_pass_asked_for() {
    // New York goes back at 02:00 to 01:00, Berlin at 03:00 to 02:00, Lord Howe at 02:00 to 01:30,
    // Auckland at 03:00 to 02:00.
    let cases = [
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z"),
        ("*/20 1 * * *", "America/New_York", "2026-10-31T12:00:00Z"),
        ("0 * * * *", "America/New_York", "2026-11-01T04:00:00Z"),
        ("*/20 * * * *", "America/New_York", "2026-11-01T04:50:00Z"),
        ("0 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z"),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z"),
        ("45 * * * *", "Australia/Lord_Howe", "2026-04-04T13:50:00Z"),
        ("30 2 * * *", "Pacific/Auckland", "2026-04-04T00:00:00Z"),
    ];
    let policies = [
        None,
        Some(Overlap::First),
        Some(Overlap::Second),
        Some(Overlap::Both),
    ];
    let mut table = Vec::new();
    for (text, zone, from) in cases {
        for overlap in policies {
            let label = overlap.map_or_else(|| "usual".to_owned(), |it| format!("{it:?}"));
            table.push(line(&label, text, zone, Gap::Shift, overlap, from));
        }
    }
    insta::assert_snapshot!(table.join("\n"), @r"
    America/New_York     30 1 * * *    usual   01 01:30-04:00, 02 01:30-05:00, 03 01:30-05:00, 04 01:30-05:00
    America/New_York     30 1 * * *    First   01 01:30-04:00, 02 01:30-05:00, 03 01:30-05:00, 04 01:30-05:00
    America/New_York     30 1 * * *    Second  01 01:30-05:00, 02 01:30-05:00, 03 01:30-05:00, 04 01:30-05:00
    America/New_York     30 1 * * *    Both    01 01:30-04:00, 01 01:30-05:00, 02 01:30-05:00, 03 01:30-05:00
    America/New_York     */20 1 * * *  usual   01 01:00-04:00, 01 01:20-04:00, 01 01:40-04:00, 02 01:00-05:00
    America/New_York     */20 1 * * *  First   01 01:00-04:00, 01 01:20-04:00, 01 01:40-04:00, 02 01:00-05:00
    America/New_York     */20 1 * * *  Second  01 01:00-05:00, 01 01:20-05:00, 01 01:40-05:00, 02 01:00-05:00
    America/New_York     */20 1 * * *  Both    01 01:00-04:00, 01 01:20-04:00, 01 01:40-04:00, 01 01:00-05:00
    America/New_York     0 * * * *     usual   01 01:00-04:00, 01 01:00-05:00, 01 02:00-05:00, 01 03:00-05:00
    America/New_York     0 * * * *     First   01 01:00-04:00, 01 02:00-05:00, 01 03:00-05:00, 01 04:00-05:00
    America/New_York     0 * * * *     Second  01 01:00-05:00, 01 02:00-05:00, 01 03:00-05:00, 01 04:00-05:00
    America/New_York     0 * * * *     Both    01 01:00-04:00, 01 01:00-05:00, 01 02:00-05:00, 01 03:00-05:00
    America/New_York     */20 * * * *  usual   01 01:00-04:00, 01 01:20-04:00, 01 01:40-04:00, 01 01:00-05:00
    America/New_York     */20 * * * *  First   01 01:00-04:00, 01 01:20-04:00, 01 01:40-04:00, 01 02:00-05:00
    America/New_York     */20 * * * *  Second  01 01:00-05:00, 01 01:20-05:00, 01 01:40-05:00, 01 02:00-05:00
    America/New_York     */20 * * * *  Both    01 01:00-04:00, 01 01:20-04:00, 01 01:40-04:00, 01 01:00-05:00
    Europe/Berlin        0 2 * * *     usual   25 02:00+02:00, 26 02:00+01:00, 27 02:00+01:00, 28 02:00+01:00
    Europe/Berlin        0 2 * * *     First   25 02:00+02:00, 26 02:00+01:00, 27 02:00+01:00, 28 02:00+01:00
    Europe/Berlin        0 2 * * *     Second  25 02:00+01:00, 26 02:00+01:00, 27 02:00+01:00, 28 02:00+01:00
    Europe/Berlin        0 2 * * *     Both    25 02:00+02:00, 25 02:00+01:00, 26 02:00+01:00, 27 02:00+01:00
    Australia/Lord_Howe  45 1 * * *    usual   05 01:45+11:00, 06 01:45+10:30, 07 01:45+10:30, 08 01:45+10:30
    Australia/Lord_Howe  45 1 * * *    First   05 01:45+11:00, 06 01:45+10:30, 07 01:45+10:30, 08 01:45+10:30
    Australia/Lord_Howe  45 1 * * *    Second  05 01:45+10:30, 06 01:45+10:30, 07 01:45+10:30, 08 01:45+10:30
    Australia/Lord_Howe  45 1 * * *    Both    05 01:45+11:00, 05 01:45+10:30, 06 01:45+10:30, 07 01:45+10:30
    Australia/Lord_Howe  45 * * * *    usual   05 01:45+11:00, 05 01:45+10:30, 05 02:45+10:30, 05 03:45+10:30
    Australia/Lord_Howe  45 * * * *    First   05 01:45+11:00, 05 02:45+10:30, 05 03:45+10:30, 05 04:45+10:30
    Australia/Lord_Howe  45 * * * *    Second  05 01:45+10:30, 05 02:45+10:30, 05 03:45+10:30, 05 04:45+10:30
    Australia/Lord_Howe  45 * * * *    Both    05 01:45+11:00, 05 01:45+10:30, 05 02:45+10:30, 05 03:45+10:30
    Pacific/Auckland     30 2 * * *    usual   05 02:30+13:00, 06 02:30+12:00, 07 02:30+12:00, 08 02:30+12:00
    Pacific/Auckland     30 2 * * *    First   05 02:30+13:00, 06 02:30+12:00, 07 02:30+12:00, 08 02:30+12:00
    Pacific/Auckland     30 2 * * *    Second  05 02:30+12:00, 06 02:30+12:00, 07 02:30+12:00, 08 02:30+12:00
    Pacific/Auckland     30 2 * * *    Both    05 02:30+13:00, 05 02:30+12:00, 06 02:30+12:00, 07 02:30+12:00
    ");
}

#[test]
fn the_last_second_before_a_gap_is_found_from_behind_it() {
    let text = "59 59 1,2 * * ?";
    let schedule = schedule(text, "America/New_York", Gap::Skip, None);
    assert_eq!(
        schedule.previous_before(at("2026-03-08T12:00:00Z")),
        Some(at("2026-03-08T06:59:59Z"))
    );
}

#[test]
fn a_period_is_due_at_its_multiples_since_the_epoch() {
    let quarter = every(Span::from_mins(15));
    let five_past = at("2026-03-08T06:05:00Z");
    let due: Vec<String> = quarter
        .between(five_past, five_past + Span::from_mins(55))
        .map(|at| at.to_string())
        .collect();
    assert_eq!(
        due,
        [
            "2026-03-08T06:15:00Z",
            "2026-03-08T06:30:00Z",
            "2026-03-08T06:45:00Z",
            "2026-03-08T07:00:00Z"
        ]
    );
    let seven = at("2026-03-08T07:00:00Z");
    assert_eq!(
        quarter.previous_before(seven),
        Some(at("2026-03-08T06:45:00Z"))
    );
    assert_eq!(
        quarter.previous_before(seven + Span(1)),
        Some(seven),
        "a period is asked to the microsecond"
    );
    assert_eq!(quarter.next_after(Timestamp(-1)), Some(Timestamp(0)));
    assert_eq!(quarter.next_after(Timestamp::MAX), None);
}

#[test]
fn a_period_too_short_or_too_long_is_refused() {
    let refusal = |period| {
        Schedule::new(&When::Every { period }, "UTC", Gap::Shift, None)
            .expect_err("not a usable period")
            .to_string()
    };
    assert_eq!(
        refusal(Span::from_millis(500)),
        "every 500ms is not a usable period, expected at least 1s; \
         for work without a pause let a flow trigger itself when it ends"
    );
    assert!(refusal(Span::ZERO).contains("at least 1s"));
    assert!(refusal(Span::from_secs(-60)).contains("at least 1s"));
    assert!(refusal(Span::from_millis(1_500)).contains("whole seconds"));
    assert!(refusal(Span(i64::MAX / 1_000_000 * 1_000_000)).contains("at most ten years"));
}

#[test]
fn an_unknown_time_zone_is_refused_with_a_suggestion() {
    let when = When::Cron {
        text: "@daily".to_owned(),
    };
    let error = Schedule::new(&when, "berlin", Gap::Shift, None).expect_err("no such zone");
    assert_eq!(
        error,
        ScheduleError::TimeZone {
            name: "berlin".to_owned(),
            suggestion: Some("Europe/Berlin")
        }
    );
}

#[test]
fn a_schedule_without_a_next_or_previous_time_says_so() {
    let now = at("2026-03-07T12:00:00Z");
    let never = schedule("0 10 30 2 *", "UTC", Gap::Shift, None);
    assert_eq!(never.next_after(now), None);
    assert_eq!(never.previous_before(now), None);
    let past = schedule("0 0 1 1 ? 1999,2003", "UTC", Gap::Shift, None);
    assert_eq!(past.next_after(now), None);
    assert_eq!(past.previous_before(now), Some(at("2003-01-01T00:00:00Z")));
    assert_eq!(
        past.previous_before(at("2003-01-01T00:00:00Z")),
        Some(at("1999-01-01T00:00:00Z"))
    );
    let new_years_eve = schedule("0 0 31 12 ? 2003", "UTC", Gap::Shift, None);
    assert_eq!(
        new_years_eve.previous_before(now),
        Some(at("2003-12-31T00:00:00Z"))
    );
    let daily = schedule("@daily", "Asia/Tokyo", Gap::Shift, None);
    for extreme in [Timestamp(i64::MIN), Timestamp(0), Timestamp::MAX] {
        let (next, previous) = (daily.next_after(extreme), daily.previous_before(extreme));
        assert!(next.is_some() || previous.is_some(), "{extreme:?}");
    }
}

#[test]
fn a_fraction_of_a_second_is_neither_lost_nor_repeated() {
    let daily = schedule("@daily", "UTC", Gap::Shift, None);
    let (today, tomorrow) = (at("2026-03-07T00:00:00Z"), at("2026-03-08T00:00:00Z"));
    assert_eq!(daily.next_after(today - Span(1)), Some(today));
    assert_eq!(daily.next_after(today), Some(tomorrow));
    assert_eq!(daily.next_after(today + Span(1)), Some(tomorrow));
    assert_eq!(daily.previous_before(tomorrow), Some(today));
    assert_eq!(daily.previous_before(tomorrow + Span(1)), Some(tomorrow));
    assert_eq!(daily.previous_before(tomorrow - Span(1)), Some(today));
}

#[test]
fn a_daily_schedule_is_told_from_a_faster_one() {
    let daily = |text| schedule(text, "UTC", Gap::Shift, None).is_daily_or_slower();
    assert!(daily("0 6 * * *") && daily("@monthly") && daily("0 6 1 * MON"));
    assert!(!daily("0 6,18 * * *") && !daily("@hourly") && !daily("*/30 6 * * *"));
    assert!(every(Span::from_mins(24 * 60)).is_daily_or_slower());
    assert!(!every(Span::from_mins(60)).is_daily_or_slower());
}

#[test]
fn what_is_declared_survives_json() {
    let declared = [
        When::Cron {
            text: "@daily".to_owned(),
        },
        When::Every {
            period: Span::from_mins(15),
        },
    ];
    let json = serde_json::to_string(&declared).expect("plain data");
    assert_eq!(
        json,
        r#"[{"cron":{"text":"@daily"}},{"every":{"period":900000000}}]"#
    );
    let read: [When; 2] = serde_json::from_str(&json).expect("plain data");
    assert_eq!(read, declared);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever people type ends in a schedule or an error, and a schedule answers.
    #[test]
    fn no_text_is_too_strange(text in "[0-9*/?,#LW@a-zA-Z( -]{0,30}|([0-9*?]{1,2}[-,/#LW]{0,1}[0-9MONLW]{0,3} ){5,7}") {
        let now = at("2026-03-07T12:00:00Z");
        if let Ok(schedule) = Schedule::new(&When::Cron { text }, "Europe/Berlin", Gap::Shift, None) {
            if let Some(next) = schedule.next_after(now) {
                prop_assert_eq!(schedule.previous_before(next + Span(1)), Some(next));
            }
            prop_assert!(schedule.describe().ends_with(" (Europe/Berlin)"));
        }
    }

    /// croner decides by the shape of a text what a clock change does; we are told to do the same:
    /// one fixed time a day is shifted and runs on the first pass, all others are skipped and run
    /// on both. Excluded: days that never come (croner searches to the year 5000), `L-n`, `a/n`,
    /// ranges such as FRI-MON and 31W, which croner does not read or reads in its own way; and the
    /// years from 2100, where our calendar ends (a last Friday of April at 00:15 is skipped in
    /// Cairo every year until then).
    #[test]
    fn croner_finds_the_same_times(
        (text, one_a_day) in unix_text(),
        (zone, from) in zone_and_time(),
    ) {
        let (gap, overlap) = match one_a_day {
            true => (Gap::Shift, Overlap::First),
            false => (Gap::Skip, Overlap::Both),
        };
        let ours = schedule(&text, zone.name(), gap, Some(overlap));
        let theirs = CronParser::new().parse(&text).expect("croner reads it");
        let end = at("2100-01-01T00:00:00Z");
        let theirs: Vec<_> = theirs
            .iter_after(from.to_chrono().with_timezone(&zone))
            .map(|at| Timestamp::from_chrono(at.to_utc()))
            .take_while(|at| *at <= end)
            .take(6)
            .map(|at| at.to_string())
            .collect();
        let ours: Vec<_> = ours
            .between(from, end)
            .take(6)
            .map(|at| at.to_string())
            .collect();
        prop_assert_eq!(ours, theirs, "{} in {} after {}", text, zone, from);
    }

    /// Every policy against the plainest reading of it: take each wall-clock time by itself, look
    /// up what it means, and sort.
    #[test]
    fn every_policy_is_what_each_wall_time_means_by_itself(
        (text, _) in unix_text(),
        (zone, from) in zone_and_time(),
        gap in select(vec![Gap::Shift, Gap::Skip]),
        overlap in select(vec![Overlap::First, Overlap::Second, Overlap::Both]),
    ) {
        let until = from + Span::from_mins(3 * 24 * 60);
        let ours: Vec<_> = schedule(&text, zone.name(), gap, Some(overlap))
            .between(from, until)
            .collect();
        let rolls = text.split(' ').nth(1).is_some_and(|hour| hour.starts_with('*'));
        let gap = if rolls { Gap::Skip } else { gap };
        prop_assert_eq!(ours, by_wall_times(&text, zone, gap, overlap, from, until));
    }

    /// Asking from anywhere between two occurrences gives those two, forwards and backwards.
    #[test]
    fn next_and_previous_agree_from_any_starting_point(
        (text, _) in unix_text(),
        (zone, from) in zone_and_time(),
        gap in select(vec![Gap::Shift, Gap::Skip]),
        overlap in select(vec![Overlap::First, Overlap::Second, Overlap::Both]),
        part in 0.0..1.0,
    ) {
        let schedule = schedule(&text, zone.name(), gap, Some(overlap));
        let times: Vec<_> = schedule.between(from, Timestamp::MAX).take(12).collect();
        for pair in times.windows(2) {
            let (early, late) = (pair[0], pair[1]);
            prop_assert!(early < late, "{} in {}: {} then {}", text, zone, early, late);
            let between = early + Span(((late - early).0 as f64 * part) as i64);
            prop_assert_eq!(schedule.next_after(between), Some(late));
            prop_assert_eq!(schedule.previous_before(between + Span(1)), Some(early));
            prop_assert_eq!(schedule.previous_before(late), Some(early));
        }
        if let Some(last) = times.last() {
            prop_assert_eq!(schedule.between(from, *last).collect::<Vec<_>>(), times);
        }
    }
}

fn by_wall_times(
    text: &str,
    zone: Tz,
    gap: Gap,
    overlap: Overlap,
    from: Timestamp,
    until: Timestamp,
) -> Vec<Timestamp> {
    let day = Span::from_mins(24 * 60);
    let mut due = BTreeSet::new();
    for wall in schedule(text, "UTC", Gap::Skip, None).between(from - day, until + day) {
        let mut wall = wall.to_chrono().naive_utc();
        match zone.from_local_datetime(&wall) {
            MappedLocalTime::Single(at) => {
                due.insert(at.to_utc());
            }
            MappedLocalTime::Ambiguous(first, second) => {
                if overlap != Overlap::Second {
                    due.insert(first.to_utc());
                }
                if overlap != Overlap::First {
                    due.insert(second.to_utc());
                }
            }
            MappedLocalTime::None if gap == Gap::Skip => {}
            MappedLocalTime::None => {
                while zone.from_local_datetime(&wall) == MappedLocalTime::None {
                    wall += TimeDelta::minutes(1);
                }
                let resumes = zone.from_local_datetime(&wall).earliest();
                due.insert(resumes.expect("the clock goes on").to_utc());
            }
        }
    }
    due.into_iter()
        .map(Timestamp::from_chrono)
        .filter(|at| from < *at && *at <= until)
        .collect()
}

/// A text of five fields, and whether it names one fixed time a day.
fn unix_text() -> impl Strategy<Value = (String, bool)> {
    let minutes = vec!["0", "30", "59", "15,45", "*/20", "5-10", "*"];
    let hours = vec!["0", "1", "2", "3", "23", "0,12", "1-3", "2,3", "*/2", "*"];
    let days = vec![
        "*", "*", "*", "1", "15", "31", "29", "1-7", "*/2", "L", "LW", "15W", "1,L",
    ];
    let months = vec!["*", "*", "*", "2", "3", "4", "3,11", "9-12"];
    let weekdays = vec![
        "*", "*", "*", "SUN", "7", "0", "MON-FRI", "1,3", "6-7", "FRI#2", "SUN#1", "5L", "*/2",
    ];
    (
        select(minutes),
        select(hours),
        select(days),
        select(months),
        select(weekdays),
    )
        .prop_filter("the day comes", |(_, _, day, month, weekday)| {
            *weekday != "*" || *day != "31" || !["2", "4"].contains(month)
        })
        .prop_map(|(minute, hour, day, month, weekday)| {
            let fixed = |field: &str| field.bytes().all(|b| b.is_ascii_digit());
            (
                format!("{minute} {hour} {day} {month} {weekday}"),
                fixed(minute) && fixed(hour),
            )
        })
}

/// Most times lie near a clock change, every third within an hour and a half of it.
fn zone_and_time() -> impl Strategy<Value = (Tz, Timestamp)> {
    let anywhere = (2024i64 * 31_556_952..2032 * 31_556_952)
        .prop_map(|secs| secs - 1970 * 31_556_952)
        .prop_flat_map(|secs| (select(&ZONES[..]), Just(secs)));
    let near = |secs: i64| {
        (select(&CLOCK_CHANGES[..]), -secs..secs)
            .prop_map(|((zone, change), near)| (zone, change + near))
    };
    (prop_oneof![anywhere, near(130_000), near(5_400)], 0..2i64)
        .prop_map(|((zone, secs), half)| (zone, Timestamp(secs * 1_000_000 + half * 500_000)))
}

const ZONES: [Tz; 8] = [
    Tz::UTC,
    Tz::America__New_York,
    Tz::Europe__Berlin,
    Tz::Asia__Kolkata,
    Tz::Australia__Lord_Howe,
    Tz::America__Santiago,
    Tz::Africa__Cairo,
    Tz::Atlantic__Azores,
];

static CLOCK_CHANGES: LazyLock<Vec<(Tz, i64)>> = LazyLock::new(|| {
    let offset = |zone: Tz, secs: i64| {
        let at = DateTime::<Utc>::from_timestamp(secs, 0).expect("a date");
        at.with_timezone(&zone).naive_local() - at.naive_utc()
    };
    let (first, last) = (1_704_067_200, 1_956_528_000);
    ZONES
        .iter()
        .flat_map(|zone| (first..last).step_by(1800).map(move |at| (*zone, at)))
        .filter(|(zone, at)| offset(*zone, *at) != offset(*zone, at - 1800))
        .collect()
});

/// Four occurrences as the wall clock of the zone shows them.
fn line(
    label: &str,
    text: &str,
    zone: &str,
    gap: Gap,
    overlap: Option<Overlap>,
    from: &str,
) -> String {
    let schedule = schedule(text, zone, gap, overlap);
    let times: Vec<String> = schedule
        .between(at(from), Timestamp::MAX)
        .take(4)
        .map(|at| {
            at.to_chrono()
                .with_timezone(&schedule.timezone())
                .format("%d %R%:z")
                .to_string()
        })
        .collect();
    format!("{zone:20} {text:13} {label:7} {}", times.join(", "))
}

fn schedule(text: &str, zone: &str, gap: Gap, overlap: Option<Overlap>) -> Schedule {
    let when = When::Cron {
        text: text.to_owned(),
    };
    Schedule::new(&when, zone, gap, overlap).expect("a valid schedule")
}

fn refusal(text: &str) -> ScheduleError {
    let when = When::Cron {
        text: text.to_owned(),
    };
    Schedule::new(&when, "UTC", Gap::Shift, None).expect_err(text)
}

fn every(period: Span) -> Schedule {
    Schedule::new(&When::Every { period }, "UTC", Gap::Shift, None).expect("a usable period")
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("RFC 3339")
}
