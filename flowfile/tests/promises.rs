//! Promises about time in flow files: what cannot be kept is refused where it stands, what is odd is a warning.

use dalsegno_flowfile::{lint, parse};
use dalsegno_scheduler::Timestamp;

/// A flow that is due at seven in Berlin, with these lines.
fn flow(lines: &str) -> String {
    format!(
        "flow: shop\nschedule: {{ cron: '0 7 * * *', timezone: Europe/Berlin }}\n{lines}\nsteps:\n  only: {{ run: ./only.sh }}\n"
    )
}

fn refused(text: &str) -> String {
    match parse("shop.yaml", text) {
        Ok(_) => panic!("nothing is wrong with\n{text}"),
        Err(found) => found.render(false),
    }
}

#[test]
fn what_cannot_be_kept_is_refused_where_it_stands() {
    let all = [
        flow("sla: [{ finish_by: '06:00' }]"),
        flow("sla: [{ finish_by: '08:00' }, { start_by: '09:00' }]"),
        // Two hours after seven is nine.
        flow("sla: [{ finish_by: '08:00' }, { start_by: 2h }]"),
        flow("sla: [{ finish_by: 1h }, { start_by: '09:00', timezone: Europe/London }]"),
        flow("sla: [{ max_duration: 0s }]"),
        flow("sla: [{ fresh_within: 1h }]"),
        "flow: shop\nsteps:\n  a: { run: x, foreach: [1, 2], sla: [{ max_queue_wait: 1m }] }\n".into(),
        "flow: shop\nsteps:\n  all: { foreach: [1, 2], steps: { a: { run: x, sla: [{ finish_by: 1m }] }, b: { run: x } } }\n".into(),
    ];
    let all: Vec<String> = all.iter().map(|it| refused(it)).collect();
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(all.join("────────\n")) });
}

#[test]
fn what_can_be_kept_is_taken() {
    for lines in [
        "sla: [{ finish_by: '08:00' }, { start_by: 30m }, { max_duration: 1h }]",
        "sla: [{ finish_by: '06:00 +1d' }, { start_by: '07:00' }]",
        "sla: [{ fresh_within: 25h }, { max_queue_wait: 1s }]",
    ] {
        parse("shop.yaml", &flow(lines))
            .unwrap_or_else(|it| panic!("{lines}\n{}", it.render(false)));
    }
    let fan = "flow: shop\nsteps:\n  a: { run: x, foreach: [1, 2], sla: [{ finish_by: 1m, max_duration: 1m }] }\n";
    parse("shop.yaml", fan).unwrap_or_else(|it| panic!("{}", it.render(false)));
}

#[test]
fn a_promise_that_another_makes_empty_is_a_warning() {
    let now = Timestamp::parse_rfc3339("2026-11-22T00:00:00Z").expect("a moment");
    let told = |lines: &str| {
        let text = flow(lines);
        let mut file =
            parse("shop.yaml", &text).unwrap_or_else(|it| panic!("{}", it.render(false)));
        lint("shop.yaml", &mut file, now);
        file.warnings.render(false)
    };
    insta::assert_snapshot!(told("sla: [{ finish_by: '08:00' }, { max_duration: 90m }]"), @r"
flow.loose_sla

  ⚠ the promise max_duration allows 1h 30m, and finish_by is broken before that
   ╭─[shop.yaml:3:47]
 2 │ schedule: { cron: '0 7 * * *', timezone: Europe/Berlin }
 3 │ sla: [{ finish_by: '08:00' }, { max_duration: 90m }]
   ·                                               ───
 4 │ steps:
   ╰────
  help: write less than that, or leave max_duration out
");
    assert_eq!(
        told("sla: [{ finish_by: '08:00' }, { max_duration: 1h }]"),
        ""
    );
    insta::assert_snapshot!(told("sla: [{ finish_by: 30m }, { max_duration: 31m }]"), @r"
flow.loose_sla

  ⚠ the promise max_duration allows 31m, and finish_by is broken before that
   ╭─[shop.yaml:3:43]
 2 │ schedule: { cron: '0 7 * * *', timezone: Europe/Berlin }
 3 │ sla: [{ finish_by: 30m }, { max_duration: 31m }]
   ·                                           ───
 4 │ steps:
   ╰────
  help: write less than that, or leave max_duration out
");
}
