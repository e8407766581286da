//! A hundred worlds (`cargo xtask sim` plays as many as you like), and that a seed means a world.

use dalsegno_sim::simulate;

#[test]
fn a_hundred_worlds_keep_every_promise() {
    let threads: Vec<_> = (0..2)
        .map(|half| {
            std::thread::spawn(move || {
                (0..50)
                    .map(|it| simulate(2 * it + half))
                    .fold((0, 0), |sum, it| (sum.0 + it.decisions, sum.1 + it.runs))
            })
        })
        .collect();
    let sums = threads
        .into_iter()
        .map(|it| it.join().expect("a world broke"));
    let (decisions, runs) = sums.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    assert!(
        decisions > 35_000 && runs > 2_200,
        "{decisions} decisions, {runs} runs"
    );
}

#[test]
fn the_same_seed_gives_the_same_world() {
    for seed in [7, 11] {
        assert_eq!(simulate(seed).log, simulate(seed).log);
    }
}
