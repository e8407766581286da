"""Waits until the emulator is gone, however it went, and ends the jobs that it left running.

It is told of them on its standard input: `+PID` when a session begins, `-PID` when it is over.
"""

import os
import shutil
import signal
import sys

sessions = set()
for line in sys.stdin:
    pid = int(line[1:])
    if line[0] == "+":
        sessions.add(pid)
    else:
        sessions.discard(pid)
for pid in sessions:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
shutil.rmtree(sys.argv[1], ignore_errors=True)
