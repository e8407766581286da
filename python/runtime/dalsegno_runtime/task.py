"""A forked process on its way to be one task."""
import gc
import os
import sys

from . import fresh, logs, main_script, marks, stages
from .flow_name import flow_name
from .request import open_request
from .supervise import end_like, exit_code, supervise

# The keeper let go, or what it asked for was not possible: nothing has been done.
NOTHING_DONE = 125


def become(order, connection, start, printed, stale, parent):
    """Answers with its pid, waits for `g`, then is the task: raises `Unwind` to run its script, or ends."""
    os.setpgid(0, 0)
    while os.getppid() == parent:
        os.sched_yield()  # only an orphan is the keeper's child, and it is about to be one
    connection.sendall(b'{"pid":%d}\n' % os.getpid())
    try:
        go = connection.recv(1)
    except OSError:
        go = b""
    if go != b"g":
        os._exit(NOTHING_DONE)
    server_log = os.dup(2)
    try:
        _surroundings(order)
    except OSError as error:
        sys.stderr.write("dalsegno: %s: %s\n" % (error.filename or "the task", error.strerror))
        os._exit(NOTHING_DONE)
    fresh.close_descriptors(keep=(server_log,))
    connection.detach()
    environment = start.completed(order["env"])
    why = "packages were installed or removed" if stale else start.differs(environment)
    marks.put(order["env"])
    fresh.environment(environment)
    request = None
    if why is None:
        fresh.standard_streams()
        request = open_request_or_leave(order["argv"][-1])
        why = _differs(request, start)
    if why is not None:
        os.write(server_log, b"dalsegno: a task starts anew: %s\n" % why.encode())
        os.close(server_log)
        os.execve(order["argv"][0], order["argv"], order["env"])
    os.close(server_log)
    _run(request, printed, order)


def open_request_or_leave(path):
    try:
        return open_request(path)
    except SystemExit as leaving:
        os._exit(leaving.code)


def _surroundings(order):
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, order["stdout"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, order["stderr"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        opened = os.open(path, flags, 0o666)
        os.dup2(opened, descriptor)
        os.close(opened)
    if order.get("cgroup"):
        with open(order["cgroup"], "w") as file:
            file.write("0")
    os.chdir(order["cwd"])


def _differs(request, start):
    if request.get("hook") is not None:
        return "a hook is rare"
    if request.get("python") and request.get("python") != sys.executable:
        return "another interpreter is asked for"
    found = start.shadowed(os.path.dirname(os.path.realpath(request.flow)))
    if found:
        return "%s lies beside the flow" % found
    return "Metaflow's configuration changed" if fresh.config_differs() else None


def _run(request, printed, order):
    def run(arguments, stderr):
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os.dup2(stderr.fileno(), 2)
            raise main_script.Unwind(arguments, lambda: _before(request, printed))
        return exit_code(os.waitpid(pid, 0)[1])

    code = stages.prepare(request, run)
    if code:
        end_like(code << 8 if code > 0 else -code)
    script = main_script.Unwind(request.step_arguments(), lambda: _before(request, printed))
    if request.saves_logs:
        supervise(
            lambda: raise_(script),
            lambda: logs.save(request, flow_name(request), order["stdout"], order["stderr"]),
        )
    raise script


def raise_(error):
    raise error


def _before(request, printed):
    """The last moments before the script: what it must not find any more, and what it must."""
    fresh.close_descriptors(keep=())
    for descriptor, text in enumerate(printed, start=1):
        if text:
            os.write(descriptor, text)
    fresh.import_path(request.flow)
    fresh.process_state()
    gc.enable()
