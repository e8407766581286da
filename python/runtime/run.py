"""Runs one attempt of a Metaflow task in new processes: `python -u -S -E run.py REQUEST`.

Init and clone run as Metaflow's own command lines in processes of their own; then this process becomes the step.
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from dalsegno_runtime import stages  # noqa: E402
from dalsegno_runtime.logs import path_of  # noqa: E402
from dalsegno_runtime.outcome import write_failure  # noqa: E402
from dalsegno_runtime.request import open_request  # noqa: E402
from dalsegno_runtime.supervise import end_like, exit_code, supervise  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    forget_own_locale()
    request = open_request(sys.argv[1])
    python = request.get("python") or sys.executable

    def run(arguments, stderr):
        return subprocess.call([python, "-u", *arguments], stderr=stderr, stdin=subprocess.DEVNULL)

    code = stages.prepare(request, run)
    if code:
        end_like(code << 8 if code > 0 else -code)
    if request.get("hook") is not None:
        replace(request, "hook", [python, "-u", os.path.join(HERE, "hook.py"), request.path])
    if not request.saves_logs:
        replace(request, "step", [python, "-u", *request.step_arguments()])
    supervise(
        lambda: replace(request, "step", [python, "-u", *request.step_arguments()]),
        lambda: save_logs(request, python),
    )


def forget_own_locale():
    """In the C locale Python sets LC_CTYPE for itself and so for its children, who must find what was given."""
    if os.environ.get("LC_CTYPE") not in ("C.UTF-8", "C.utf8", "UTF-8"):
        return
    try:
        with open("/proc/self/environ", "rb") as file:
            given = b"\0LC_CTYPE=" in b"\0" + file.read()
    except OSError:
        given = bool(os.environ.get("LC_ALL")) or os.environ.get("LANG") not in (None, "", "C", "POSIX")
    if not given:
        del os.environ["LC_CTYPE"]


def replace(request, stage, argv):
    """Becomes another program."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        message = "%s cannot be run: %s" % (argv[0], error.strerror)
        sys.stderr.write("dalsegno: %s\n" % message)
        write_failure(request, stage, message)
        os._exit(2)


def save_logs(request, python):
    argv = [python, os.path.join(HERE, "savelogs.py"), request.path, path_of(1) or "", path_of(2) or ""]
    status = subprocess.call(argv, stdin=subprocess.DEVNULL)
    if exit_code(status << 8 if status >= 0 else -status):
        sys.stderr.write("dalsegno: the logs were not saved\n")


main()
