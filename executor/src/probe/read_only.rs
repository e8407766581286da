//! Makes all there is read-only in a mount namespace of our own, but for one folder.

use rustix::mount::{MountFlags, MountPropagationFlags, mount_bind, mount_change, mount_remount};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Of the kernel's own file systems it decides itself what may be written, and by whom.
const OF_THE_KERNEL: [&str; 9] = [
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "mqueue",
    "securityfs",
    "debugfs",
    "tracefs",
];

/// Memory that processes share, without which some libraries do not load.
const SHARED_MEMORY: &str = "/dev/shm";

/// One line of `/proc/self/mountinfo`.
struct Mount {
    place: PathBuf,
    flags: MountFlags,
    is_read_only: bool,
    kind: String,
}

/// Call only in a mount namespace that nobody else is in.
pub(super) fn all_but(folder: &Path) -> io::Result<()> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private)?;
    mount_bind(folder, folder)?;
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    for mount in text.lines().filter_map(parse) {
        let stays = mount.is_read_only
            || mount.place == folder
            || mount.place == Path::new(SHARED_MEMORY)
            || OF_THE_KERNEL.contains(&mount.kind.as_str());
        if !stays {
            let flags = MountFlags::BIND | MountFlags::RDONLY | mount.flags;
            mount_remount(&mount.place, flags, "")?;
        }
    }
    Ok(())
}

/// `36 35 98:0 /root /place rw,nosuid … - ext4 /dev/root rw`
fn parse(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
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
        kind: right.split(' ').next()?.to_owned(),
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
        assert!(!mount.is_read_only && mount.kind == "ext4");
        assert!(parse("nonsense").is_none());
    }
}
