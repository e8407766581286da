"""Attempts that ended before Metaflow began: killed while they started, or by an error of the flow file's imports."""
import time

from metaflow.datastore.task_datastore import TaskDataStore


def fill_gap(flow_datastore, run_id, step_name, task_id, attempt):
    """Marks all attempts before this one as begun, as Metaflow itself does.

    Metaflow's readers count attempts up to the first that has no mark, and take the last one counted: they would find
    the data of an attempt that failed before the gap, or none.
    """
    if not attempt:
        return
    marks = {
        TaskDataStore.metadata_name_for_attempt(TaskDataStore.METADATA_ATTEMPT_SUFFIX, before): {"time": time.time()}
        for before in range(attempt)
    }
    task = flow_datastore.get_task_datastore(run_id, step_name, task_id, attempt=attempt, mode="w")
    task.save_metadata(marks, allow_overwrite=False, add_attempt=False)
