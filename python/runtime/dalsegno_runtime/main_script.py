"""Runs a script as `python -u script …` would, to the very end of the process, in a process that was forked.

Nothing of ours may lie beneath the script: stacks are printed, stored and compared. So the forked process lets all
its frames go by raising to the top; there the interpreter hands the exception to `sys.excepthook`, and from within
that call, in which only C functions are active, the script is executed. What ends the script is caught in its own
frame: its body is compiled within a `try`.
"""
import ast
import collections
import functools
import gc
import importlib.machinery
import io
import os
import signal
import sys
import types
import warnings

# Modules that were there before any user code: they are not taken apart.
_kept = set()
# What Metaflow's import puts into `__main__`, so that it can be pickled by that name.
_imported_into_main = {}


class Unwind(BaseException):
    """Raised in a forked process: leave every frame, then run this script."""

    def __init__(self, arguments, before):
        super().__init__()
        self.arguments, self.before = arguments, before


class SourceFileLoader(importlib.machinery.SourceFileLoader):
    """`__main__.__loader__`, which the script's last line asks to end the process."""

    def _end(self):
        error = sys.exc_info()[1]
        status = 1
        try:
            status = _status(error)
        finally:
            _leave(status)


def compiled(path):
    """The script's code, its body within a `try` that leads to the end of the process."""
    with io.open_code(path) as file:
        source = file.read()
    tree = ast.parse(source, path)
    head = 0
    for index, statement in enumerate(tree.body):
        docstring = index == 0 and isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str)
        if docstring or (isinstance(statement, ast.ImportFrom) and statement.module == "__future__"):
            head = index + 1
        else:
            break
    end = ast.parse("try:\n  pass\nexcept:\n  __loader__._end()\nelse:\n  __loader__._end()").body[0]
    if tree.body[head:]:
        last = tree.body[-1]
        for node in ast.walk(end):
            if hasattr(node, "lineno"):
                node.lineno = node.end_lineno = last.end_lineno
        end.body = tree.body[head:]
    tree.body[head:] = [end]
    return compile(tree, path, "exec", dont_inherit=True)


def execute_from_the_top(unwind, code):
    """What to raise at the top of the process, after which the script runs; sets up everything but its frame."""
    path = unwind.arguments[0]
    sys.argv[:] = unwind.arguments
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[:] = [sys.executable, "-u", *unwind.arguments]
    module = types.ModuleType("__main__")
    names = module.__dict__
    names.update(
        __file__=path, __cached__=None, __builtins__=sys.modules["builtins"], __annotations__={},
        __loader__=SourceFileLoader("__main__", path), **_imported_into_main,
    )
    sys.modules["__main__"] = module
    if code is None:
        try:
            code = compiled(path)
        except OSError as error:
            sys.stderr.write("%s: can't open file %r: [Errno %d] %s\n" % (sys.executable, path, error.errno, error.strerror))
            _leave(2)
        except SyntaxError as error:
            error.__traceback__ = None
            _leave(_status(error))
    first = compile("import sys; del sys.last_type, sys.last_value, sys.last_traceback; sys.excepthook = sys.__excepthook__",
                    "<start>", "exec")
    if sys.version_info >= (3, 12):
        first = compile("import sys; del sys.last_exc, sys.last_type, sys.last_value, sys.last_traceback;"
                        " sys.excepthook = sys.__excepthook__", "<start>", "exec")
    both = map(exec, (first, code), ({}, names))
    top = type("Top", (BaseException,), {"__str__": staticmethod(functools.partial(collections.deque, both, 0))})
    sys.excepthook = functools.partial(max, key=str)
    return top()


def keep_modules():
    _kept.update(sys.modules)


class watch_main:
    """Remembers what is put into `__main__` meanwhile."""

    def __enter__(self):
        self.before = set(vars(sys.modules["__main__"]))

    def __exit__(self, *_):
        names = vars(sys.modules["__main__"])
        _imported_into_main.update({name: names[name] for name in names if name not in self.before})


class Scripts:
    """Compiled scripts of the server, so that its tasks need not compile; a changed file is compiled anew."""

    def __init__(self, most=64):
        self.most, self.codes = most, {}

    def get(self, path):
        """None when the task has to compile it, because there is something to be said about it."""
        try:
            status = os.stat(path)
            key = (path, status.st_ino, status.st_mtime_ns, status.st_size)
            if key not in self.codes:
                with warnings.catch_warnings(record=True) as said:
                    warnings.simplefilter("always")
                    code = compiled(path)
                if len(self.codes) >= self.most:
                    self.codes.pop(next(iter(self.codes)))
                self.codes[key] = None if said else code
            return self.codes[key]
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _status(error):
    """Says what ended the script, as the interpreter does; the exit status."""
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        if error.code is None:
            return 0
        if isinstance(error.code, int):
            return error.code & 0xFF
        _flush(sys.stdout)
        try:
            sys.stderr.write("%s\n" % (error.code,))
            sys.stderr.flush()
        except Exception:
            pass
        return 1
    traceback = error.__traceback__
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, traceback
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    _flush(sys.stdout)
    try:
        sys.excepthook(type(error), error, traceback)
    except SystemExit as leaving:
        return _status(leaving)
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
    except BaseException:
        sys.excepthook(*sys.exc_info())
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


def _forget_user_code():
    """Lets go of the script's and its modules' objects, so that their finalizers run and their files are written."""
    for name in ("last_value", "last_traceback", "last_exc"):
        if hasattr(sys, name):
            setattr(sys, name, None)
    modules = [sys.modules.pop("__main__", None)]
    modules += [sys.modules.pop(name) for name in reversed(list(sys.modules)) if name not in _kept]
    _clear(modules[0])
    for module in modules[1:]:
        if getattr(getattr(module, "__spec__", None), "origin", None) not in (None, "built-in", "frozen"):
            _clear(module)
    gc.collect()
    for one in gc.get_objects():
        if isinstance(one, (io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper)):
            _flush(one)


def _clear(module):
    """Values first, then what their finalizers may still need."""
    names = getattr(module, "__dict__", None)
    if not isinstance(names, dict):
        return
    needed = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)
    for keep in (needed, ()):
        for name in list(names):
            if name not in ("__builtins__", "__loader__") and not isinstance(names[name], keep):
                names[name] = None
        gc.collect()


def _flush(stream):
    """True when something could not be written."""
    try:
        if stream is not None and not stream.closed:
            stream.flush()
    except (OSError, ValueError, AttributeError):
        return True
    return False
