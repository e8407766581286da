//! Stories of runs at Step Functions: the real core and engine, the real executor, an emulator in which the machine is
//! interpreted and its jobs are processes. Needs `DALSEGNO_TEST_AWS_URL`; `cargo xtask test` sets it.

#[path = "sfn/machines.rs"]
mod machines;
#[path = "sfn/runs.rs"]
mod runs;
#[path = "sfn/stage.rs"]
mod stage;
