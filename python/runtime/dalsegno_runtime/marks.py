"""The mark by which the keeper knows whose a process is, where the kernel shows it: in the environment it began with.

A forked process has its server's there, and so have the processes that it forks. It leaves room for an attempt's.
"""
import os

NAME = b"DALSEGNO_KEEPER="
# Of /proc/self/stat, counted from the field after the program's name.
_ENV_START = 47


def put(environment):
    """Writes the mark of this environment over the server's. Failing to is no reason not to run."""
    mark = environment.get(NAME[:-1].decode())
    if mark is None:
        return
    try:
        _overwrite(NAME + os.fsencode(mark))
    except (OSError, ValueError, IndexError):
        pass


def _overwrite(variable):
    with open("/proc/self/environ", "rb") as file:
        shown = file.read()
    start = 0 if shown.startswith(NAME) else shown.index(b"\0" + NAME) + 1
    room = shown.index(b"\0", start) - start
    if len(variable) > room:
        return
    with open("/proc/self/stat", "rb") as file:
        address = int(file.read().rpartition(b")")[2].split()[_ENV_START])
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(address + start)
        memory.write(variable.ljust(room, b"\0"))
