"""The fork server's loop. It is single-threaded and runs no user code: whatever can fail, fails in a task."""
import gc
import importlib
import json
import os
import select
import socket
import sys
import tempfile
import traceback

from . import fresh, main_script, task, warm_up

# A client that connects and says nothing must not keep others waiting for longer.
REQUEST_SECONDS = 5
REQUEST_BYTES_MAX = 16 * 1024 * 1024
WAITING_MAX = 128

# Metaflow imports these on the way to every step; none of them is user code.
STEP_IMPORTS = (
    "metaflow.cli",
    "metaflow.cli_args",
    "metaflow.cli_components.init_cmd",
    "metaflow.cli_components.step_cmd",
    "metaflow.client",
    "metaflow.clone_util",
    "metaflow.events",
    "metaflow.exception",
    "metaflow.graph",
    "metaflow.lint",
    "metaflow.metaflow_git",
    "metaflow.metaflow_version",
    "metaflow.plugins.catch_decorator",
    "metaflow.plugins.datastores.local_storage",
    "metaflow.plugins.metadata_providers.local",
    "metaflow.plugins.project_decorator",
    "metaflow.runtime",
    "metaflow.task",
    "metaflow.system_context",
    "metaflow.tuple_util",
    "metaflow_extensions.dalsegno_task.plugins.decorator",
)


def serve(argv, script):
    """Serves until stdin closes; never returns."""
    path = argv[1]
    inherited = int(argv[2]) if len(argv) > 2 else None
    printed = preload()
    listener = _listen(path) if inherited is None else socket.socket(fileno=inherited)
    if inherited is None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
    start = fresh.Start()
    main_script.keep_modules()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        _loop(listener, start, printed, [sys.executable, "-u", script, path])
    except KeyboardInterrupt:
        os._exit(130)


def preload():
    """Imports Metaflow; what that printed every task prints, too, as a fresh interpreter would."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        kept = os.dup(1), os.dup(2)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            import metaflow  # noqa: F401

            printed = _content(out), _content(err)
        except BaseException:
            os.dup2(kept[1], 2)
            os.write(2, _content(err))
            raise
        finally:
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            os.close(kept[0])
            os.close(kept[1])
    for name in STEP_IMPORTS:
        try:
            importlib.import_module(name)
        except ImportError:
            pass  # another version of Metaflow keeps it elsewhere
    warm_up.warm_up()
    return printed


def _content(file):
    file.seek(0)
    return file.read()


def _listen(path):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        if os.path.exists(path):
            os.unlink(path)
        listener.bind(path)
    finally:
        os.umask(mask)
    listener.listen(WAITING_MAX)
    return listener


def _loop(listener, start, printed, again):
    while True:
        readable, _, _ = select.select([listener, 0], [], [])
        if 0 in readable and not os.read(0, 4096):
            os._exit(0)
        if listener not in readable:
            continue
        connection, _ = listener.accept()
        stale = fresh.installed() != start.installed
        _task(connection, listener, start, printed, stale)
        if stale:
            # Packages changed: what is loaded is not what a fresh interpreter would load.
            listener.set_inheritable(True)
            os.execv(again[0], [*again, str(listener.fileno())])


def _task(connection, listener, start, printed, stale):
    """Forks twice, so that the task belongs to the keeper and nobody here waits for it."""
    with connection:
        try:
            order = _order(connection)
            first = os.fork()
        except (OSError, ValueError, KeyError, TypeError) as error:
            _answer(connection, {"error": "%s: %s" % (type(error).__name__, error)})
            return
        if first == 0:
            parent = os.getpid()
            try:
                second = os.fork()
            except OSError as error:
                _answer(connection, {"error": "%s: %s" % (type(error).__name__, error)})
                os._exit(1)
            if second == 0:
                _become(order, connection, start, printed, stale, parent)
            os._exit(0)
        os.waitpid(first, 0)


def _become(order, connection, start, printed, stale, parent):
    try:
        task.become(order, connection, start, printed, stale, parent)
    except BaseException:
        traceback.print_exc()
    os._exit(task.NOTHING_DONE)


def _order(connection):
    connection.settimeout(REQUEST_SECONDS)
    line = bytearray()
    while not line.endswith(b"\n"):
        part = connection.recv(65536)
        if not part:
            raise ValueError("the connection ended within a request")
        line += part
        if len(line) > REQUEST_BYTES_MAX:
            raise ValueError("a request has at most %d bytes" % REQUEST_BYTES_MAX)
    connection.settimeout(None)
    order = json.loads(bytes(line))
    for name, kind in (("argv", list), ("env", dict), ("cwd", str), ("stdout", str), ("stderr", str)):
        if not isinstance(order.get(name), kind):
            raise ValueError("%r of a request is a %s" % (name, kind.__name__))
    return order


def _answer(connection, value):
    try:
        connection.sendall(json.dumps(value).encode() + b"\n")
    except OSError:
        pass
