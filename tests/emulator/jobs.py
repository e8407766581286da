"""Jobs of Batch that really run: each command is a process of this machine, in a folder of its own.

One thread moves all of them: it waits for timers, for the output of the processes and for their ends. A job that does
not run costs a few objects and no thread, so that ten thousand of them fit.
"""

import collections
import heapq
import itertools
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid

import events
import records

# The state of all jobs. Whoever holds it never waits for anything, nor for the lock of moto.
LOCK = threading.RLock()

STATES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
ENDED = ("SUCCEEDED", "FAILED")
AT_ONCE = 200
KILL_AFTER = 2.0
NO_CAPACITY = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
ESSENTIAL = "Essential container in task exited"
TIMED_OUT = "Job attempt duration exceeded timeout"


def now():
    return int(time.time() * 1000)


def matches(pattern, text):
    """A glob of `evaluateOnExit`: only a star at the end means something, and case does not matter."""
    pattern, text = pattern.lower(), text.lower()
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


class Queue:
    """Jobs that wait for a place, and how this queue gives places."""

    def __init__(self, name, arn):
        self.name = name
        self.arn = arn
        self.waiting = collections.deque()
        self.starting = 0
        self.used = 0
        self.vcpus_used = 0.0
        # Set by `PUT /_batch/queues/NAME`.
        self.capacity = None
        self.vcpus = None
        self.hold = False
        self.reason = None
        self.dwell_ms = 20
        self.instant = False
        self.visible_after_ms = 0
        self.second_ms = 1000
        self.environment = {}
        # What ListJobs asks for.
        self.by_state = {state: {} for state in STATES}
        self.by_name = {}
        self.names = []

    def has_place(self, job):
        if self.hold:
            return False
        if self.capacity is not None and self.used >= self.capacity:
            return False
        return self.vcpus is None or self.vcpus_used + job.vcpus <= self.vcpus


class Job:
    """A job, an array of jobs, or a child of an array."""

    numbers = itertools.count(1)

    def __init__(self, region, request, queue, definition, parent=None, index=None):
        self.number = next(Job.numbers)
        self.region = region
        self.parent = parent
        self.index = index
        self.id = f"{parent.id}:{index}" if parent else str(uuid.uuid4())
        self.arn = f"arn:aws:batch:{region}:{events.ACCOUNT}:job/{self.id}"
        self.name = request["jobName"]
        self.request = request
        self.queue = queue
        self.definition = definition
        self.tags = dict(parent.tags if parent else request.get("tags") or {})
        self.size = None if parent else (request.get("arrayProperties") or {}).get("size")
        self.children = []
        self.summary = {state: 0 for state in STATES}
        self.retry = request.get("retryStrategy") or definition.get("retryStrategy") or {"attempts": 1}
        timeout = request.get("timeout") or definition.get("timeout") or {}
        self.timeout = timeout.get("attemptDurationSeconds")
        self.depends_on = request.get("dependsOn") or []
        self.unmet = 0
        self.container = parent.container if parent else records.container(self)
        self.vcpus = records.vcpus(self.container)
        self.state = None
        self.reason = None
        self.created = now()
        self.started = None
        self.stopped = None
        self.attempts = []
        self.exit_code = None
        self.container_reason = None
        self.stream = None
        # Why it is being ended by somebody else, and what its end then looks like.
        self.terminating = None
        self.cancelled = False
        self.verdict = None
        self.attempt_started = None
        self.running = None
        self.ended = threading.Event()

    @property
    def visible(self):
        after = self.queue.visible_after_ms
        return not after or now() >= (self.parent or self).created + after


class Running:
    """The process of an attempt."""

    def __init__(self, job, process, folder):
        self.job = job
        self.process = process
        self.folder = folder
        self.pidfd = os.pidfd_open(process.pid)
        self.rest = b""
        self.last_line = ""
        self.over = False

    def kill(self, how):
        try:
            os.killpg(self.process.pid, how)
        except ProcessLookupError:
            pass


class Mover:
    """Moves jobs from state to state."""

    def __init__(self):
        self.timers = []
        self.numbers = itertools.count()
        self.selector = selectors.DefaultSelector()
        self.wake_up, self.bell = socket.socketpair()
        self.wake_up.setblocking(False)
        self.bell.setblocking(False)
        self.selector.register(self.wake_up, selectors.EVENT_READ, None)
        self.processes = 0
        self.crowd = collections.deque()
        self.dependents = {}
        self.folder = tempfile.mkdtemp(prefix="batch-jobs-")
        self.reaper = None

    # The thread ---------------------------------------------------------------------------------------------------

    def after(self, milliseconds, work):
        """Does this later in the thread, with the lock."""
        with LOCK:
            heapq.heappush(self.timers, (time.monotonic() + milliseconds / 1000, next(self.numbers), work))
        try:
            self.bell.send(b"!")
        except BlockingIOError:
            pass

    def go_on(self):
        while True:
            try:
                self.turn()
            except Exception:
                traceback.print_exc(file=sys.stderr)

    def turn(self):
        with LOCK:
            wait = max(0.0, self.timers[0][0] - time.monotonic()) if self.timers else None
        ready = self.selector.select(wait)
        with LOCK:
            for key, _ in ready:
                if key.data is None:
                    self.wake_up.recv(4096)
                elif key.fd == key.data.pidfd:
                    self.over(key.data)
                else:
                    self.read(key.data)
            # A bounded piece of work, so that requests get their turn.
            for _ in range(100):
                if not self.timers or self.timers[0][0] > time.monotonic():
                    break
                work = heapq.heappop(self.timers)[2]
                work()

    # From state to state ------------------------------------------------------------------------------------------

    def set(self, job, state, reason=None):
        queue = job.queue
        if job.parent is None:
            if job.state is not None:
                del queue.by_state[job.state][job.number]
            queue.by_state[state][job.number] = job
        else:
            if job.state is not None:
                job.parent.summary[job.state] -= 1
            job.parent.summary[state] += 1
        job.state = state
        job.reason = reason
        if state in ENDED:
            job.stopped = now()
            job.ended.set()
        self.tell(job, "Batch Job State Change", [job.arn])
        if state in ENDED:
            self.resolve(job)
            if job.parent is not None:
                self.child_ended(job.parent)

    def tell(self, job, kind, resources):
        if events.listening(job.region, "aws.batch"):
            events.tell(job.region, "aws.batch", kind, resources, records.detail(job))

    def enter(self, job):
        """A new job, whose dependencies are known."""
        self.set(job, "SUBMITTED")
        for child in job.children:
            child.state = "SUBMITTED"
            job.summary["SUBMITTED"] += 1
        self.after(0, lambda: self.look(job))

    def look(self, job):
        """Waits for what it depends on."""
        if job.state != "SUBMITTED":
            return
        for wanted in job.depends_on:
            other = records.JOBS.get(wanted.get("jobId"))
            if other is None or other.state == "SUCCEEDED":
                continue
            if other.state == "FAILED":
                self.fail(job, "Dependent Job failed")
                return
            self.dependents.setdefault(other.id, []).append(job)
            job.unmet += 1
        if job.unmet or job.children:
            self.set(job, "PENDING")
        if not job.unmet:
            self.free(job)

    def resolve(self, job):
        for waiting in self.dependents.pop(job.id, ()):
            waiting.unmet -= 1
            if waiting.state in ENDED:
                continue
            if job.state == "FAILED":
                self.fail(waiting, "Dependent Job failed")
            elif not waiting.unmet:
                self.free(waiting)

    def free(self, job):
        """Nothing keeps it but a place."""
        for child in job.children:
            self.after(0, lambda child=child: self.make_runnable(child))
        if not job.children:
            self.make_runnable(job)

    def make_runnable(self, job):
        if job.state in ENDED:
            return
        self.set(job, "RUNNABLE")
        if job.queue.instant:
            self.make_waiting(job)
        else:
            self.after(job.queue.dwell_ms, lambda: self.make_waiting(job))

    def make_waiting(self, job):
        if job.state == "RUNNABLE":
            job.queue.waiting.append(job)
            self.serve(job.queue)
            if job.state == "RUNNABLE" and job.reason is None:
                self.explain(job)

    def explain(self, job):
        """Why it stays where it is; the first one blocks the queue, which is told."""
        queue = job.queue
        if queue.hold and queue.reason is None:
            return
        job.reason = queue.reason if queue.hold else NO_CAPACITY
        if queue.waiting and queue.waiting[0] is job and queue.hold:
            self.tell(job, "Batch Job Queue Blocked", [job.arn, queue.arn])

    def serve(self, queue):
        while queue.waiting:
            job = queue.waiting[0]
            if job.state != "RUNNABLE":
                queue.waiting.popleft()
                continue
            if not queue.has_place(job):
                return
            queue.waiting.popleft()
            queue.used += 1
            queue.vcpus_used += job.vcpus
            self.set(job, "STARTING")
            if queue.instant:
                self.instantly(job)
            else:
                self.after(queue.dwell_ms, lambda job=job: self.start(job))

    def held(self, queue):
        """The queue was told to give places otherwise."""
        waiting = [job for job in queue.waiting if job.state == "RUNNABLE"]
        for job in waiting:
            job.reason = None
        self.serve(queue)
        for job in waiting:
            if job.state == "RUNNABLE":
                self.explain(job)

    # Attempts -----------------------------------------------------------------------------------------------------

    def begin(self, job):
        job.exit_code = None
        job.container_reason = None
        job.verdict = None
        job.attempt_started = now()
        job.started = job.started or job.attempt_started
        job.stream = f"{job.definition['jobDefinitionName']}/default/{uuid.uuid4().hex}"

    def instantly(self, job):
        self.begin(job)
        self.set(job, "RUNNING")
        job.exit_code = 0
        self.conclude(job, ESSENTIAL)

    def start(self, job):
        if job.terminating is not None:
            self.begin(job)
            self.conclude(job, job.terminating)
        elif self.processes >= AT_ONCE:
            self.crowd.append(job)
        else:
            self.spawn(job)

    def spawn(self, job):
        self.begin(job)
        image = job.container.get("image", "")
        if image.startswith("missing/"):
            job.container_reason = f"CannotPullContainerError: failed to resolve ref {image}: not found"
            self.conclude(job, "Task failed to start")
            return
        folder = tempfile.mkdtemp(dir=self.folder)
        try:
            process = subprocess.Popen(
                records.command(job),
                cwd=folder,
                env=records.environment(job, folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            job.exit_code = 127
            job.container_reason = f"CannotStartContainerError: {error}"
            self.conclude(job, "Task failed to start")
            return
        self.leash(process.pid, "+")
        os.set_blocking(process.stdout.fileno(), False)
        running = job.running = Running(job, process, folder)
        self.processes += 1
        self.selector.register(running.pidfd, selectors.EVENT_READ, running)
        self.selector.register(process.stdout, selectors.EVENT_READ, running)
        self.set(job, "RUNNING")
        if job.timeout:
            self.after(job.timeout * job.queue.second_ms, lambda: self.time_out(running))

    def read(self, running):
        """What it wrote, line by line, to its stream of logs."""
        try:
            chunk = running.process.stdout.read()
        except ValueError:
            return
        if chunk == b"":
            self.selector.unregister(running.process.stdout)
            running.process.stdout.close()
        lines = (running.rest + (chunk or b"")).split(b"\n")
        running.rest = lines.pop()
        if not chunk and running.rest:
            lines.append(running.rest)
            running.rest = b""
        if lines:
            texts = [line.decode(errors="replace").rstrip("\r") for line in lines]
            running.last_line = texts[-1]
            job = running.job
            records.log(job.region, job.container, job.stream, [(now(), text) for text in texts])

    def over(self, running):
        """The process is dead. What it left behind in its session dies too."""
        if running.over:
            return
        running.over = True
        job = running.job
        code = running.process.wait()
        running.kill(signal.SIGKILL)
        self.leash(running.process.pid, "-")
        self.selector.unregister(running.pidfd)
        os.close(running.pidfd)
        while not running.process.stdout.closed:
            before = running.rest
            self.read(running)
            if not running.process.stdout.closed and running.rest == before:
                self.selector.unregister(running.process.stdout)
                running.process.stdout.close()
        shutil.rmtree(running.folder, ignore_errors=True)
        job.running = None
        self.processes -= 1
        job.exit_code = code if code >= 0 else 128 - code
        if job.exit_code == 137 and "OutOfMemoryError" in running.last_line:
            job.container_reason = OUT_OF_MEMORY
        status_reason = ESSENTIAL
        if job.verdict is not None:
            job.exit_code = job.verdict.get("exit")
            job.container_reason = job.verdict.get("reason")
            status_reason = job.verdict.get("status_reason", ESSENTIAL)
        self.conclude(job, status_reason)
        while self.crowd and self.processes < AT_ONCE:
            waiting = self.crowd.popleft()
            self.start(waiting)

    def conclude(self, job, status_reason):
        """The attempt is over."""
        job.attempts.append(records.attempt(job, now(), status_reason))
        job.queue.used -= 1
        job.queue.vcpus_used -= job.vcpus
        if job.exit_code == 0:
            self.set(job, "SUCCEEDED", status_reason)
        elif job.terminating is not None:
            self.set(job, "FAILED", job.terminating)
        elif status_reason != TIMED_OUT and self.again(job, status_reason):
            self.make_runnable(job)
        else:
            self.set(job, "FAILED", status_reason)
        self.serve(job.queue)

    @staticmethod
    def again(job, status_reason):
        """The retry strategy, as AWS reads it: the first condition that matches decides, without one it is a retry."""
        if len(job.attempts) >= job.retry.get("attempts", 1):
            return False
        said = {
            "onExitCode": "" if job.exit_code is None else str(job.exit_code),
            "onReason": job.container_reason or "",
            "onStatusReason": status_reason or "",
        }
        for rule in job.retry.get("evaluateOnExit") or []:
            if all(matches(rule[key], said[key]) for key in said if rule.get(key) is not None):
                return rule["action"].upper() == "RETRY"
        return True

    def time_out(self, running):
        if not running.over and running.job.verdict is None:
            running.job.verdict = {"exit": 137, "status_reason": TIMED_OUT}
            self.stop(running)

    def stop(self, running):
        """Asks it to end, and soon makes it."""
        running.kill(signal.SIGTERM)
        self.after(KILL_AFTER * 1000, lambda: running.over or running.kill(signal.SIGKILL))

    # From outside -------------------------------------------------------------------------------------------------

    def end(self, job, verdict):
        """The host of a running job goes away, or its container does: it ends now, and as it is said."""
        with LOCK:
            if job.running is None:
                return False
            job.verdict = verdict
            job.running.kill(signal.SIGKILL)
            return True

    def terminate(self, job, reason):
        """TerminateJob."""
        with LOCK:
            if job.state in ENDED:
                return
            job.terminating = reason
            for child in job.children:
                self.terminate(child, reason)
            if job.running is not None:
                self.stop(job.running)
            elif job.state != "STARTING" and not job.children:
                self.set(job, "FAILED", reason)

    def cancel(self, job, reason):
        """CancelJob, which leaves alone what has started."""
        with LOCK:
            for child in job.children:
                self.cancel(child, reason)
            if job.state in ("SUBMITTED", "PENDING", "RUNNABLE") and not job.children:
                job.cancelled = True
                self.set(job, "FAILED", reason)

    def fail(self, job, reason):
        for child in job.children:
            self.set(child, "FAILED", reason)
        if not job.children:
            self.set(job, "FAILED", reason)

    def child_ended(self, parent):
        if parent.state in ENDED or sum(parent.summary[state] for state in ENDED) < parent.size:
            return
        if parent.summary["FAILED"]:
            self.set(parent, "FAILED", parent.terminating or "Array Child Job failed")
        else:
            self.set(parent, "SUCCEEDED")

    def leash(self, pid, sign):
        """A process that outlives this one when it is killed, and then kills the sessions of the jobs."""
        if self.reaper is None:
            program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reaper.py")
            self.reaper = subprocess.Popen(
                [sys.executable, "-S", "-E", program, self.folder],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        self.reaper.stdin.write(f"{sign}{pid}\n".encode())
        self.reaper.stdin.flush()


MOVER = Mover()
threading.Thread(target=MOVER.go_on, name="jobs", daemon=True).start()
