//! How fast commits are, beside what the disk and the database can do at best.
//!
//! `cargo run --release -p dalsegno-store --example commit_rate -- DIR [postgres://…]`
//!
//! The PostgreSQL database must be empty; it is left full of rows.

use dalsegno_scheduler::row::{
    AttemptRow, AttemptState, Changes, JournalEntry, Retries, RunRow, RunState, TaskRow, TaskState,
};
use dalsegno_scheduler::{AttemptId, RunId, Span, TaskId, Timestamp};
use dalsegno_store::{Durability, Lease, PostgresStore, SqliteStore, Store};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SMALL: usize = 500;
const BATCHES: usize = 100;
const BATCH: u64 = 500;
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let folder = args
        .next()
        .expect("the first argument is a folder on the disk to measure");
    let folder = Path::new(&folder);

    raw_fsync(&folder.join("raw.log"));
    let mut raw = SqliteConnection::connect(&format!(
        "sqlite://{}?mode=rwc",
        folder.join("raw.db").display()
    ))
    .await
    .expect("opens");
    for pragma in ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"] {
        sqlx::query(pragma).execute(&mut raw).await.expect("obeys");
    }
    sqlx::query(RAW_TABLE)
        .execute(&mut raw)
        .await
        .expect("creates");
    let mut times = Times::new("SQLite, raw insert of one row");
    for id in 0..SMALL {
        let begun = Instant::now();
        sqlx::query("INSERT INTO raw VALUES ($1, 1, 1, 'load', 'ready', '{}')")
            .bind(id as i64)
            .execute(&mut raw)
            .await
            .expect("inserts");
        times.add(begun);
    }
    times.print();
    let begun = Instant::now();
    for batch in 0..BATCHES as u64 {
        let sql = raw_batch(1_000_000 + batch * 2 * BATCH, 2 * BATCH);
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut raw)
            .await
            .expect("inserts");
    }
    rate("SQLite, raw batches", begun, 2);
    let store = SqliteStore::open(&folder.join("state.db"), Durability::Full)
        .await
        .expect("opens");
    measure("SQLite", &store).await;

    if let Some(url) = args.next() {
        let mut raw = PgConnection::connect(&url).await.expect("connects");
        sqlx::query(RAW_TABLE)
            .execute(&mut raw)
            .await
            .expect("creates");
        let mut times = Times::new("PostgreSQL, raw insert of one row");
        for id in 0..SMALL {
            let begun = Instant::now();
            sqlx::query("INSERT INTO raw VALUES ($1, 1, 1, 'load', 'ready', '{}')")
                .bind(id as i64)
                .execute(&mut raw)
                .await
                .expect("inserts");
            times.add(begun);
        }
        times.print();
        let begun = Instant::now();
        for batch in 0..BATCHES as u64 {
            let sql = raw_batch(1_000_000 + batch * 2 * BATCH, 2 * BATCH);
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut raw)
                .await
                .expect("inserts");
        }
        rate("PostgreSQL, raw batches", begun, 2);
        let store = PostgresStore::open(&url).await.expect("connects");
        measure("PostgreSQL", &store).await;
    }
}

const RAW_TABLE: &str = "CREATE TABLE raw (id BIGINT PRIMARY KEY, run BIGINT, at BIGINT, step TEXT, state TEXT, body TEXT)";

fn raw_batch(first: u64, rows: u64) -> String {
    let body = journal(1, 1).body;
    let rows: Vec<String> = (first..first + rows)
        .map(|id| format!("({id}, {id}, 1800000000000000, 'load', 'running', '{body}')"))
        .collect();
    format!("INSERT INTO raw VALUES {}", rows.join(", "))
}

fn raw_fsync(file: &Path) {
    let mut log = std::fs::File::create(file).expect("creates");
    let mut times = Times::new("disk, append of 4 KiB and fdatasync");
    for _ in 0..SMALL {
        let begun = Instant::now();
        log.write_all(&[7; 4_096]).expect("writes");
        log.sync_data().expect("syncs");
        times.add(begun);
    }
    times.print();
}

async fn measure(name: &str, store: &dyn Store) {
    store.migrate().await.expect("migrates");
    let lease = store
        .take_lease("bench", NOW, Span::from_secs(9_999))
        .await
        .expect("answers")
        .expect("free");
    let mut seq = 0;
    small(name, store, &lease, &mut seq).await;
    batches(name, store, &lease, &mut seq).await;
    load(name, store, &lease, &mut seq).await;
}

/// One task ends and the next begins: two tasks, one attempt, three journal entries.
async fn small(name: &str, store: &dyn Store, lease: &Lease, seq: &mut u64) {
    let mut times = Times::new(&format!("{name}, small commit"));
    for step in 0..SMALL as u32 {
        let run = 1 + u64::from(step / 40);
        let changes = Changes {
            tasks: vec![
                Arc::new(task(run, step, TaskState::Succeeded)),
                Arc::new(task(run, step + 1, TaskState::Submitting)),
            ],
            attempts: vec![attempt(run, step)],
            journal: (0..3).map(|_| next_journal(seq, run)).collect(),
            ..Changes::default()
        };
        let begun = Instant::now();
        store.commit(lease, &changes).await.expect("commits");
        times.add(begun);
    }
    times.print();
}

/// Batches of transitions: of each task one row, of each transition one journal entry.
async fn batches(name: &str, store: &dyn Store, lease: &Lease, seq: &mut u64) {
    let states = [
        TaskState::Ready,
        TaskState::Submitting,
        TaskState::Running,
        TaskState::Succeeded,
    ];
    let mut spent = Duration::ZERO;
    for batch in 0..BATCHES as u64 {
        let first = 1_000 + batch / 4 * BATCH;
        let ids = || first..first + BATCH;
        let changes = Changes {
            tasks: ids()
                .map(|id| Arc::new(task(id, 0, states[(batch % 4) as usize])))
                .collect(),
            journal: ids().map(|id| next_journal(seq, id)).collect(),
            ..Changes::default()
        };
        let begun = Instant::now();
        store.commit(lease, &changes).await.expect("commits");
        spent += begun.elapsed();
    }
    let begun = Instant::now().checked_sub(spent).expect("a recent time");
    rate(&format!("{name}, batches of {BATCH}"), begun, 2);
}

async fn load(name: &str, store: &dyn Store, lease: &Lease, _seq: &mut u64) {
    for batch in 0..20_u64 {
        let ids = || 100_000 + batch * 500..100_000 + batch * 500 + 500;
        let changes = Changes {
            runs: ids().map(|id| Arc::new(run(id))).collect(),
            tasks: ids()
                .flat_map(|id| (0..4).map(move |step| Arc::new(task(id, step, TaskState::Ready))))
                .collect(),
            ..Changes::default()
        };
        store.commit(lease, &changes).await.expect("commits");
    }
    let begun = Instant::now();
    let recovered = store.load().await.expect("loads");
    println!(
        "{:44} {:8.1} ms   {} runs, {} tasks",
        format!("{name}, load"),
        begun.elapsed().as_secs_f64() * 1e3,
        recovered.runs.len(),
        recovered.tasks.len()
    );
}

fn rate(name: &str, begun: Instant, rows: u64) {
    let spent = begun.elapsed().as_secs_f64();
    let transitions = BATCHES as f64 * BATCH as f64;
    println!(
        "{name:44} {:8.0} transitions/s   {:8.0} rows/s   {:6.2} ms a batch",
        transitions / spent,
        transitions * rows as f64 / spent,
        spent * 1e3 / BATCHES as f64
    );
}

struct Times {
    name: String,
    all: Vec<Duration>,
}

impl Times {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            all: vec![],
        }
    }

    fn add(&mut self, begun: Instant) {
        self.all.push(begun.elapsed());
    }

    fn print(mut self) {
        self.all.sort();
        let at = |part: f64| self.all[(self.all.len() as f64 * part) as usize].as_secs_f64() * 1e3;
        println!(
            "{:44} p50 {:6.3} ms   p90 {:6.3} ms   p99 {:6.3} ms",
            self.name,
            at(0.5),
            at(0.9),
            at(0.99)
        );
    }
}

fn id(step: u32) -> TaskId {
    TaskId {
        step: format!("step_{step}").as_str().into(),
        path: Default::default(),
        iteration: 0,
    }
}

fn task(run: u64, step: u32, state: TaskState) -> TaskRow {
    TaskRow {
        run: RunId(run),
        task: id(step),
        state,
        attempt: 1,
        attempts_before: 0,
        attempts_before_that: 0,
        retries: Retries::default(),
        reason: None,
        ready_at: NOW,
        submitted_at: Some(NOW),
        started_at: Some(NOW),
        finished_at: None,
        retry_at: None,
        deadline: None,
        external_id: Some("4711".into()),
        log: None,
        array: None,
        memory_bytes: None,
        outputs: None,
        chosen: None,
        splits: None,
    }
}

fn attempt(run: u64, step: u32) -> AttemptRow {
    AttemptRow {
        id: AttemptId {
            run: RunId(run),
            task: id(step),
            number: 1,
        },
        state: AttemptState::Succeeded,
        reason: None,
        class: None,
        rule: None,
        external_id: Some("4711".into()),
        log: None,
        memory_bytes: None,
        submitted_at: NOW,
        started_at: Some(NOW),
        finished_at: NOW,
    }
}

fn run(id: u64) -> RunRow {
    RunRow {
        parent: None,
        backfill: None,
        id: RunId(id),
        flow: "report".into(),
        version: "0123456789abcdef".into(),
        state: RunState::Running,
        generation: 1,
        params: Arc::default(),
        occurrence: format!("manual:{id}"),
        trigger: "manual".into(),
        interval: Default::default(),
        priority: 0,
        events: vec![],
        event_data: Arc::default(),
        reason: None,
        ending: None,
        queued_at: NOW,
        created_at: NOW,
        started_at: Some(NOW),
        finished_at: None,
        deadline: None,
        origin: None,
        origin_created_at: None,
    }
}

fn journal(seq: u64, run: u64) -> JournalEntry {
    JournalEntry {
        seq,
        at: NOW,
        flow: "report".into(),
        run: Some(RunId(run)),
        kind: "task.submitting".into(),
        body: format!(
            r#"{{"run":{run},"task":"step_1","state":"submitting","attempt":1,"retries":{{"user":0,"infrastructure":0}},"ready_at":1800000000000000,"submitted_at":1800000000000000}}"#
        ),
    }
}

fn next_journal(seq: &mut u64, run: u64) -> JournalEntry {
    *seq += 1;
    journal(*seq, run)
}
