"""What tasks told Metaflow's metadata where these are files: Metaflow's own jobs leave them in S3, packed, one for each attempt."""
import io
import tarfile
from concurrent.futures import ThreadPoolExecutor

from metaflow.metaflow_config import DATASTORE_LOCAL_DIR, MAX_ATTEMPTS

# Reading waits for the store and not for the processor.
THREADS = 8

# A description is a few KB.
BYTES_MAX = 1 << 20


def read(store, run_id, tasks):
    """Content by path below `.metaflow`; `tasks` are named `step/task`. A task that left nothing adds nothing."""

    def one(pathspec):
        step, task = pathspec.split("/")
        found = {}
        for attempt in range(MAX_ATTEMPTS):
            it = store.get_task_datastore(run_id, step, task, attempt=attempt, allow_not_done=True)
            if not it.has_metadata(it.METADATA_ATTEMPT_SUFFIX):
                # A job that died early left no trace of an attempt, and the next may have.
                continue
            if it.has_metadata("local_metadata"):
                key = it.load_metadata(["local_metadata"])["local_metadata"]
                for _, packed in store.load_data([key]):
                    found.update(_described(packed))
        return found

    found = {}
    with ThreadPoolExecutor(THREADS) as pool:
        for each in pool.map(one, tasks):
            found.update(each)
    return found


def _described(packed):
    """The descriptions in what one attempt left: `_meta` of the run, of its steps and of its tasks."""
    top = DATASTORE_LOCAL_DIR + "/"
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        for member in archive:
            if member.isfile() and member.size <= BYTES_MAX and member.name.startswith(top) and "/_meta/" in member.name:
                yield member.name[len(top):], archive.extractfile(member).read().decode("utf-8")
