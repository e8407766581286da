//! The graph as a picture: what stands where, and that no flow is too odd to draw.

use dalsegno_scheduler::Flow;
use dalsegno_scheduler::spec::FlowSpec;
use dalsegno_web::dag::{Card, Layout, Look, Paint, draw};
use serde_json::{Value, json};

fn flow(scopes: Value, steps: &[(&str, u16, &[&str])]) -> Flow {
    let steps: Vec<Value> = steps
        .iter()
        .map(|(name, scope, after)| json!({"name": name, "scope": scope, "after": after, "run": {"shell": "true"}}))
        .collect();
    let spec = json!({"name": "f", "scopes": scopes, "steps": steps});
    let spec: FlowSpec = serde_json::from_value(spec).expect("a flow");
    Flow::new(spec).expect("a valid flow")
}

fn each(name: &str, parent: u16, after: &[&str]) -> Value {
    json!({"name": name, "parent": parent, "after": after, "items": {"template": [1, 2]}})
}

#[test]
fn a_flow_with_a_block_is_drawn_with_a_frame_around_it() {
    let scopes = json!([
        each("train", 0, &["extract"]),
        each("region", 0, &["extract"])
    ]);
    let flow = flow(
        scopes,
        &[
            ("extract", 0, &[]),
            ("train", 1, &[]),
            ("clean", 2, &[]),
            ("fit", 2, &["clean"]),
            ("report", 0, &["train", "region"]),
        ],
    );
    let card = |card: &Card| Look {
        state: if card.each { "running" } else { "succeeded" },
        line: if card.each {
            "3 of 10 · 1 failed".into()
        } else {
            "succeeded · 2s".into()
        },
        link: Some(format!("/runs/1?task={}", card.steps[0])),
        parts: if card.each {
            vec![("succeeded", 300), ("failed", 100)]
        } else {
            Vec::new()
        },
        selected: false,
        child: None,
    };
    let frame = |_: &str| Look {
        state: "open",
        line: "2 items".into(),
        ..Look::default()
    };
    let svg = draw(
        &Layout::of(&flow),
        &Paint {
            card: &card,
            frame: &frame,
        },
    );
    insta::assert_snapshot!(svg.replace("><", ">\n<"));
}

#[test]
fn every_edge_goes_from_left_to_right() {
    let flow = flow(
        json!([each("outer", 0, &["a"]), each("inner", 1, &["b"])]),
        &[
            ("a", 0, &[]),
            ("b", 1, &[]),
            ("c", 2, &[]),
            ("d", 2, &["c"]),
            ("e", 1, &["inner"]),
            ("z", 0, &["outer", "a"]),
        ],
    );
    let layout = Layout::of(&flow);
    assert_eq!(layout.frames.len(), 2);
    for edge in &layout.edges {
        let numbers: Vec<f64> = edge
            .path
            .split(|it: char| !(it.is_ascii_digit() || it == '.' || it == '-'))
            .filter_map(|it| it.parse().ok())
            .collect();
        let (first, last) = (
            numbers[0],
            edge.path.rsplit(['H', ' ']).next().expect("an end"),
        );
        let last: f64 = last
            .split(',')
            .next()
            .and_then(|it| it.parse().ok())
            .expect("a number");
        assert!(first < last, "{} to {}: {}", edge.from, edge.to, edge.path);
    }
}

#[test]
fn many_parallel_steps_become_one_card() {
    let names: Vec<String> = (0..20).map(|it| format!("part_{it}")).collect();
    let mut steps: Vec<(&str, u16, &[&str])> = vec![("first", 0, &[])];
    steps.extend(names.iter().map(|it| (it.as_str(), 0, &["first"][..])));
    let layout = Layout::of(&flow(json!([]), &steps));
    assert_eq!((layout.cards.len(), layout.edges.len()), (2, 1));
    assert_eq!(layout.cards[1].steps.len(), 20);
}

#[test]
fn a_thousand_steps_are_laid_out_without_waiting() {
    let names: Vec<String> = (0..1_000).map(|it| format!("s{it}")).collect();
    let after: Vec<[&str; 1]> = (0..1_000)
        .map(|it: usize| [names[it.saturating_sub(3)].as_str()])
        .collect();
    let steps: Vec<(&str, u16, &[&str])> = (0..1_000)
        .map(|it| {
            (
                names[it].as_str(),
                0,
                if it < 3 { &[][..] } else { &after[it][..] },
            )
        })
        .collect();
    let layout = Layout::of(&flow(json!([]), &steps));
    assert_eq!(layout.cards.len(), 1_000);
}
