"""The request file: what the executor wants of one attempt."""
import json
import os
import sys


class Request:
    """A request file, read. `docs/metaflow.md`, "What a task runs", describes it."""

    def __init__(self, path):
        self.path = os.path.abspath(path)
        with open(self.path, encoding="utf-8") as file:
            self.values = json.load(file)
        if self.values.get("version") != 1:
            raise ValueError("%s has version %r, this runner knows version 1" % (path, self.values.get("version")))
        self.flow = self.values["flow"]
        self.outcome = self.values["outcome"]
        self.step_name = self.values.get("step_name")
        self.attempt = self.values.get("attempt") or 0

    def get(self, name):
        return self.values.get(name)

    @property
    def saves_logs(self):
        return bool((self.values.get("logs") or {}).get("save")) and self.values.get("step") is not None

    def init_arguments(self):
        return [self.flow, *self.values["top"], *self.values["init"]]

    def clone_arguments(self):
        return [self.flow, *self.values["top"], "dalsegno-task", "clone", "--request", self.path]

    def class_arguments(self, out):
        return [self.flow, *self.values["top"], "dalsegno-task", "class", "--out", out]

    def step_arguments(self):
        return [self.flow, *self.values["top"], "--with=dalsegno_internal", *self.values["step"]]

    def top_option(self, name):
        """The value of a top-level option, given as `--name=value` or `--name value`."""
        top = self.values["top"]
        for index, word in enumerate(top):
            if word.startswith(name + "="):
                return word[len(name) + 1:]
            if word == name and index + 1 < len(top):
                return top[index + 1]
        return None


def open_request(path):
    """The request, or the end of the process: without one there is nowhere else to say what is wrong."""
    try:
        request = Request(path)
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write("dalsegno: the request file %s cannot be read: %s: %s\n" % (path, type(error).__name__, error))
        raise SystemExit(2)
    try:
        # What an earlier process with the same name left must not speak for this one.
        os.unlink(request.outcome)
    except FileNotFoundError:
        pass
    return request
