"""The fork server's loop. It is single-threaded and runs no user code: whatever can fail, fails in a task."""
import gc
import importlib
import io
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
# Not `init`: it takes its options from the flow while it is imported.
STEP_IMPORTS = (
    "metaflow.cli_args",
    "metaflow.client",
    "metaflow.clone_util",
    "metaflow.events",
    "metaflow.exception",
    "metaflow.graph",
    "metaflow.lint",
    "metaflow.metaflow_git",
    "metaflow.metaflow_version",
    "metaflow.plugins.datastores.local_storage",
    "metaflow.plugins.metadata_providers.local",
    "metaflow.runtime",
    "metaflow.system_context",
    "metaflow.task",
    "metaflow.tuple_util",
    "metaflow.user_configs.config_options",
    "metaflow_extensions.dalsegno_task.plugins.decorator",
)
# These make commands out of the flow that is there when they are imported, so each task imports its own.
OF_ONE_FLOW = ("metaflow.cli", "metaflow.cli_components")


def serve(argv, script):
    """Serves until stdin closes. Returns only in a task: what to raise at the top."""
    path = argv[1]
    inherited = int(argv[2]) if len(argv) > 2 else None
    if not isinstance(sys.stdout.buffer, io.FileIO):
        os.execv(sys.executable, [sys.executable, "-u", script, *argv[1:]])
    with main_script.watch_main():
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
    scripts = main_script.Scripts()
    server = os.getpid()
    try:
        _loop(listener, start, printed, [sys.executable, "-u", script, path], scripts)
    except main_script.Unwind as error:
        unwind = error.with_traceback(None)
    except BaseException as error:
        if os.getpid() != server or not isinstance(error, KeyboardInterrupt):
            traceback.print_exc()
        os._exit(task.NOTHING_DONE if os.getpid() != server else 130)
    unwind.before()
    return main_script.execute_from_the_top(unwind, unwind.code)


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
    for name in [name for name in sys.modules if ".".join(name.split(".")[:2]) in OF_ONE_FLOW]:
        del sys.modules[name]
        package, _, last = name.rpartition(".")
        if hasattr(sys.modules.get(package), last):
            delattr(sys.modules[package], last)
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


def _loop(listener, start, printed, again, scripts):
    while True:
        readable, _, _ = select.select([listener, 0], [], [])
        if 0 in readable and not os.read(0, 4096):
            os._exit(0)
        if listener not in readable:
            continue
        connection, _ = listener.accept()
        stale = fresh.installed() != start.installed
        _task(connection, start, printed, stale, scripts)
        if stale:
            # Packages changed: what is loaded is not what a fresh interpreter would load.
            listener.set_inheritable(True)
            os.execv(again[0], [*again, str(listener.fileno())])


def _task(connection, start, printed, stale, scripts):
    """Forks twice, so that the task belongs to the keeper and nobody here waits for it."""
    with connection:
        try:
            order = _order(connection)
            code = scripts.get(_flow(order))
            first = os.fork()
        except Exception as error:  # whatever one client sends, the server stays
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
                try:
                    task.become(order, connection, start, printed, stale, parent)
                except main_script.Unwind as unwind:
                    unwind.code = code
                    raise
            os._exit(0)
        os.waitpid(first, 0)


def _flow(order):
    """The flow file of the request; what is wrong with it the task says."""
    try:
        with open(order["argv"][-1], encoding="utf-8") as file:
            return json.load(file)["flow"]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return ""


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
    if not isinstance(order, dict):
        raise ValueError("a request is a JSON object on one line")
    for name, kind in (("argv", list), ("env", dict), ("cwd", str), ("stdout", str), ("stderr", str)):
        if not isinstance(order.get(name), kind):
            raise ValueError("%r of a request is a %s" % (name, kind.__name__))
    return order


def _answer(connection, value):
    try:
        connection.sendall(json.dumps(value).encode() + b"\n")
    except OSError:
        pass
