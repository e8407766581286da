//! The loop that offers the files of one folder as arrivals.

use super::file::{Look, Named, is_temporary, named};
use super::scan::{Scan, scan};
use super::watch::{Changes, Watch, is_limit};
use crate::asking::{self, Unanswered};
use crate::status::{Condition, Source, SourceKind, SourceState, Sources};
use dalsegno_engine::{EngineHandle, Role};
use dalsegno_scheduler::{Answer, Input};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;

/// How often a folder that is not there is looked for, and one that is there is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Between the two looks in which a file must be the same when nobody tells that it was closed.
const STILL: Duration = Duration::from_secs(1);

/// A file that did not change for so long needs no second look.
const LONG_STILL_NS: i128 = 10_000_000_000;

/// How often a folder that cannot be watched is read.
const SLOW_SCAN: Duration = Duration::from_secs(15);

/// The position is kept this often at most.
const KEEP: Duration = Duration::from_secs(5);

/// Clocks of file systems are coarse, and news of changes takes a while.
const MARGIN_NS: i128 = 10_000_000_000;

/// How many events are with the engine at once, well under its queue.
const AT_ONCE: usize = 500;

/// A file that somebody began holds the position back for so long.
const OPEN_MAX: Duration = Duration::from_secs(24 * 3_600);

/// A folder that stands for a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryConfig {
    pub bucket: String,
    pub path: PathBuf,
    /// What lies there when it is watched for the first time is an arrival too.
    pub existing: bool,
}

/// Offers what arrives until it is told to stop.
pub async fn run(
    config: DirectoryConfig,
    engine: EngineHandle,
    sources: Sources,
    stop: CancellationToken,
) {
    let target = config.path.display().to_string();
    let source = sources.register(SourceKind::Directory, &config.bucket, target, engine.now());
    let folder = Folder {
        config,
        engine,
        source,
        stop,
    };
    while folder.lead().await {
        match folder.identity() {
            Ok(identity) => folder.serve(identity).await,
            Err(condition) => {
                folder.source.set(condition, folder.engine.now());
                folder.pause(LOOK).await;
            }
        }
    }
}

struct Folder {
    config: DirectoryConfig,
    engine: EngineHandle,
    source: Source,
    stop: CancellationToken,
}

/// Device and inode: a folder that was moved away and made anew is another.
type Identity = (u64, u64);

/// What is known of the folder while it is served.
struct Now {
    root: PathBuf,
    watch: Option<Watch>,
    /// Everything that changed before is offered.
    since_ns: i128,
    kept_ns: i128,
    kept_at: Instant,
    /// To be offered.
    ready: BTreeSet<PathBuf>,
    /// Looked at once.
    still: BTreeMap<PathBuf, (Option<Look>, Instant)>,
    /// Begun and not yet closed.
    open: BTreeMap<PathBuf, (i128, Instant)>,
    /// Offered, and not yet passed by the position.
    offered: BTreeMap<PathBuf, Look>,
    scanned_at: Option<Instant>,
}

/// What came of a file.
enum Offered {
    Done(Look),
    Temporary,
    Gone,
    NotHere,
}

impl Folder {
    async fn lead(&self) -> bool {
        if matches!(
            self.engine.role(),
            Role::Follower { .. } | Role::Broken { .. }
        ) {
            let standby = Condition::with(
                SourceState::Standby,
                "another instance is in charge, which watches the folder on its own machine",
            );
            self.source.set(standby, self.engine.now());
        }
        asking::leads(&self.engine, &self.stop).await
    }

    fn identity(&self) -> Result<Identity, Condition> {
        match std::fs::metadata(&self.config.path) {
            Ok(data) if data.is_dir() => Ok((data.dev(), data.ino())),
            Ok(_) => Err(Condition::with(SourceState::Broken, "it is not a folder")
                .cure("correct `path` in dalsegno.toml")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Condition::with(
                SourceState::Missing,
                "the folder does not exist",
            )
            .cure("make it, or correct `path` in dalsegno.toml; it is looked for all the time")),
            Err(error) => Err(Condition::with(SourceState::Denied, error.to_string())
                .cure("let the daemon's user read the folder")),
        }
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Offers what arrives while the folder is there and this instance is in charge.
    async fn serve(&self, identity: Identity) {
        let Ok(root) = self.config.path.canonicalize() else {
            return self.pause(LOOK).await;
        };
        // Watched before it is read, so that no file falls in between.
        let begun_ns = now_ns();
        let of_root = root.clone();
        let placed = tokio::task::spawn_blocking(move || Watch::place(&of_root)).await;
        let (watch, mut condition) = match placed.expect("placing a watch does not panic") {
            Ok(watch) => (Some(watch), Condition::new(SourceState::Ok)),
            Err(error) => (None, unwatched(&error)),
        };
        let Some(since_ns) = self.position(begun_ns).await else {
            return self.pause(LOOK).await;
        };
        let mut now = Now {
            root,
            watch,
            since_ns,
            kept_ns: since_ns,
            kept_at: Instant::now(),
            ready: BTreeSet::new(),
            still: BTreeMap::new(),
            open: BTreeMap::new(),
            offered: BTreeMap::new(),
            scanned_at: None,
        };
        while self.identity().ok() == Some(identity) {
            // Whatever changes from here on is told, or has a later time.
            let taken_ns = now_ns();
            let changes = now.watch.as_ref().map(Watch::take).unwrap_or_default();
            if changes.at_limit {
                (now.watch, now.scanned_at) = (None, None);
                condition = at_limit();
            }
            self.sort(changes, &mut now).await;
            let is_due = now
                .scanned_at
                .is_none_or(|at| now.watch.is_none() && at.elapsed() >= SLOW_SCAN);
            if is_due {
                self.scan(now.root.clone(), &mut now).await;
            }
            look_again(&mut now);
            if !self.offer(&mut now).await {
                return;
            }
            self.source.set(condition.clone(), self.engine.now());
            self.advance(&mut now, taken_ns).await;

            let wait = if now.still.is_empty() { LOOK } else { STILL };
            let more = async {
                match &now.watch {
                    Some(watch) => watch.more().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = more => {}
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => return self.keep(&mut now).await,
                () = asking::leads_no_more(&self.engine) => return,
            }
        }
    }

    /// Since when the folder's changes are not yet offered. `None`: nobody can tell at the moment.
    async fn position(&self, begun_ns: i128) -> Option<i128> {
        let (name, store) = (self.source.label(), self.engine.store());
        let result = match store.position(&name).await {
            // What cannot be read is rather offered again than never.
            Ok(Some(text)) => Ok(text.parse().unwrap_or(0)),
            Ok(None) => {
                let since = if self.config.existing { 0 } else { begun_ns };
                let text = since.to_string();
                let put = store.put_position(&name, &text, self.engine.now());
                put.await.map(|()| since)
            }
            Err(error) => Err(error),
        };
        let error = match result {
            Ok(since) => return Some(since),
            Err(error) => error,
        };
        let held = Condition::with(
            SourceState::Held,
            format!("how far the folder was read is not known: {error}"),
        )
        .cure("nothing is lost: files wait in the folder; look at the database");
        self.source.set(held, self.engine.now());
        None
    }

    /// Finds what changed below a folder.
    async fn scan(&self, folder: PathBuf, now: &mut Now) {
        let is_root = folder == now.root;
        // A folder that was moved here has files of any age.
        let since = if is_root { now.since_ns } else { 0 };
        let root = now.root.clone();
        let found = tokio::task::spawn_blocking(move || scan(&root, &folder, since)).await;
        let Ok(Scan {
            files,
            passed_over,
            unread,
        }) = found.expect("a scan does not panic")
        else {
            // It is gone; if it is the root, that is seen at the next look.
            return;
        };
        if is_root {
            now.scanned_at = Some(Instant::now());
            let text = unread.first().map(|first| {
                let count = unread.len();
                format!("{count} folders in it cannot be read, such as {first}")
            });
            self.source.note("unread", text);
        }
        self.pass_over(passed_over);
        let at_ns = now_ns();
        for (path, look) in files {
            if now.offered.get(&path) == Some(&look) || now.ready.contains(&path) {
                continue;
            }
            if at_ns - look.changed_ns > LONG_STILL_NS {
                now.ready.insert(path);
            } else {
                let first = (Some(look), Instant::now());
                now.still.entry(path).or_insert(first);
            }
        }
    }

    fn pass_over(&self, more: u64) {
        self.source.count(|it| it.passed_over += more);
    }

    /// Takes up what was told.
    async fn sort(&self, changes: Changes, now: &mut Now) {
        if changes.unknown {
            now.scanned_at = None;
        }
        for path in &changes.gone {
            now.open.remove(path);
            now.still.remove(path);
            now.ready.remove(path);
        }
        let mut folders = changes.folders;
        for path in changes.begun {
            match Look::at(&path) {
                // A second name of a file that exists is whole at once, and nobody closes it.
                Ok(Some(look)) if look.is_linked() => {
                    now.ready.insert(path);
                }
                Ok(Some(look)) if !changes.arrived.contains(&path) => {
                    let begun = (look.changed_ns, Instant::now());
                    now.open.entry(path).or_insert(begun);
                }
                _ => {}
            }
        }
        for path in changes.arrived {
            now.open.remove(&path);
            match std::fs::symlink_metadata(&path) {
                Ok(data) if data.is_dir() => {
                    folders.insert(path);
                }
                Ok(_) => {
                    now.still.remove(&path);
                    now.ready.insert(path);
                }
                // It is gone again.
                Err(_) => {}
            }
        }
        for path in changes.perhaps {
            let first = (Look::at(&path).ok().flatten(), Instant::now());
            now.still.entry(path).or_insert(first);
        }
        // Files may have come before their folder was watched.
        for folder in folders {
            let is_ours = !is_temporary(folder.strip_prefix(&now.root).unwrap_or(&folder));
            if is_ours {
                self.scan(folder, now).await;
            }
        }
    }

    /// Gives the engine all that is ready; false when it takes nothing any more.
    async fn offer(&self, now: &mut Now) -> bool {
        let ready: Vec<PathBuf> = now.ready.iter().cloned().collect();
        for part in ready.chunks(AT_ONCE) {
            let asked = part.iter().map(|path| self.offer_one(&now.root, path));
            let answers = join_all(asked).await;
            let mut temporary = 0;
            for (path, offered) in part.iter().zip(answers) {
                match offered {
                    Offered::Done(look) => {
                        now.offered.insert(path.clone(), look);
                    }
                    Offered::Temporary => temporary += 1,
                    Offered::Gone => {}
                    Offered::NotHere => return false,
                }
                now.ready.remove(path);
            }
            self.pass_over(temporary);
        }
        true
    }

    async fn offer_one(&self, root: &Path, path: &Path) -> Offered {
        let key = named(root, path);
        if key == Named::Temporary {
            return Offered::Temporary;
        }
        let Ok(Some(look)) = Look::at(path) else {
            return Offered::Gone;
        };
        self.source.count(|it| it.deliveries += 1);
        let event = match key {
            Named::Key(key) => look.arrival(&self.config.bucket, key, path).event(),
            Named::Unreadable(_) | Named::Temporary => {
                Err("its name is not UTF-8, and keys of objects are; rename it".into())
            }
        };
        let asked = match event {
            Ok(event) => self.ask(Input::Event(event)).await,
            Err(reason) => Err(Unanswered::Rejected(reason)),
        };
        match asked {
            Ok(answer) => {
                let duplicate = matches!(
                    answer,
                    Answer::Event {
                        duplicate: true,
                        ..
                    }
                );
                self.source.accepted(duplicate, self.engine.now());
                Offered::Done(look)
            }
            Err(Unanswered::NotHere) => Offered::NotHere,
            Err(Unanswered::Rejected(reason)) => self.refuse(path, look, &reason).await,
        }
    }

    /// Puts on record that a file is no arrival.
    async fn refuse(&self, path: &Path, look: Look, reason: &str) -> Offered {
        let shown = path.to_string_lossy();
        let id = format!("{}/{shown}", look.version());
        let refusal = asking::refusal(&self.engine, self.source.label(), id, reason, &shown);
        match self.ask(refusal).await {
            Err(Unanswered::NotHere) => Offered::NotHere,
            Ok(_) | Err(Unanswered::Rejected(_)) => {
                self.source.count(|it| it.refused += 1);
                let text = format!("{shown} was refused: {reason}");
                self.source.note("refused", Some(text));
                Offered::Done(look)
            }
        }
    }

    async fn ask(&self, input: Input) -> Result<Answer, Unanswered> {
        let held = |why: Option<&str>| {
            if let Some(why) = why {
                let held = Condition::with(SourceState::Held, format!("arrivals are held: {why}"))
                    .cure("nothing is lost: they are tried again");
                self.source.set(held, self.engine.now());
            }
        };
        asking::ask(&self.engine, &self.stop, input, held).await
    }

    /// Moves the position up to what is neither ready, nor looked at, nor open.
    async fn advance(&self, now: &mut Now, taken_ns: i128) {
        now.open.retain(|_, (_, at)| at.elapsed() < OPEN_MAX);
        if !now.ready.is_empty() || !now.still.is_empty() || now.scanned_at.is_none() {
            return;
        }
        let oldest = now.open.values().map(|it| it.0).min().unwrap_or(taken_ns);
        let position = oldest.min(taken_ns) - MARGIN_NS;
        if position > now.since_ns {
            now.since_ns = position;
            now.offered.retain(|_, look| look.changed_ns >= position);
        }
        if now.kept_at.elapsed() >= KEEP && now.since_ns - now.kept_ns > MARGIN_NS {
            self.keep(now).await;
        }
    }

    /// Keeps the position. If that fails, more is offered again after a restart, and recognised.
    async fn keep(&self, now: &mut Now) {
        now.kept_at = Instant::now();
        if now.since_ns == now.kept_ns {
            return;
        }
        let (name, text) = (self.source.label(), now.since_ns.to_string());
        let kept = self
            .engine
            .store()
            .put_position(&name, &text, self.engine.now());
        if kept.await.is_ok() {
            now.kept_ns = now.since_ns;
        }
    }
}

/// Takes those for whole that are the same at a second look.
fn look_again(now: &mut Now) {
    let due: Vec<PathBuf> = now
        .still
        .iter()
        .filter(|(_, (_, at))| at.elapsed() >= STILL)
        .map(|(path, _)| path.clone())
        .collect();
    for path in due {
        let Some((before, _)) = now.still.remove(&path) else {
            continue;
        };
        match Look::at(&path) {
            Ok(Some(look)) if before == Some(look) => {
                now.ready.insert(path);
            }
            Ok(Some(look)) => {
                now.still.insert(path, (Some(look), Instant::now()));
            }
            // Gone, or no file any more.
            Ok(None) | Err(_) => {}
        }
    }
}

fn now_ns() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |it| it.as_nanos() as i128)
}

fn unwatched(error: &notify::Error) -> Condition {
    if is_limit(error) {
        return at_limit();
    }
    Condition::with(
        SourceState::Broken,
        format!(
            "it cannot be watched ({error}), so it is read every {} s instead",
            SLOW_SCAN.as_secs()
        ),
    )
    .cure("look at the folder's rights and file system, then restart the daemon")
}

fn at_limit() -> Condition {
    Condition::with(
        SourceState::Broken,
        format!(
            "the system watches no more folders, so it is read every {} s instead",
            SLOW_SCAN.as_secs()
        ),
    )
    .cure(
        "raise fs.inotify.max_user_watches and fs.inotify.max_user_instances (sysctl), then restart the daemon",
    )
}
