//! Being told what changes in a folder.

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{Config, ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Whether the system says when a writer closes a file. Elsewhere a file counts when it stays the same for a while.
const TELLS_CLOSE: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// What changed since it was asked for last; each path once, however often it changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Files that were closed after writing, and whatever was moved here.
    pub(super) arrived: BTreeSet<PathBuf>,
    /// Files that somebody began.
    pub(super) begun: BTreeSet<PathBuf>,
    /// Files that may be whole.
    pub(super) perhaps: BTreeSet<PathBuf>,
    pub(super) folders: BTreeSet<PathBuf>,
    pub(super) gone: BTreeSet<PathBuf>,
    /// Changes were lost: only a scan tells.
    pub(super) unknown: bool,
    /// The system watches no more folders.
    pub(super) at_limit: bool,
}

/// A folder that is watched until this value goes away.
pub(super) struct Watch {
    shared: Arc<Shared>,
    _watcher: RecommendedWatcher,
}

#[derive(Default)]
struct Shared {
    changes: Mutex<Changes>,
    more: Notify,
}

impl Watch {
    /// Watches a folder and all below it.
    ///
    /// # Errors
    /// When the system does not let us.
    pub(super) fn place(root: &Path) -> notify::Result<Self> {
        let shared = Arc::new(Shared::default());
        let told = shared.clone();
        let mut watcher = RecommendedWatcher::new(
            move |event| {
                let mut changes = told.changes.lock().unwrap_or_else(PoisonError::into_inner);
                if changes.add(event) {
                    told.more.notify_one();
                }
            },
            Config::default().with_follow_symlinks(false),
        )?;
        watcher.watch(root, RecursiveMode::Recursive)?;
        Ok(Self {
            shared,
            _watcher: watcher,
        })
    }

    /// Waits until there is something to take.
    pub(super) async fn more(&self) {
        self.shared.more.notified().await;
    }

    pub(super) fn take(&self) -> Changes {
        let changes = self.shared.changes.lock();
        std::mem::take(&mut changes.unwrap_or_else(PoisonError::into_inner))
    }
}

impl Changes {
    /// Gives whether it says anything.
    fn add(&mut self, event: notify::Result<Event>) -> bool {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                match is_limit(&error) {
                    true => self.at_limit = true,
                    false => self.unknown = true,
                }
                return true;
            }
        };
        if event.need_rescan() {
            self.unknown = true;
            return true;
        }
        let begun = match TELLS_CLOSE {
            true => &mut self.begun,
            false => &mut self.perhaps,
        };
        let of_kind = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Any)) => {
                &mut self.arrived
            }
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => {
                &mut self.gone
            }
            EventKind::Create(CreateKind::Folder) => &mut self.folders,
            EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => {
                begun
            }
            EventKind::Any | EventKind::Access(_) | EventKind::Modify(_) | EventKind::Other => {
                return false;
            }
        };
        of_kind.extend(event.paths);
        true
    }
}

/// Whether the system has no watches left.
pub(super) fn is_limit(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::MaxFilesWatch => true,
        // ENOSPC, EMFILE, ENFILE: watches, instances and open files are used up.
        ErrorKind::Io(error) => matches!(error.raw_os_error(), Some(28 | 24 | 23)),
        _ => false,
    }
}
