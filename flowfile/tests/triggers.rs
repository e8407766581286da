//! What the triggers of a file become.

use dalsegno_flowfile::parse;
use dalsegno_scheduler::Span;
use dalsegno_scheduler::spec::{
    Consume, DeadlineAction, DeadlineSpec, Debounce, EventSource, JoinOn, KeyPattern, TriggerSpec,
};

/// The trigger of a flow in which nothing is wrong.
fn trigger(lines: &str) -> TriggerSpec {
    let text = format!(
        "flow: shop\nparams: {{ day: {{ type: string, default: x }} }}\ntriggers:\n{lines}\nsteps: {{ a: {{ run: x }} }}\n"
    );
    let file = parse("flow.yaml", &text).unwrap_or_else(|it| panic!("{}", it.render(false)));
    assert!(file.warnings.is_empty(), "{}", file.warnings.render(false));
    let again: TriggerSpec = serde_json::from_value(
        serde_json::to_value(&file.flow.spec().triggers[0]).expect("a trigger is JSON"),
    )
    .expect("and can be read again");
    assert_eq!(again, file.flow.spec().triggers[0]);
    again
}

#[test]
fn an_object_is_a_bucket_and_a_pattern() {
    let it = trigger(
        "  s3: s3://shop-data/orders/dt=*/_SUCCESS\n  params: { day: '${{ event.match[0] }}' }",
    );
    assert_eq!(it.name.as_str(), "s3 shop-data/orders/dt=*/_SUCCESS");
    assert_eq!(
        it.on.leaves()[0].source,
        EventSource::Object {
            bucket: "shop-data".into(),
            key: KeyPattern("orders/dt=*/_SUCCESS".into()),
        }
    );
    assert!(it.consume.is_each() && it.debounce.is_none());
}

#[test]
fn time_and_data_are_joined_in_a_zone() {
    let it = trigger(
        "  all_of:\n    - { flow: load }\n    - { after: '06:30' }\n  timezone: Europe/Berlin\n  on_deadline: { at: '09:00', do: skip }",
    );
    let EventSource::After { time } = it.on.leaves()[1].source else {
        panic!("{it:?}")
    };
    assert_eq!(time.minutes, 390);
    assert_eq!(it.timezone.as_deref(), Some("Europe/Berlin"));
    let Some(DeadlineSpec { at, action }) = it.on_deadline else {
        panic!("{it:?}")
    };
    assert_eq!((at.minutes, action), (540, DeadlineAction::Skip));
    assert_eq!(it.join_on, JoinOn::Interval);
}

#[test]
fn a_fallback_by_time_beside_an_event_is_fine() {
    let it = trigger(
        "  all_of:\n    - flow: load\n    - any_of: [{ event: go }, { after: '06:30' }]\n  join_on: none",
    );
    assert_eq!(it.on.leaves().len(), 3);
}

#[test]
fn one_expression_joins_all_events_and_times_need_none() {
    let it = trigger(
        "  all_of: [{ event: a }, { event: b, join: event.data.d }, { after: '06:00' }]\n  join_on: event.data.day",
    );
    let joins: Vec<Option<&str>> = it
        .on
        .leaves()
        .iter()
        .map(|it| it.join.as_ref().map(|it| it.source()))
        .collect();
    assert_eq!(joins, [Some("event.data.day"), Some("event.data.d"), None]);
}

#[test]
fn events_that_gather_need_no_interval() {
    let it = trigger("  flow: load\n  consume: { batch: { max: 100, window: 5m } }");
    let (max, window) = (100, Span::from_mins(5));
    assert_eq!(it.consume, Consume::Batch { max, window });
    assert_eq!(it.join_on, JoinOn::None);

    let by_day = trigger(
        "  s3: s3://shop-data/dt=*/*.csv\n  consume: { batch: { max: 10, window: 1m } }\n  join_on: event.match[0]",
    );
    assert_eq!(by_day.join_on, JoinOn::Expr);
}

#[test]
fn a_debounce_says_when_a_batch_begins() {
    let it = trigger(
        "  s3: s3://shop-data/**\n  debounce: { quiet: 30s, max_wait: 10m }\n  consume: { batch: { max: 50 } }",
    );
    let max_wait = Some(Span::from_mins(10));
    let quiet = Span::from_secs(30);
    assert_eq!(it.debounce, Some(Debounce { quiet, max_wait }));
    let window = Span::from_mins(10);
    assert_eq!(it.consume, Consume::Batch { max: 50, window });
}

#[test]
fn the_newest_of_several_may_be_taken() {
    let it = trigger("  all_of: [{ event: a }, { event: b }]\n  consume: latest\n  within: 1h");
    assert_eq!(it.consume, Consume::Latest);
    let calm = trigger("  event: a\n  consume: latest\n  debounce: { quiet: 1m }");
    assert_eq!(calm.consume, Consume::Latest);
}

#[test]
fn a_deadline_without_a_word_alerts() {
    let it = trigger(
        "  dataset: { namespace: warehouse, name: customers }\n  on_deadline: { at: '09:00' }",
    );
    assert_eq!(
        it.on_deadline.map(|it| it.action),
        Some(DeadlineAction::Alert)
    );
}
