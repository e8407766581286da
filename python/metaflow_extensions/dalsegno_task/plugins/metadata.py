"""Metaflow's metadata service, for tasks that go on while it is down: what they have to tell it waits on disk."""
import json
import os
import re
import sys
import threading
import time

import requests

from metaflow.plugins.metadata_providers import service
from metaflow.plugins.metadata_providers.service import ServiceMetadataProvider

from . import spool

_CONNECT_SECONDS = 5
_VERSION_HEADER = "METADATA_SERVICE_VERSION"
# Of a service that never answered. Heartbeats and tags need no newer one.
_VERSION = "2.3.0"

# What a task asks for while it registers itself, and all that it tells, below the service's address.
_ASKED = re.compile(r"/flows/[^/?]+(?:/runs/(?P<run>[^/?]+)(?:/steps/[^/?]+(?:/tasks/[^/?]+)?)?)?\Z")
_TOLD = re.compile(
    r"/flows/[^/?]+(?:/(?P<what>run)|/runs/(?P<run>[^/?]+)/(?:tag/mutate|steps/[^/?]+/"
    r"(?:step|(?P<task>task)|tasks/[^/?]+/(?:metadata|artifact))))?\Z"
)

_thread = threading.local()


class SpooledServiceProvider(ServiceMetadataProvider):
    TYPE = "service"

    def _get_or_create(self, *args, **kwargs):
        _thread.registers, _thread.exists = True, False
        try:
            return super()._get_or_create(*args, **kwargs)
        finally:
            _thread.registers = False


class _Session:
    """In place of the session by which Metaflow speaks to the service."""

    def __init__(self, real):
        self._real, self._process, self._waiting = real, None, None

    def get(self, url, headers=None, **more):
        return self._do("GET", url, headers, more)

    def post(self, url, headers=None, **more):
        return self._do("POST", url, headers, more)

    def patch(self, url, headers=None, **more):
        return self._do("PATCH", url, headers, more)

    def __getattr__(self, name):
        return getattr(self._real, name)

    def _do(self, method, url, headers, more):
        waiting, body = self._of_this_process(), more.get("json")
        path = waiting and waiting.path_of(method, url, body)
        if path is None:
            return self._real.request(method, url, headers=headers, **more)
        in_doubt = False
        if not waiting.is_behind(path):
            try:
                timeout = (_CONNECT_SECONDS, waiting.seconds)
                answer = self._real.request(method, url, headers=headers, timeout=timeout, **more)
            except requests.exceptions.RequestException as error:
                in_doubt = True
                waiting.down.failed("%s: %s" % (type(error).__name__, error))
            else:
                if not waiting.is_of_no_use(answer):
                    _thread.exists = answer.status_code == 409
                    return answer
                in_doubt = answer.status_code != 429
                waiting.down.failed("HTTP %d" % answer.status_code)
        return waiting.told(path) if method == "GET" else waiting.keep(method, path, body, in_doubt)

    def _of_this_process(self):
        # A fork is another task. What it asks first is before its step, which may change the environment.
        if self._process != os.getpid():
            self._process, self._waiting = os.getpid(), _Waiting.configured()
        return self._waiting


class _Waiting:
    """What this process knows of the service, and of what waits of its run."""

    def __init__(self, url, run, seconds, kept, down):
        self.url, self.run, self.seconds = url, run, seconds
        self.kept, self.down = kept, down
        self._has_said = False

    @classmethod
    def configured(cls):
        """None where nothing is to wait: Metaflow does as ever."""
        try:
            wanted = json.loads(os.environ["DALSEGNO_METADATA_SPOOL"])
            run, folder = os.environ["METAFLOW_RUN_ID"], wanted["folder"]
        except (KeyError, ValueError):
            return None
        # The daemon sends to the service that it knows, with the key that it has for that.
        url = (SpooledServiceProvider.INFO or "").rstrip("/")
        if not url or url != wanted["url"] or not os.path.isdir(folder):
            return None
        kept = spool.Spool(folder, run, wanted["bytes"], wanted["entries"])
        return cls(url, run, wanted["seconds"], kept, spool.Down(folder))

    def path_of(self, method, url, body):
        """The URL below the service's, if this can be answered without it; None: it is asked, as Metaflow does."""
        path = url[len(self.url):] if url.startswith(self.url + "/") else None
        if path is None or path == "/ping":
            return path
        if method == "GET":
            found = _ASKED.match(path) if getattr(_thread, "registers", False) else None
            return path if found and found.group("run") in (None, self.run) else None
        found = _TOLD.match(path)
        if not found:
            return None
        if found.group("what"):
            return path if body.get("run_number") == self.run else None
        if found.group("task") and not body.get("task_id"):
            return None
        return path if found.group("run") in (None, self.run) else None

    def is_behind(self, path):
        """Whether something waits that has to arrive first, or nobody need ask."""
        return self.down.is_down() or (path != "/ping" and self.kept.waits())

    def is_of_no_use(self, answer):
        """Whether this is no answer of a service that works. One whose database is away says 400 to what it looks up."""
        status = answer.status_code
        if status < 400:
            self.down.saw(answer.headers.get(_VERSION_HEADER))
        return status >= 500 or status == 429 or (status == 400 and "need to register" in answer.text)

    def told(self, path):
        """What the service would answer if all had arrived that waits."""
        if path == "/ping":
            return _answer(200, "pong", {_VERSION_HEADER: self.down.version(_VERSION)})
        created = self._created(path)
        if created is None:
            return _answer(404, {"message": "nothing of it waits"})
        return _answer(200, created)

    def keep(self, method, path, body, in_doubt):
        update = {"at": time.time(), "method": method, "path": path, "body": body, "doubt": in_doubt}
        try:
            self.kept.add(update)
        except (spool.Full, OSError) as error:
            said = "what this task tells Metaflow's metadata service can neither be sent nor kept: %s" % error
            sys.stderr.write("dalsegno: %s\n" % said)
            spool.put(os.path.join(self.kept.folder, "full"), "%f\n%s\n" % (time.time(), error))
            # Metaflow asks again for half a minute, then the task fails.
            return _answer(503, {"message": said})
        if not self._has_said:
            self._has_said = True
            sys.stderr.write("dalsegno: Metaflow's metadata service is told later: updates of this task wait on disk\n")
        kind = path.rsplit("/", 1)[1]
        if kind in ("metadata", "artifact"):
            return _answer(200, {{"metadata": "metadata_created", "artifact": "artifacts_created"}[kind]: len(body)})
        if kind == "mutate":
            return _answer(200, {"tags": self._tags(path)})
        return _answer(200, _row(path, body))

    def _created(self, path):
        """What waits to be created by this path, or was found to exist, as the service would show it."""
        parts = path.split("/")
        if _thread.exists:
            return _row(path, {"run_number": parts[4] if len(parts) > 4 else None, "task_id": parts[-1]})
        create = {3: path, 5: "/".join(parts[:3]) + "/run", 7: path + "/step", 9: "/".join(parts[:7]) + "/task"}[len(parts)]
        for update in self.kept.updates(create):
            if len(parts) < 9 or update["body"].get("task_id") == parts[8]:
                return _row(create, update["body"])
        return None

    def _tags(self, path):
        """As far as they are known here."""
        tags = set()
        for update in self.kept.updates(path.split("/runs/")[0] + "/run"):
            tags |= set(update["body"].get("tags") or [])
        for update in self.kept.updates(path):
            tags -= set(update["body"].get("tags_to_remove") or [])
            tags |= set(update["body"].get("tags_to_add") or [])
        return sorted(tags)


def _row(path, body):
    parts = path.split("/")
    row = dict(body or {}, flow_id=parts[2], ts_epoch=int(time.time() * 1000))
    if len(parts) > 6:
        row["run_number"], row["step_name"] = parts[4], parts[6]
    return row


def _answer(status, value, headers=None):
    answer = requests.Response()
    answer.status_code = status
    answer.headers.update({"Content-Type": "application/json", **(headers or {})})
    answer._content = json.dumps(value).encode()
    return answer


if hasattr(ServiceMetadataProvider, "_session"):
    SpooledServiceProvider._session = _Session(ServiceMetadataProvider._session)
else:
    # A Metaflow whose module asks by `requests` itself.
    service.requests = _Session(requests)
