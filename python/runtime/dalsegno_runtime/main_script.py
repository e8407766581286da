"""Runs a script as `python -u script …` would, to the very end of the process, in a process that was forked."""
import gc
import importlib.machinery
import io
import os
import signal
import sys
import types


def run_main(arguments, code=None):
    """Runs `arguments[0]` as `__main__` and ends the process; never returns."""
    status = 1
    try:
        status = _execute(arguments, code)
    finally:
        # Even this must not unwind into whatever forked us.
        _leave(status)


def _execute(arguments, code):
    path = arguments[0]
    sys.argv[:] = arguments
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[:] = [sys.executable, "-u", *arguments]
    module = types.ModuleType("__main__")
    names = module.__dict__
    names["__file__"] = path
    names["__cached__"] = None
    names["__builtins__"] = sys.modules["builtins"]
    names["__loader__"] = importlib.machinery.SourceFileLoader("__main__", path)
    names["__annotations__"] = {}
    sys.modules["__main__"] = module
    try:
        if code is None:
            with io.open_code(path) as file:
                source = file.read()
            code = compile(source, path, "exec", dont_inherit=True)
        exec(code, names)
    except SystemExit as leaving:
        return _status_of(leaving.code)
    except FileNotFoundError as error:
        if error.filename == path and "code" not in names:
            return _uncaught(error, path)
        return _uncaught(error, path)
    except BaseException as error:
        return _uncaught(error, path)
    return 0


def _status_of(code):
    """The exit status of `raise SystemExit(code)`."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    _flush(sys.stdout)
    try:
        sys.stderr.write("%s\n" % (code,))
        sys.stderr.flush()
    except Exception:
        pass
    return 1


def _uncaught(error, path):
    """Prints the traceback as the interpreter does, beginning in the script."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    error.__traceback__ = traceback
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, traceback
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    _flush(sys.stdout)
    try:
        sys.excepthook(type(error), error, traceback)
    except SystemExit as leaving:
        return _status_of(leaving.code)
    except BaseException:
        sys.__excepthook__(type(error), error, traceback)
    # An interrupt ends a script by its signal, so that a caller sees it.
    return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1


def _leave(status):
    """What the interpreter does at its end: threads, atexit, the script's objects, buffers."""
    import atexit
    import threading

    try:
        threading._shutdown()
    except BaseException as error:
        sys.unraisablehook(_Unraisable(error))
    try:
        atexit._run_exitfuncs()
    except BaseException:
        pass  # said by atexit itself
    stuck = _flush(sys.stdout)
    _flush(sys.stderr)
    _forget_user_code()
    stuck = _flush(sys.stdout) or stuck
    _flush(sys.stderr)
    if status == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(120 if stuck and status == 0 else status & 0xFF)


# Modules that were there before any user code: they are not taken apart.
_kept = set()


def keep_modules():
    _kept.update(sys.modules)


def _forget_user_code():
    """Lets go of the script's and its modules' objects, so that their finalizers run and their files are written."""
    sys.last_value = sys.last_traceback = None
    if hasattr(sys, "last_exc"):
        sys.last_exc = None
    modules = [sys.modules.pop("__main__", None)]
    modules += [sys.modules.pop(name) for name in reversed(list(sys.modules)) if name not in _kept]
    _clear(modules[0])
    gc.collect()
    for module in modules[1:]:
        if getattr(getattr(module, "__spec__", None), "origin", None) in (None, "built-in", "frozen"):
            continue
        _clear(module)
    gc.collect()
    for one in gc.get_objects():
        if isinstance(one, (io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper)):
            _flush(one)


def _clear(module):
    names = getattr(module, "__dict__", None)
    if not isinstance(names, dict):
        return
    for name in list(names):
        if name.startswith("_") and not name.startswith("__"):
            names[name] = None
    for name in list(names):
        if name != "__builtins__":
            names[name] = None


def _flush(stream):
    """True when something could not be written."""
    try:
        if stream is not None and not stream.closed:
            stream.flush()
    except (OSError, ValueError, AttributeError):
        return True
    return False


class _Unraisable:
    def __init__(self, error):
        self.exc_type, self.exc_value, self.exc_traceback = type(error), error, error.__traceback__
        self.err_msg, self.object = "Exception ignored in", None
