//! One keeper per directory: the lock, and the socket.

use super::protocol::SOCKET;
use super::serve::KeeperError;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// Held as long as the keeper lives.
pub(crate) struct Reserved {
    dir: OwnedFd,
    _lock: File,
}

/// The path of the socket in an open directory. Socket addresses are limited to 107 bytes, directories are not.
pub(crate) fn socket_path(dir: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()).into()
}

pub(crate) fn open_dir(dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(dir, flags, Mode::empty())?)
}

impl Reserved {
    pub(crate) fn take(dir: &Path) -> Result<Self, KeeperError> {
        let failed = |source| KeeperError::Directory {
            dir: dir.to_owned(),
            source,
        };
        let mut options = File::options();
        let mut lock = options
            .create(true)
            .append(true)
            .open(dir.join("lock"))
            .map_err(failed)?;
        let open = open_dir(dir).map_err(failed)?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            // One that is just exiting has closed its socket already; the lock follows in a moment.
            if std::os::unix::net::UnixStream::connect(socket_path(&open)).is_ok() {
                return Err(KeeperError::AlreadyRuns {
                    dir: dir.to_owned(),
                });
            }
            rustix::fs::flock(&lock, FlockOperation::LockExclusive)
                .map_err(|it| failed(it.into()))?;
        }
        // For people; the lock is what counts.
        lock.set_len(0).map_err(failed)?;
        writeln!(lock, "{}", std::process::id()).map_err(failed)?;
        Ok(Self {
            dir: open,
            _lock: lock,
        })
    }

    pub(crate) fn listen(&self) -> io::Result<UnixListener> {
        let path = socket_path(&self.dir);
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        // Whoever can speak to the keeper can run commands as its user.
        rustix::fs::chmod(&path, Mode::RUSR | Mode::WUSR)?;
        Ok(listener)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(socket_path(&self.dir));
    }
}
