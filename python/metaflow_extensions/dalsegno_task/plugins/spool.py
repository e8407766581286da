"""Updates for Metaflow's metadata service that wait on disk: one file for each run, in the order in which they came.

A file is `RUN.spool`: lines of JSON, a space and the line's number. The daemon sends them and writes into `RUN.sent`
which number was the last that arrived. Whoever changes the file itself holds a lock on it.
"""
import contextlib
import fcntl
import json
import os
import re
import time
from urllib.parse import quote

# So long nobody asks a service that has just failed.
DOWN_SECONDS = 30
# The end of a file in which the last line's number is found.
TAIL_BYTES = 32


class Full(Exception):
    """There is no room for one more."""


class Spool:
    """What waits of one run."""

    def __init__(self, folder, run, bytes_max, entries_max):
        self.folder, self.run = folder, run
        self.bytes_max, self.entries_max = bytes_max, entries_max
        base = os.path.join(folder, quote(run, safe=""))
        self.path, self._sent = base + ".spool", base + ".sent"

    def waits(self):
        """Whether anything does: what comes now has to wait behind it."""
        try:
            return os.stat(self.path).st_size > 0
        except FileNotFoundError:
            return False

    def add(self, update):
        """Keeps it on disk, behind all that waits; raises `Full` or `OSError` when it is not kept."""
        with self._locked() as file:
            size, last = _end(file)
            line = b"%s %d\n" % (json.dumps(update, separators=(",", ":")).encode(), last + 1)
            if last - self._arrived() >= self.entries_max:
                raise Full("%d updates of run %s wait" % (last - self._arrived(), self.run))
            if _total(self.folder) + len(line) > self.bytes_max:
                raise Full("%d bytes of updates wait" % _total(self.folder))
            try:
                # What a process left that died over it was never acknowledged.
                os.ftruncate(file, size)
                os.lseek(file, size, os.SEEK_SET)
                _write(file, line)
                os.fsync(file)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(file, size)
                raise
            if size == 0:
                _sync_folder(self.folder)

    def updates(self, path):
        """Those of the file for this path, also what has arrived meanwhile."""
        sign, found = json.dumps(path).encode(), []
        with contextlib.suppress(FileNotFoundError), open(self.path, "rb") as file:
            for line in file:
                if sign in line and line.endswith(b"\n"):
                    update = json.loads(line.rpartition(b" ")[0])
                    if update["path"] == path:
                        found.append(update)
        return found

    def _arrived(self):
        try:
            with open(self._sent) as file:
                return int(file.read() or 0)
        except (OSError, ValueError):
            return 0

    @contextlib.contextmanager
    def _locked(self):
        """The open file; not one that the daemon has just replaced or removed."""
        while True:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file).st_nlink:
                    yield file
                    return
            finally:
                os.close(file)


def _end(file):
    """Up to where the file is whole, and the number of its last line."""
    size = os.fstat(file).st_size
    tail = os.pread(file, TAIL_BYTES, max(0, size - TAIL_BYTES))
    if size and not tail.endswith(b"\n"):
        size = _last_whole(file, size)
        tail = os.pread(file, TAIL_BYTES, max(0, size - TAIL_BYTES))[:size]
    found = re.search(rb" (\d+)\n\Z", tail)
    return size, int(found.group(1)) if found else 0


def _last_whole(file, size):
    while size:
        begin = max(0, size - 65536)
        newline = os.pread(file, size - begin, begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        size = begin
    return 0


def _total(folder):
    with os.scandir(folder) as entries:
        return sum(_size(entry) for entry in entries if entry.name.endswith((".spool", ".refused")))


def _size(entry):
    try:
        return entry.stat().st_size
    except OSError:
        return 0


def _write(file, data):
    while data:
        data = data[os.write(file, data):]


def _sync_folder(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put(path, text):
    """All or nothing; a note for others that may get lost."""
    part = "%s.%d.part" % (path, os.getpid())
    with contextlib.suppress(OSError):
        with open(part, "w") as file:
            file.write(text)
        os.replace(part, path)


class Down:
    """What processes tell each other of the service: that it failed, until when nobody need ask, what version it has."""

    def __init__(self, folder):
        self._until, self._version = os.path.join(folder, "down"), os.path.join(folder, "version")

    def is_down(self):
        try:
            with open(self._until) as file:
                until = float(file.readline())
        except (OSError, ValueError):
            return False
        # Not beyond what is ever written, whatever became of the clock.
        return 0 < until - time.time() <= DOWN_SECONDS

    def failed(self, why):
        put(self._until, "%f\n%s\n" % (time.time() + DOWN_SECONDS, why))

    def saw(self, version):
        if version and version != self.version(None):
            put(self._version, version)

    def version(self, default):
        try:
            with open(self._version) as file:
                return file.read().strip() or default
        except OSError:
            return default
