"""Checkpoints of an earlier life of a task: `@checkpoint` finds them under the new task's name, too."""
import os
import re
from io import BytesIO

_ROOT = ("mf.checkpoints", "checkpoints", "metadata")


def carry_over(flow, flow_datastore, request, earlier, logger):
    """Copies what `@checkpoint` knows of the earlier life; the checkpoints themselves stay where they are.

    `earlier` is a task id of the same run, `run id/task id`, or `run id/task id*` for the newest of the lives that the
    task had in that run. A life that succeeded is not gone on from: whoever repeats it wants it repeated.
    """
    storage = flow_datastore._storage_impl
    step, run, task = request["step_name"], request["run_id"], request["task_id"]
    target = storage.path_join(*_ROOT, flow.name, run, step, task)
    try:
        if list(storage.list_content([target])):
            return  # this task has its own already
        earlier_run, earlier_task = earlier.split("/", 1) if "/" in earlier else (run, earlier)
        tasks = storage.path_join(*_ROOT, flow.name, earlier_run, step)
        if earlier_task.endswith("*"):
            earlier_task = _newest(storage, tasks, earlier_task[:-1])
        if earlier_task and not _succeeded(flow_datastore, earlier_run, step, earlier_task):
            _copy(storage, storage.path_join(tasks, earlier_task), target)
    except Exception as error:  # a checkpoint is a help, never a condition
        logger("checkpoints of task %s could not be carried over: %s" % (earlier, error), bad=True)


def _newest(storage, folder, first):
    """The id of the newest life that saved something: `t`, and after it `t-a3`, `t-a7`."""
    lives = []
    for path, _ in storage.list_content([folder]):
        name = os.path.basename(path.rstrip("/"))
        life = re.fullmatch(re.escape(first) + r"(?:-a(\d+))?", name)
        if life:
            lives.append((int(life.group(1) or 0), name))
    return max(lives)[1] if lives else None


def _succeeded(flow_datastore, run, step, task):
    try:
        return bool(flow_datastore.get_task_datastore(run, step, task)["_task_ok"])
    except Exception:  # it was killed, and left nothing to read
        return False


def _copy(storage, source, target):
    files = [path for path, is_file in storage.list_content([source]) if is_file]
    if not files:
        return
    found = []
    with storage.load_bytes(files) as loaded:
        for key, local, _ in loaded:
            if local is not None:
                with open(local, "rb") as file:
                    found.append((storage.path_join(target, os.path.basename(key)), file.read()))
    storage.save_bytes(((path, BytesIO(content)) for path, content in found), overwrite=True, len_hint=len(found))
