"""dump_all.py OUT FLOW.py…: what Metaflow itself says of each flow, as OUT/NAME.json, and how its command ended, as one JSON
object on standard output. Metaflow is imported once and each flow is run in a fork, so a hundred take seconds."""
import json
import os
import runpy
import sys

import metaflow  # noqa: F401


def run(path, out):
    name = os.path.basename(path)[: -len(".py")]
    child = os.fork()
    if child == 0:
        log = os.open(os.path.join(out, name + ".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(os.path.dirname(path))
        sys.path[0] = os.path.dirname(path)
        sys.argv = [path, "--quiet", "--no-pylint", "--metadata=local", "--datastore=local",
                    "--datastore-root=" + os.path.join(out, ".metaflow"), "dalsegno-task", "dump",
                    "--out", os.path.join(out, name + ".json")]
        status = 1
        try:
            runpy.run_path(path, run_name="__main__")
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        except BaseException as error:  # the log is what a person reads
            print(type(error).__name__, error, flush=True)
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    out = sys.argv[1]
    print(json.dumps({path: run(path, out) for path in sys.argv[2:]}))
