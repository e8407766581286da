"""The code that goes with a deployment: the files that Metaflow's own package would hold of the user."""

import gzip
import io
import os
import tarfile


def files(folder, suffixes):
    """Files below `folder` whose names end in one of `suffixes`, as `(path, name in the package)`, sorted by name.

    Metaflow's rules: hidden folders and `__pycache__` are left out, a hidden file is taken when its whole name is a
    suffix (`.env`), links are followed once.
    Beyond them, virtual environments are left out: they are the interpreter, not the code.
    """
    suffixes = tuple(it.lower() for it in suffixes if it)
    found = []
    open_folders = [(folder, frozenset([os.path.realpath(folder)]))]
    while open_folders:
        parent, seen = open_folders.pop()
        for entry in os.scandir(parent):
            name = entry.name.lower()
            hidden = name.startswith(".")
            if entry.is_dir():
                real = os.path.realpath(entry.path)
                venv = os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))
                if not hidden and entry.name != "__pycache__" and not venv and real not in seen:
                    open_folders.append((entry.path, seen | {real}))
            elif entry.is_file() and (name in suffixes if hidden else name.endswith(suffixes)):
                found.append((entry.path, os.path.relpath(entry.path, folder)))
    return sorted(found, key=lambda it: it[1])


def with_sidecar(members, flow_file):
    """The same files, and what stands beside the flow for the daemon alone: its promises and alerts."""
    path = os.path.splitext(flow_file)[0] + ".dalsegno.yaml"
    name = os.path.basename(path)
    if not os.path.isfile(path) or any(it[1] == name for it in members):
        return members
    return sorted([*members, (path, name)], key=lambda it: it[1])


def pack(members):
    """A gzipped tar of `(path, name)`: the same files give the same bytes, whenever and by whomever they are packed."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as compressed:
        with tarfile.open(fileobj=compressed, mode="w") as archive:
            for path, name in members:
                with open(path, "rb") as file:
                    content = file.read()
                member = tarfile.TarInfo(name)
                member.size = len(content)
                member.mode = 0o755 if os.access(path, os.X_OK) else 0o644
                archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
