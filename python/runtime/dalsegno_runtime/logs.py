"""Saves an attempt's logs by Metaflow's own means, where its client looks for them. Imports Metaflow."""
import os
import sys

# Larger files are streamed instead of read, as Metaflow itself does.
_READ_MAX = 1024 * 1024


def save(request, flow_name, stdout, stderr):
    """Failing to save logs is said and changes nothing else."""
    try:
        _save(request, flow_name, {"stdout": stdout, "stderr": stderr})
    except Exception as error:
        sys.stderr.write("dalsegno: the logs could not be saved: %s: %s\n" % (type(error).__name__, error))


def _save(request, flow_name, paths):
    from pathlib import Path

    from metaflow.datastore import FlowDataStore
    from metaflow.plugins import DATASTORES

    kind = request.top_option("--datastore") or "local"
    storage = next(one for one in DATASTORES if one.TYPE == kind)
    root = request.top_option("--datastore-root") or storage.get_datastore_root_from_config(lambda *_, **__: None)
    store = FlowDataStore(flow_name, None, storage_impl=storage, ds_root=root)
    task = store.get_task_datastore(
        request.get("run_id"), request.step_name, request.get("task_id"), request.attempt, mode="w"
    )
    data = {}
    for stream, path in paths.items():
        if path and os.path.exists(path):
            if os.path.getsize(path) < _READ_MAX:
                with open(path, "rb") as file:
                    data[stream] = file.read()
            else:
                data[stream] = Path(path)
    if data:
        task.save_logs("runtime", data)


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
