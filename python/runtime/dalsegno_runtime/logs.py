"""Saves an attempt's logs by Metaflow's own means, where its client looks for them. Imports Metaflow."""
import os
import sys


def save(request, flow_name, stdout, stderr):
    """Failing to save logs is said and changes nothing else."""
    try:
        _save(request, flow_name, {"stdout": stdout, "stderr": stderr})
    except Exception as error:
        sys.stderr.write("dalsegno: the logs could not be saved: %s: %s\n" % (type(error).__name__, error))


def _save(request, flow_name, paths):
    from metaflow.datastore import FlowDataStore
    from metaflow.plugins import DATASTORES

    kind = request.top_option("--datastore") or "local"
    storage = next(one for one in DATASTORES if one.TYPE == kind)
    root = request.top_option("--datastore-root") or storage.get_datastore_root_from_config(lambda *_, **__: None)
    store = FlowDataStore(flow_name, None, storage_impl=storage, ds_root=root)
    task = store.get_task_datastore(
        request.get("run_id"), request.step_name, request.get("task_id"), request.attempt, mode="w"
    )
    data = {stream: structured(path) for stream, path in paths.items() if path and os.path.exists(path)}
    if data:
        task.save_logs("runtime", data)


def structured(path):
    """The log in Metaflow's form. Its client sorts lines by their time and plain ones by their text, so each gets a
    time: the file's last one for the last line, a microsecond less for each line before."""
    from datetime import datetime, timedelta, timezone

    from metaflow.mflog.mflog import decorate

    with open(path, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    # In whole microseconds: a float has too few digits to keep neighbours apart.
    first = os.stat(path).st_mtime_ns // 1000 - len(lines)
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    return b"".join(
        decorate(b"runtime", line, now=epoch + timedelta(microseconds=first + number), lineid=b"%d" % number)
        for number, line in enumerate(lines)
    )


def path_of(descriptor):
    """The file that an open descriptor leads to; None for a pipe or a terminal."""
    try:
        path = os.readlink("/proc/self/fd/%d" % descriptor)
    except OSError:
        path = _path_of_darwin(descriptor)
    return path if path and os.path.isfile(path) else None


def _path_of_darwin(descriptor):
    import fcntl

    if not hasattr(fcntl, "F_GETPATH"):
        return None
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GETPATH, b"\0" * 1024).rstrip(b"\0").decode()
    except OSError:
        return None
