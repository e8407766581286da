"""Calls one function of `@exit_hook`: `python -u hook.py REQUEST`. Metaflow's own script does the call.

The flow's folder comes first on sys.path, as it does for steps, so that what the flow file imports is found.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(HERE)

from dalsegno_runtime.outcome import write_failure, write_success  # noqa: E402
from dalsegno_runtime.request import open_request  # noqa: E402


def main():
    request = open_request(sys.argv[1])
    hook = request.get("hook")
    function, pathspec = hook["function"], hook["pathspec"]
    sys.path.remove(HERE)
    sys.path[0] = os.path.dirname(os.path.realpath(request.flow))
    sys.argv[:] = [request.flow, function, pathspec]
    _defaults_from(request)
    try:
        from metaflow.plugins.exit_hook import exit_hook_script
    except ImportError:
        import metaflow

        message = "Metaflow %s has no @exit_hook, so %s is not called; upgrade Metaflow" % (metaflow.__version__, function)
        sys.stderr.write("dalsegno: %s\n" % message)
        write_failure(request, "hook", message, pathspec)
        return 2
    try:
        exit_hook_script.main(request.flow, function, pathspec)
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            write_failure(request, "hook", "SystemExit: %s" % leaving.code, pathspec)
        raise
    except BaseException as error:
        import traceback

        lines = traceback.format_exception_only(type(error), error)
        write_failure(request, "hook", lines[-1].strip(), pathspec)
        raise
    write_success(request, "hook", pathspec)
    return 0


def _defaults_from(request):
    """The hook's `Run` reads where the tasks wrote, whatever the environment says by itself."""
    kind, root, metadata = (request.top_option(name) for name in ("--datastore", "--datastore-root", "--metadata"))
    if metadata:
        os.environ.setdefault("METAFLOW_DEFAULT_METADATA", metadata)
    if kind:
        os.environ.setdefault("METAFLOW_DEFAULT_DATASTORE", kind)
    if root and kind == "local":
        os.environ.setdefault("METAFLOW_DATASTORE_SYSROOT_LOCAL", os.path.dirname(root))
    elif root and kind:
        os.environ.setdefault("METAFLOW_DATASTORE_SYSROOT_%s" % kind.upper(), root)


if __name__ == "__main__":
    sys.exit(main())
