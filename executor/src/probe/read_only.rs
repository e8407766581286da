//! Makes all there is read-only in a mount namespace of our own, but for one folder, and hides some of it.

use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_remount,
};
use std::ffi::CStr;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Memory that processes share, without which some libraries do not load.
pub(super) const SHARED_MEMORY: &str = "/dev/shm";

/// How many user namespaces may be made within ours. In one of its own a process could mount what it likes, though
/// never take away what is mounted here.
const USER_NAMESPACES_MAX: &str = "/proc/sys/user/max_user_namespaces";

/// One line of `/proc/self/mountinfo`.
struct Mount {
    place: PathBuf,
    flags: MountFlags,
    is_read_only: bool,
}

/// Call only in a mount namespace that nobody else is in.
pub(super) fn all_but(folder: &Path, hidden: &[PathBuf]) -> io::Result<()> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private)?;
    mount_bind(folder, folder)?;
    if Path::new(SHARED_MEMORY).is_dir() {
        memory(SHARED_MEMORY.as_ref(), c"size=256m,mode=1777")?;
    }
    for place in hidden {
        match std::fs::symlink_metadata(place) {
            Ok(found) if found.is_dir() => memory(place, c"size=4k,mode=500")?,
            Ok(_) => mount_bind("/dev/null", place)?,
            // It has gone since.
            Err(_) => {}
        }
    }
    // Only with our own processes; a container may not allow it.
    let strict = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let _ = mount("proc", "/proc", "proc", strict, None);
    let _ = std::fs::write(USER_NAMESPACES_MAX, "0");
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    for mount in text.lines().filter_map(parse) {
        let stays =
            mount.is_read_only || mount.place == folder || mount.place == Path::new(SHARED_MEMORY);
        if !stays {
            let flags = MountFlags::BIND | MountFlags::RDONLY | mount.flags;
            match mount_remount(&mount.place, flags, "") {
                // Something else is mounted above it, so that nobody gets there.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::INVAL) => {}
                other => other?,
            }
        }
    }
    Ok(())
}

fn memory(place: &Path, options: &CStr) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount("tmpfs", place, "tmpfs", flags, options)?)
}

/// `36 35 98:0 /root /place rw,nosuid … - ext4 /dev/root rw`
fn parse(line: &str) -> Option<Mount> {
    let (left, _) = line.split_once(" - ")?;
    let mut fields = left.split(' ').skip(4);
    let place = unescape(fields.next()?);
    let options = fields.next()?;
    // Those that are set cannot be taken away by us, so they must be named again.
    let flags = options.split(',').filter_map(|it| match it {
        "nosuid" => Some(MountFlags::NOSUID),
        "nodev" => Some(MountFlags::NODEV),
        "noexec" => Some(MountFlags::NOEXEC),
        "noatime" => Some(MountFlags::NOATIME),
        "nodiratime" => Some(MountFlags::NODIRATIME),
        "relatime" => Some(MountFlags::RELATIME),
        _ => None,
    });
    Some(Mount {
        place,
        flags: flags.fold(MountFlags::empty(), |all, it| all | it),
        is_read_only: options.split(',').any(|it| it == "ro"),
    })
}

/// Spaces and the like are written as `\040`.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 8).ok());
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_what_binds_them() {
        let line = r"36 35 98:0 / /mnt/a\040b rw,nosuid,relatime shared:1 - ext4 /dev/root rw";
        let mount = parse(line).expect("a mount");
        assert_eq!(mount.place, Path::new("/mnt/a b"));
        assert_eq!(mount.flags, MountFlags::NOSUID | MountFlags::RELATIME);
        assert!(!mount.is_read_only);
        assert!(parse("nonsense").is_none());
    }
}
