"""Checkpoints of an earlier life of a task: `@checkpoint` finds them under the new task's name, too."""
import os


def carry_over(flow, flow_datastore, request, earlier, logger):
    """Copies what `@checkpoint` knows of the earlier task; the checkpoints themselves stay where they are.

    `earlier` is a task id of the same run, or `run id/task id`.
    """
    storage = flow_datastore._storage_impl
    step, run, task = request["step_name"], request["run_id"], request["task_id"]
    earlier_run, earlier_task = earlier.split("/", 1) if "/" in earlier else (run, earlier)
    prefix = ["mf.checkpoints", "checkpoints", "metadata", flow.name]
    source = storage.path_join(*prefix, earlier_run, step, earlier_task)
    target = storage.path_join(*prefix, run, step, task)
    if list(storage.list_content([target])):
        return  # this task has its own already
    try:
        files = [path for path, is_file in storage.list_content([source]) if is_file]
        if not files:
            return
        found = []
        with storage.load_bytes(files) as loaded:
            for key, local, _ in loaded:
                if local is not None:
                    with open(local, "rb") as file:
                        found.append((storage.path_join(target, os.path.basename(key)), file.read()))
        from io import BytesIO

        storage.save_bytes(((path, BytesIO(content)) for path, content in found), overwrite=True, len_hint=len(found))
    except Exception as error:  # a checkpoint is a help, never a condition
        logger("checkpoints of task %s could not be carried over: %s" % (earlier, error), bad=True)
