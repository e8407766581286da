"""The smallest client of the fork server: one task at a time, its exit code as `subprocess` has it."""
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys

RUNTIME = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "runtime"))


def adopt_orphans():
    """Tasks of the server become our children, as they become the keeper's (Linux only)."""
    if sys.platform != "linux":
        raise OSError("only Linux lets a process adopt orphans")
    set_child_subreaper = 36
    if ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0) != 0:
        raise OSError("prctl")


class WarmServer:
    def __init__(self, folder, environment, python=sys.executable):
        adopt_orphans()
        self.socket = os.path.join(folder, "warm.sock")
        self.log = open(os.path.join(folder, "warm.log"), "w+b")
        self.process = subprocess.Popen(
            [python, "-u", os.path.join(RUNTIME, "warm.py"), self.socket],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=environment,
        )
        line = self.process.stdout.readline()
        if line != b"ready\n":
            raise OSError("the server said %r: %s" % (line, self.said()))

    def said(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read().decode()

    def connect(self, order):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(30)
        connection.connect(self.socket)
        connection.sendall(order if isinstance(order, bytes) else json.dumps(order).encode() + b"\n")
        with connection.makefile("rb") as answers:
            return connection, json.loads(answers.readline())

    def run(self, argv, environment, cwd, stdout, stderr):
        order = {"argv": argv, "env": environment, "cwd": cwd, "stdout": stdout, "stderr": stderr, "cgroup": None}
        connection, answer = self.connect(order)
        with connection:
            if "pid" not in answer:
                raise OSError(answer["error"])
            connection.sendall(b"g")
        return wait(answer["pid"])

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()
        self.log.close()


def wait(pid):
    """The exit code of a task, once nothing it left behind writes any more: the keeper ends an attempt's group too."""
    _, status = os.waitpid(pid, 0)
    end_group(pid)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def end_group(leader):
    """Kills and reaps what is left of a process group; its orphans are our children (see `adopt_orphans`)."""
    try:
        while True:
            os.killpg(leader, signal.SIGKILL)
            os.waitpid(-leader, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
