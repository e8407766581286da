"""Makes a forked process equal to a fresh interpreter, or says that it cannot be made so."""
import io
import os
import sys
import time

# Read by the interpreter or by libraries while they start: a forked process has the server's values for good.
_AT_START = ("PYTHON", "LANG", "LC_", "LD_", "DYLD_", "MALLOC_", "GLIBC_", "OPENSSL_", "DALSEGNO_IGNORED_DECORATORS")
_METAFLOW_AT_START = (
    "METAFLOW_HOME", "METAFLOW_PROFILE", "METAFLOW_DEBUG_EXT", "METAFLOW_EXTENSIONS_SEARCH_DIRS",
    "METAFLOW_ENV_ESCAPE_PY", "METAFLOW_ENV_ESCAPE_PATHS", "METAFLOW_ENV_ESCAPE_PICKLE_VERSION",
    "DISABLE_TRACING", "HOME", "VIRTUAL_ENV",
)


class Start:
    """What the server started with."""

    def __init__(self):
        self.environment = dict(os.environ)
        self.modules = {name.partition(".")[0] for name in sys.modules}
        self.installed = installed()

    def completed(self, environment):
        """The environment as the interpreter would leave it: in the C locale it sets LC_CTYPE (PEP 538)."""
        mine = self.environment
        coerced = mine.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8") and not mine.get("LC_ALL")
        if coerced and not environment.get("LC_CTYPE") and environment.get("LANG") in (None, "", "C", "POSIX"):
            return dict(environment, LC_CTYPE=mine["LC_CTYPE"])
        return environment

    def differs(self, environment):
        """Why a process with this environment must start from nothing; None when forking is as good."""
        mine = self.environment
        for name in _names(mine, environment):
            if mine.get(name) != environment.get(name):
                return "%s differs" % name
        return None

    def shadowed(self, folder):
        """A module beside the flow file with the name of one that is loaded already."""
        try:
            names = os.listdir(folder)
        except OSError:
            return None
        for name in names:
            if name.partition(".")[0] in self.modules and (name.endswith((".py", ".so")) or "." not in name):
                return name
        return None


def _names(mine, other):
    from metaflow import metaflow_config_funcs

    found = set(_METAFLOW_AT_START)
    found.update(metaflow_config_funcs._all_configs)
    found.update(name for name in (*mine, *other) if name.startswith(_AT_START))
    return found


def config_differs():
    """Metaflow's configuration files, as this process would read them, against what was read."""
    from metaflow import metaflow_config_funcs as module

    try:
        return module.init_config() != module.METAFLOW_CONFIG or module.init_local_config() != module.METAFLOW_LOCAL_CONFIG
    except Exception:
        return True  # the fresh interpreter says it in Metaflow's words


def installed():
    """Changes when packages are installed, removed or replaced in a folder that Python imports from."""
    found = []
    for folder in sys.path:
        for path in (folder, os.path.join(folder, "metaflow"), os.path.join(folder, "metaflow_extensions")):
            try:
                found.append((path, os.stat(path).st_mtime_ns))
            except OSError:
                pass
    return found


def standard_streams():
    """stdin, stdout and stderr made anew for the descriptors as they are now, of the kind the server was given."""
    sys.stdin = sys.__stdin__ = _like(sys.__stdin__, io.BufferedReader(_raw(0, "r", "<stdin>")), "r", None)
    sys.stdout = sys.__stdout__ = _like(sys.__stdout__, _raw(1, "w", "<stdout>"), "w", "\n")
    sys.stderr = sys.__stderr__ = _like(sys.__stderr__, _raw(2, "w", "<stderr>"), "w", "\n")


def _like(old, buffer, mode, newline):
    stream = io.TextIOWrapper(
        buffer, encoding=old.encoding, errors=old.errors, newline=newline,
        line_buffering=old.line_buffering, write_through=old.write_through,
    )
    stream.mode = mode
    return stream


def _raw(descriptor, mode, name):
    raw = io.FileIO(descriptor, mode, closefd=False)
    raw.name = name
    return raw


def environment(values):
    """Replaces the whole environment."""
    os.environ.clear()
    os.environ.update(values)
    time.tzset()


def import_path(script):
    """sys.path[0] as the interpreter sets it for a script; the server keeps no entry of its own there."""
    folder = os.path.dirname(os.path.realpath(script))
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, folder)


def process_state():
    """Module state that belongs to a process and was made in the server."""
    module = sys.modules.get("multiprocessing.process")
    if module is not None:
        module.ORIGINAL_DIR = os.getcwd()
        module._current_process = type(module._current_process)()
        module._process_counter = type(module._process_counter)(1)
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile.tempdir = None
    for name in [name for name in sys.modules if name == "dalsegno_runtime" or name.startswith("dalsegno_runtime.")]:
        del sys.modules[name]


def close_descriptors(keep):
    """Everything above stderr that the server had open."""
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        numbers = range(3, 256)
    for number in numbers:
        if number > 2 and number not in keep:
            try:
                os.close(number)
            except OSError:
                pass
