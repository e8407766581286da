"""What comes before the step: `init` and `clone`, at most once each for a run."""
import contextlib
import fcntl
import os
import tempfile

from . import outcome


def prepare(request, run):
    """Runs init and clone as the request asks; the exit code, 0 when the step may run.

    `run(arguments, stderr)` runs the flow file in a process of its own, its errors going to an open file, and gives
    the exit code (negative: the signal that ended it).
    """
    wanted = request.get("clone")
    if wanted is None:
        return _stage(request, "init", run) if request.get("init") is not None else 0
    with _locked(wanted["done"] + ".lock"):
        if os.path.exists(wanted["done"]):
            return 0
        if request.get("init") is not None:
            code = _stage(request, "init", run)
            if code:
                return code
        code = _stage(request, "clone", run)
        if code == 0:
            with open(wanted["done"], "w"):
                pass
        return code


def _stage(request, stage, run):
    arguments = request.init_arguments() if stage == "init" else request.clone_arguments()
    with tempfile.TemporaryFile() as stderr:
        code = run(arguments, stderr)
        stderr.seek(0)
        text = stderr.read()
    _write_all(2, text)
    if code == 0:
        return 0
    message = outcome.said(text.decode("utf-8", "replace"))
    if code < 0:
        message = "ended by signal %d%s" % (-code, ": " + message if message else "")
    outcome.write_failure(request, stage, message or "Metaflow's %s failed with exit code %d" % (stage, code))
    return code


@contextlib.contextmanager
def _locked(path):
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write_all(descriptor, data):
    while data:
        data = data[os.write(descriptor, data):]
