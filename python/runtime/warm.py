"""A fork server: imports Metaflow once and gives every task a process of its own: `python -u warm.py SOCKET`.

Prints `ready` when it listens, ends when its stdin closes. One connection is one task; `docs/metaflow.md`,
"What a task runs", has the protocol. A task that a forked process could not run exactly as a fresh interpreter
would (other settings that are read at start, a module beside the flow with a loaded module's name) becomes one.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]
sys.path.append(HERE)

from dalsegno_runtime import server  # noqa: E402

sys.path.remove(HERE)
raise server.serve(sys.argv, os.path.abspath(__file__))
