"""One attempt on a machine of its own: what the executor does beside a local task is done here."""
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time

from . import store

# The image, or what it is allowed, is not fit; S3 gave nothing; S3 took nothing.
UNFIT, NOT_FETCHED, NOT_BROUGHT_BACK = 212, 213, 214

LAST_WORDS = 3
# What the step has started and left behind may hold its outputs open.
OUTPUTS_CLOSE_WITHIN = 5
# Of all metadata that is brought back; a file is about 300 bytes.
METADATA_BYTES_MAX = 700_000


def main(folder):
    """Runs the attempt and gives the exit code to end with."""
    try:
        order = _order()
        if _is_done(order["request"]):
            return 0
        order["cloned"] = bool(order["request"].get("clone")) and store.exists(os.environ["DALSEGNO_CLONED"])
    except store.Unfit as error:
        return _say(UNFIT, error)
    except Exception as error:
        return _say(NOT_FETCHED, "%s: %s" % (type(error).__name__, error))
    missing = _install(order["packages"])
    if missing:
        return _answer(order, folder, UNFIT, [missing])
    request = _write_request(order, folder)
    code, words = _run(order, request, folder)
    return _answer(order, folder, code, words)


def _order():
    text = os.environ.get("DALSEGNO_ORDER")
    order = json.loads(text if text else store.get(os.environ["DALSEGNO_ORDER_AT"]))
    if order.get("version") != 1:
        raise store.Unfit("the order has version %r, this package knows version 1" % order.get("version"))
    return order


def _is_done(request):
    """Batch repeats a job whose host went away: the step may have been over already."""
    before = store.get(os.environ["DALSEGNO_ANSWER"], missing=None)
    if before is None:
        return False
    before = json.loads(before)
    asked, told = request, before.get("request") or {}
    same = all(asked.get(name) == told.get(name) for name in ("run_id", "step_name", "task_id", "attempt"))
    return same and bool((before.get("left") or {}).get("ok"))


def _install(packages):
    """What is missing to run Metaflow here, in words; None when all is there."""
    wanted = [requirement for name, requirement in packages if importlib.util.find_spec(name) is None]
    if not wanted:
        return None
    pip = [sys.executable, "-m", "pip", "install", "-qqq", "--no-compile", "--no-cache-dir", "--disable-pip-version-check"]
    if subprocess.call([*pip, *wanted], stdin=subprocess.DEVNULL, stdout=2) == 0:
        return None
    return "the image has no %s, and pip cannot install it; name an image that has it: @batch(image=…)" % ", ".join(wanted)


def _write_request(order, folder):
    request = dict(order["request"])
    request["flow"] = os.path.join(folder, "code", request["flow"])
    request["python"] = sys.executable
    request["outcome"] = os.path.join(folder, request["outcome"])
    # Here, because what is written to is a pipe for the step itself.
    request["logs"] = {"save": False}
    if request.get("clone"):
        done = os.path.join(folder, request["clone"]["done"])
        request["clone"] = dict(request["clone"], done=done)
        if order["cloned"]:
            open(done, "w").close()
    if order.get("inputs") is not None:
        with open(os.path.join(folder, "inputs"), "w", encoding="utf-8") as file:
            file.write(order["inputs"])
    path = os.path.join(folder, "request.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(request, file)
    return path


def _run(order, request, folder):
    """The exit code, 128 and more for a signal, and the last lines of the errors."""
    ext = os.path.join(folder, "ext")
    environment = dict(os.environ)
    for name in ("DALSEGNO_ORDER", "DALSEGNO_ORDER_AT", "DALSEGNO_CODE", "DALSEGNO_CODE_SHA256"):
        environment.pop(name, None)
    environment.update(order["env"])
    environment["DALSEGNO_REQUEST"] = request
    environment["METAFLOW_DATASTORE_SYSROOT_LOCAL"] = folder
    for name, first in (("PYTHONPATH", ext), ("PATH", os.path.dirname(sys.executable))):
        rest = environment.get(name)
        environment[name] = first + os.pathsep + rest if rest else first
    outputs = [_Copied(1, os.path.join(folder, "stdout")), _Copied(2, os.path.join(folder, "stderr"))]
    child = subprocess.Popen(
        [sys.executable, "-u", "-S", "-E", os.path.join(ext, "runtime", "run.py"), request],
        cwd=os.path.join(folder, "code"), env=environment, stdin=subprocess.DEVNULL,
        stdout=outputs[0].writer, stderr=outputs[1].writer, start_new_session=True,
    )
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: _pass_on(child.pid, number))
    for output in outputs:
        output.begin()
    code = child.wait()
    _pass_on(child.pid, signal.SIGKILL)
    for output in outputs:
        output.end()
    save = [sys.executable, os.path.join(ext, "runtime", "savelogs.py"), request, outputs[0].path, outputs[1].path]
    subprocess.call(save, env=environment, cwd=os.path.join(folder, "code"), stdin=subprocess.DEVNULL)
    return (code if code >= 0 else 128 - code), outputs[1].last_words()


def _pass_on(group, number):
    try:
        os.killpg(group, number)
    except OSError:
        pass


class _Copied:
    """What is written goes on to this process's own output, and to a file."""

    def __init__(self, descriptor, path):
        self.path, self._to = path, descriptor
        self._reader, self.writer = os.pipe()
        self._thread = threading.Thread(target=self._copy, daemon=True)

    def begin(self):
        os.close(self.writer)
        self._thread.start()

    def end(self):
        self._thread.join(OUTPUTS_CLOSE_WITHIN)

    def last_words(self):
        with open(self.path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()
        return [line.strip() for line in lines if line.strip()][-LAST_WORDS:]

    def _copy(self):
        with open(self.path, "wb") as file:
            while True:
                some = os.read(self._reader, 65536)
                if not some:
                    return
                file.write(some)
                file.flush()
                while some:
                    some = some[os.write(self._to, some):]


def _answer(order, folder, code, words):
    """Brings back what there is to tell, and gives the exit code."""
    request = {**order["request"], "init": None, "clone": None, "step": None, "triggers": [], "top": []}
    left = None
    try:
        with open(os.path.join(folder, order["request"]["outcome"]), encoding="utf-8") as file:
            left = json.load(file)
    except (OSError, ValueError):
        pass
    metadata = _metadata(folder) if order.get("brings_metadata") else {}
    answer = {"version": 1, "request": request, "left": left, "last_words": words, "metadata": metadata}
    try:
        _mark_cloned(order, folder)
        store.put(os.environ["DALSEGNO_ANSWER"], json.dumps(answer).encode())
    except Exception as error:
        return _say(NOT_BROUGHT_BACK, "%s: %s" % (type(error).__name__, error))
    return code


def _mark_cloned(order, folder):
    clone = order["request"].get("clone")
    if clone and not order["cloned"] and os.path.exists(os.path.join(folder, clone["done"])):
        store.put(os.environ["DALSEGNO_CLONED"], b"")


def _metadata(folder):
    """Content of the files in which Metaflow keeps what it knows of runs and tasks, by path."""
    root, found, left = os.path.join(folder, ".metaflow"), {}, METADATA_BYTES_MAX
    for place, _, names in os.walk(root):
        if "_meta" in place.split(os.sep):
            for name in names:
                path = os.path.join(place, name)
                with open(path, encoding="utf-8", errors="replace") as file:
                    content = file.read()
                left -= len(content)
                if left > 0:
                    found[os.path.relpath(path, root)] = content
    if left <= 0:
        _say(0, "there are too many artifacts for the client to list them all; their data is kept")
    return found


def _say(code, error):
    sys.stderr.write("dalsegno: %s\n" % error)
    return code
