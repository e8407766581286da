"""What a task sees of its process, and what happens at its very end."""
import atexit
import concurrent.futures
import inspect
import io
import json
import locale
import logging
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings

import helper_beside
from metaflow import FlowSpec, current, step

print(json.dumps({"printed": "at import"}))


class Carrier:
    """A class of the flow file, to be pickled."""

    def __init__(self, value):
        self.value = value


unclosed = open(os.path.join(os.getcwd(), "unclosed.%s.txt" % os.environ.get("METAFLOW_RUN_ID", "none")), "w")
unclosed.write("written without being closed")
temporary = tempfile.NamedTemporaryFile()
atexit.register(print, "atexit ran")


def double(number):
    return number * 2


def names_of_signals():
    special = {signal.SIG_DFL: "default", signal.SIG_IGN: "ignored", signal.default_int_handler: "python"}
    return {one.name: special.get(signal.getsignal(one), "other") for one in signal.valid_signals() if hasattr(one, "name")}


def descriptors():
    """What else is open, besides this module's own files."""
    found = []
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []:
        try:
            path = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue
        if int(name) > 2 and "unclosed" not in path and not path.startswith((tempfile.gettempdir() + "/tmp", "/proc")):
            found.append(path)
    return sorted(found)


class Surroundings(FlowSpec):
    @step
    def start(self):
        self.process = {
            "argv": [word for word in sys.argv if "root" not in word],
            "orig_argv": [word for word in getattr(sys, "orig_argv", []) if "root" not in word][1:3],
            "main": sorted(key for key in vars(sys.modules["__main__"]) if key.startswith("__")),
            "main file": sys.modules["__main__"].__file__,
            "main spec": repr(sys.modules["__main__"].__spec__),
            "main loader": type(sys.modules["__main__"].__loader__).__name__,
            "path": sys.path,
            "cwd": os.path.basename(os.getcwd()),
            "umask": os.umask(0o022),
            "signals": names_of_signals(),
            "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
            "stdin": sys.stdin.read(),
            "environment": {k: v for k, v in os.environ.items() if "root" not in v},
            "descriptors": descriptors(),
            "flags": tuple(sys.flags),
            "limits": sys.getrecursionlimit(),
            "streams": [
                (one.name, one.mode, one.encoding, one.errors, one.line_buffering, one.write_through, type(one.buffer).__name__,
                 one is standard, one.seekable())
                for one, standard in ((sys.stdin, sys.__stdin__), (sys.stdout, sys.__stdout__), (sys.stderr, sys.__stderr__))
            ],
            "locale": [locale.setlocale(locale.LC_ALL, None), locale.getpreferredencoding(), sys.getfilesystemencoding()],
            "threads": [one.name for one in threading.enumerate()],
            "main thread": threading.current_thread() is threading.main_thread(),
            "gc": __import__("gc").isenabled(),
            "logging": [logging.root.level, len(logging.root.handlers)],
            "warnings": len(warnings.filters) > 0,
            "leader": os.getpgid(0) == os.getpid(),
            "zone": time.tzname,
            "source": inspect.getsource(double),
            "helper": helper_beside.WORD,
            "runner in sys.modules": sorted(name for name in sys.modules if "dalsegno_runtime" in name or name == "task"),
            "main group": multiprocessing.current_process().name,
            "cpu": time.process_time() < 20,
            "run": current.pathspec,
        }
        import metaflow.client.core

        self.process["one client"] = metaflow.client.core.Run is metaflow.Run
        self.carrier = Carrier(5)
        self.random = None
        print("random", "-" if random.random() is None else "seeded")
        self.next(self.children)

    @step
    def children(self):
        spawn = multiprocessing.get_context("spawn")
        with spawn.Pool(1) as pool:
            self.spawned = pool.map(double, [1, 2])
            pool.close()
            pool.join()
        fork = multiprocessing.get_context("fork")
        with fork.Pool(2) as pool:
            self.forked = pool.map(double, [3, 4])
            pool.close()
            pool.join()
        with concurrent.futures.ProcessPoolExecutor(1) as pool:
            self.executor = list(pool.map(double, [5]))
        shared = multiprocessing.Value("i", 1)
        self.shared = shared.value
        self.said = subprocess.check_output([sys.executable, "-c", "import sys; print(sys.argv)"]).decode()
        subprocess.check_call([sys.executable, "-c", "import sys; print('to stdout'); print('to stderr', file=sys.stderr)"])
        self.carried = pickle.loads(pickle.dumps(self.carrier)).value
        self.next(self.end)

    @step
    def end(self):
        logging.warning("a warning by logging")
        print("no newline at the end", end="")
        buffered = io.TextIOWrapper(io.FileIO(1, "w", closefd=False))
        buffered.write("[buffered by the user]")
        globals()["late"] = buffered
        try:
            raise ValueError("caught and printed")
        except ValueError:
            traceback.print_exc()

        def late():
            time.sleep(0.2)
            print("a thread went on")

        threading.Thread(target=late).start()


if __name__ == "__main__":
    Surroundings()
