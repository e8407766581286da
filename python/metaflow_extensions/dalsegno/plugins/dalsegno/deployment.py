"""What a deployment tells the daemon: the flow as Metaflow sees it now, its code, and where its data goes."""

import base64
import copy
import inspect
import os
import socket
import sys

from metaflow import current
from metaflow.metaflow_config import DEFAULT_DECOSPECS, DEFAULT_PACKAGE_SUFFIXES
from metaflow.util import get_username

from . import code
from .errors import DalsegnoError
from .task.dump import dump

# What the daemon takes: the whole request, in which the package is in base64.
REQUEST_BYTES_MAX = 64 << 20


class Deployment:
    """The body of `POST /metaflow/deployments`, ready to be sent or shown."""

    def __init__(self, obj, tags=(), namespace=None, strategy=None):
        file = os.path.abspath(inspect.getfile(obj.flow.__class__))
        folder = os.path.dirname(file)
        suffixes = set(obj.package_suffixes) | set(DEFAULT_PACKAGE_SUFFIXES.split(","))
        self.files = code.with_sidecar(code.files(folder, suffixes), file)
        self.package = code.pack(self.files)
        options = top_options()
        self.body = {
            "class": obj.flow.name,
            "file": file,
            "folder": os.getcwd(),
            "host": socket.gethostname(),
            "entry": os.path.relpath(file, folder),
            "dump": dump(checked(obj)),
            "python": sys.executable,
            "user": get_username(),
            "branch": options.get("branch"),
            "production": bool(options.get("production")),
            "tags": list(tags),
            "namespace": namespace,
            "with": [*(getattr(obj, "tl_decospecs", None) or []), *DEFAULT_DECOSPECS.split()],
            "storage": storage(obj),
            "environment": obj.environment.TYPE,
        }
        if strategy:
            self.body["strategy"] = strategy

    def request(self):
        """
        Raises `DalsegnoError` when there is so much code that the daemon would not take it.
        """
        # Names, values and the dump beside the code are small; this leaves them a MiB.
        if len(self.package) * 4 // 3 + (1 << 20) > REQUEST_BYTES_MAX:
            raise DalsegnoError(too_large(len(self.package), self.files))
        return {**self.body, "package": base64.b64encode(self.package).decode()}

    def shown(self):
        """For people: the names of the files in the package in place of its bytes."""
        package = {"bytes": len(self.package), "files": [name for _, name in self.files]}
        return {**self.body, "package": package}


def too_large(packed_bytes, files):
    largest = sorted(((os.path.getsize(path), name) for path, name in files), reverse=True)[:3]
    lines = ["  %s: %.1f MB" % (name, size / 1e6) for size, name in largest]
    return (
        "The code is too large to be deployed: %.1f MB packed, and about 47 MB are taken. The largest files are\n%s\n"
        "Files belong into the datastore; code is what ends in .py, .R, .RDS or in one of --package-suffixes."
        % (packed_bytes / 1e6, "\n".join(lines))
    )


def checked(obj):
    """Checks the flow as Metaflow's own commands do, and leaves nothing to check for those who would do it again."""
    obj.check(obj.graph, obj.flow, obj.environment, pylint=obj.pylint)
    obj = copy.copy(obj)
    obj.check = lambda *_, **__: None
    return obj


def name_of(obj):
    """The flow's name in the daemon: with @project the same class may be deployed once for each branch."""
    return current.get("project_flow_name") or obj.flow.name


def top_options():
    """Options before the command, such as `--branch`: tasks have to be given them again as they were."""
    from metaflow.cli_args import cli_args

    return cli_args.top_kwargs or {}


def storage(obj):
    """Where runs put their data, so that it is found again where the deployer looks for it."""
    store = obj.datastore_impl
    root = store.datastore_root
    return {
        "datastore": store.TYPE,
        "root": os.path.abspath(root) if store.TYPE == "local" else root,
        "metadata": obj.metadata.TYPE,
    }
