"""Takes finished tasks of an earlier run over into a new one, by Metaflow's own cloning, all in one process."""
from concurrent.futures import ThreadPoolExecutor

from metaflow.clone_util import clone_task_helper

# Cloning copies references, so it waits for the store and not for the processor.
THREADS = 8


class _Origin:
    """Gives Metaflow's clone helper the origin task, with the new run's parameters laid over its artifacts."""

    def __init__(self, store, parameters):
        self.store, self.parameters = store, parameters

    def get_with_pathspec(self, pathspec):
        origin = self.store.get_task_datastore(*pathspec.split("/"))
        if self.parameters is not None:
            for name in self.parameters:
                origin._objects[name] = self.parameters._objects[name]
                if name in self.parameters._info:
                    origin._info[name] = self.parameters._info[name]
        return origin


class _Parameters:
    """What a `_parameters` task hands on: parameters, constants of the class and the description of the graph."""

    def __init__(self, task):
        self._objects, self._info = task._objects, task._info

    def __iter__(self):
        return (name for name in self._objects if not name.startswith("_") or name == "_graph_info")


def clone(obj, wanted):
    store, metadata = obj.flow_datastore, obj.metadata
    origin_run, run = wanted["origin_run_id"], wanted["run_id"]
    metadata.register_run_id(run)
    parameters = None
    task = wanted.get("parameters_task", "params")
    if wanted.get("overlay", True):
        parameters = _Parameters(store.get_task_datastore(run, "_parameters", task))
    origin = _Origin(store, parameters)

    def one(pathspec):
        step, task = pathspec.split("/")
        clone_task_helper(obj.flow.name, origin_run, run, step, task, task, store, metadata, origin_ds_set=origin)

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(one, _with_gangs(store, origin_run, wanted["tasks"])):
            pass


def _with_gangs(store, origin_run, tasks):
    """The tasks, and the workers of those that led a gang."""
    found = {}
    for pathspec in tasks:
        found[pathspec] = None
        if "/" not in pathspec:
            raise ValueError("tasks to clone are named step/task id, not %r" % pathspec)
        task = store.get_task_datastore(origin_run, *pathspec.split("/"))
        if "_control_mapper_tasks" in task and "_control_task_is_mapper_zero" in task:
            for worker in task["_control_mapper_tasks"] or []:
                found["/".join(worker.split("/")[1:])] = None
    return list(found)
