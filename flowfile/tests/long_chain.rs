//! A flow file as long as the format allows must not exhaust the stack.

use dalsegno_flowfile::parse;

#[test]
fn a_chain_of_thousands_of_steps_is_read() {
    let mut text = String::from("flow: long\nsteps:\n  s0: { run: x }\n");
    for step in 1..8_000 {
        let before = step - 1;
        text.push_str(&format!("  s{step}: {{ run: x, after: s{before} }}\n"));
    }
    let file = parse("flow.yaml", &text).unwrap_or_else(|it| panic!("{it}"));
    assert_eq!(file.flow.spec().steps.len(), 8_000);
}
