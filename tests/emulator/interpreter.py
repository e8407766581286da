"""An interpreter of the Amazon States Language (JSONPath), made to be stopped, told of and redriven.

Each state that has ended well is remembered with its output under its place: names, branches and items, and how often
it was come to. A redrive runs the machine again from its start, and what is remembered is not run again: so only what
had failed is, as AWS has it.
"""

import collections
import copy
import datetime
import json
import random
import threading
import time
import traceback
import uuid

import asl
import history
import maps
import tasks
from asl import Failure
from history import NOT_CUT, Scope, Stopped, text


class Frame:
    """Where the interpreter is: a branch, an item, or the whole machine."""

    def __init__(self, execution, place, scope, data_of_map=None, previous=0):
        self.execution = execution
        self.place = place
        self.scope = scope
        self.map = data_of_map
        self.previous = previous
        self.state = {}

    def tell(self, kind, details=None):
        self.previous = self.execution.history.add(kind, self.previous, details)
        self.execution.history.check()

    def inner(self, place, data_of_map=None):
        return Frame(self.execution, place, Scope(self.scope), data_of_map or self.map, self.previous)

    def context(self):
        execution = self.execution
        known = {
            "Execution": {
                "Id": execution.arn,
                "Input": execution.data,
                "Name": execution.name,
                "RoleArn": execution.version.role,
                "StartTime": moment(execution.started),
                "RedriveCount": execution.redrives,
            },
            "StateMachine": {"Id": execution.version.machine.arn, "Name": execution.version.machine.name},
            "State": self.state,
        }
        if execution.redriven:
            known["Execution"]["RedriveTime"] = moment(execution.redriven)
        if self.map is not None:
            known["Map"] = self.map
        return known


def moment(at):
    return datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def machine(frame, definition, data):
    """Runs the states from the first to the last; the output of the last."""
    name = definition["StartAt"]
    visits = collections.Counter()
    remembered = frame.execution.remembered
    while name is not None:
        frame.scope.check()
        visits[name] += 1
        place = (*frame.place, name, visits[name])
        if place not in remembered:
            remembered[place] = state(frame, place, name, definition["States"][name], data)
        data, name = remembered[place]
        data = copy.deepcopy(data)
    return data


def state(frame, place, name, given, data):
    """Runs one state: its output, and the name of the next."""
    kind = given["Type"]
    frame.tell(f"{kind}StateEntered", {"name": name, "input": text(data), "inputDetails": NOT_CUT})
    frame.state = {"EnteredTime": moment(time.time()), "Name": name, "RetryCount": 0}
    data_in = asl.path(given.get("InputPath", "$"), data, frame.context())
    following = given.get("Next")
    if kind == "Fail":
        raise failed(given, data_in, frame.context())
    if kind == "Choice":
        following = choice(given, data_in, frame.context())
        result = data_in
    elif kind == "Wait":
        wait(frame, given, data_in)
        result = data_in
    elif kind == "Succeed":
        result = data_in
    elif kind == "Pass":
        if "Result" in given:
            payload = given["Result"]
        elif "Parameters" in given:
            payload = asl.template(given["Parameters"], data_in, frame.context())
        else:
            payload = data_in
        result = asl.put(data_in, given.get("ResultPath", "$"), payload)
    else:
        result, following = with_retries(frame, place, name, given, data, data_in)
    if isinstance(result, Caught):
        result = result.data
    else:
        result = asl.path(given.get("OutputPath", "$"), result, frame.context())
    history.check_size(result, name)
    frame.tell(f"{kind}StateExited", {"name": name, "output": text(result), "outputDetails": NOT_CUT})
    return result, following


def failed(given, data, context):
    def of(field):
        at = f"{field}Path"
        return asl.value(given[at], data, context) if at in given else given.get(field, "")

    return Failure(of("Error"), of("Cause"))


def choice(given, data, context):
    for rule in given["Choices"]:
        if asl.chosen(rule, data, context):
            return rule["Next"]
    if "Default" not in given:
        raise Failure("States.NoChoiceMatched", "No choice was matched and there is no default")
    return given["Default"]


def wait(frame, given, data):
    if "Seconds" in given or "SecondsPath" in given:
        seconds = given["Seconds"] if "Seconds" in given else asl.path(given["SecondsPath"], data, frame.context())
        frame.scope.sleep(frame.execution.real(seconds))
        return
    until = given["Timestamp"] if "Timestamp" in given else asl.path(given["TimestampPath"], data, frame.context())
    frame.scope.sleep(asl.moment(until).timestamp() - time.time())


# Errors -----------------------------------------------------------------------------------------------------------


class Caught:
    """What a `Catch` passes on; `OutputPath` does not touch it."""

    def __init__(self, data):
        self.data = data


def means(names, error):
    if error in names:
        return True
    if error in ("States.DataLimitExceeded", "States.Runtime"):
        return False
    return "States.ALL" in names or ("States.TaskFailed" in names and error != "States.Timeout")


def with_retries(frame, place, name, given, data, data_in):
    """A Task, Parallel or Map, with its `Retry` and `Catch`."""
    tried = collections.Counter()
    while True:
        try:
            result = attempt(frame, place, name, given, data_in)
            if "ResultSelector" in given:
                result = asl.template(given["ResultSelector"], result, frame.context())
            history.check_size(result, name)
            return asl.put(data_in, given.get("ResultPath", "$"), result), given.get("Next")
        except Failure as failure:
            at = next((n for n, one in enumerate(given.get("Retry", [])) if means(one["ErrorEquals"], failure.error)), None)
            if at is not None and tried[at] < given["Retry"][at].get("MaxAttempts", 3):
                pause(frame, given["Retry"][at], tried[at])
                tried[at] += 1
                frame.state["RetryCount"] += 1
                forget_below(frame.execution, place)
                continue
            for one in given.get("Catch", []):
                if means(one["ErrorEquals"], failure.error):
                    told = {"Error": failure.error, "Cause": failure.cause}
                    return Caught(asl.put(data_in, one.get("ResultPath", "$"), told)), one["Next"]
            raise


def pause(frame, retrier, tried):
    seconds = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** tried
    seconds = min(seconds, retrier.get("MaxDelaySeconds", seconds))
    if retrier.get("JitterStrategy") == "FULL":
        seconds *= random.random()
    frame.scope.sleep(frame.execution.real(seconds))


def forget_below(execution, place):
    """A retry of a Parallel or Map runs all of it again, a redrive does not."""
    for known in list(execution.remembered):
        if known[: len(place)] == place:
            execution.remembered.pop(known, None)
    execution.children.pop(place, None)


def attempt(frame, place, name, given, data):
    """One attempt of a state, not longer than it may take."""
    seconds = given.get("TimeoutSeconds")
    if "TimeoutSecondsPath" in given:
        seconds = asl.path(given["TimeoutSecondsPath"], data, frame.context())
    outer, inner = frame.scope, Scope(frame.scope)
    frame.scope = inner
    timer = threading.Timer(frame.execution.real(seconds), inner.stop) if seconds else None
    if timer is not None:
        timer.daemon = True
        timer.start()
    try:
        if given["Type"] == "Task":
            return task(frame, name, given, data, seconds)
        if given["Type"] == "Parallel":
            return parallel(frame, place, given, data)
        return maps.map_state(frame, place, name, given, data)
    except Stopped:
        outer.check()
        if given["Type"] == "Task":
            frame.tell("TaskTimedOut", {**frame.told, "error": "States.Timeout"})
        raise Failure("States.Timeout") from None
    finally:
        if timer is not None:
            timer.cancel()
        inner.leave()
        frame.scope = outer


# Tasks ------------------------------------------------------------------------------------------------------------


def task(frame, name, given, data, seconds):
    execution = frame.execution
    resource = tasks.Resource(given["Resource"])
    frame.told = {"resourceType": resource.type, "resource": resource.name}
    if resource.token:
        token = frame.state["Token"] = uuid.uuid4().hex
    context = frame.context()
    if resource.token:
        context["Task"] = {"Token": token}
        TOKENS[token] = answer = Answer()
    parameters = asl.template(given.get("Parameters", {}), data, context)
    if resource.service == "batch" and resource.action == "submitJob" and resource.sync:
        parameters = tasks.with_mark(parameters)
    scheduled = {**frame.told, "region": execution.region, "parameters": text(parameters)}
    if seconds:
        scheduled["timeoutInSeconds"] = seconds
    frame.tell("TaskScheduled", scheduled)
    frame.tell("TaskStarted", dict(frame.told))
    try:
        result = tasks.call(execution.region, resource, parameters)
        if resource.sync or resource.token:
            frame.tell("TaskSubmitted", {**frame.told, "output": text(result), "outputDetails": NOT_CUT})
        if resource.sync:
            result = ended(frame, resource, result)
        elif resource.token:
            result = answer.wait(frame.scope)
    except Failure as failure:
        frame.tell("TaskFailed", {**frame.told, "error": failure.error, "cause": failure.cause})
        raise
    frame.tell("TaskSucceeded", {**frame.told, "output": text(result), "outputDetails": NOT_CUT})
    return result


def ended(frame, resource, answer):
    if resource.service == "batch":
        return tasks.job_ended(frame.execution.region, answer["JobId"], frame.scope)
    if resource.service == "states":
        return frame.execution.child_ended(answer["ExecutionArn"], frame.scope, resource.name.endswith(":2"))
    raise asl.runtime(f"{resource.service} has no .sync here")


class Answer:
    """What is told of a token by SendTaskSuccess or SendTaskFailure."""

    def __init__(self):
        self.came = threading.Event()
        self.output = None
        self.failure = None

    def wait(self, scope):
        while not self.came.wait(0.1):
            scope.check()
        if self.failure is not None:
            raise self.failure
        return json.loads(self.output)


TOKENS = {}


# Branches ---------------------------------------------------------------------------------------------------------


def parallel(frame, place, given, data):
    frame.tell("ParallelStateStarted")
    frames = [frame.inner((*place, number)) for number in range(len(given["Branches"]))]

    def work(number):
        return machine(frames[number], given["Branches"][number], copy.deepcopy(data))

    try:
        results = together(frame, frames, work, len(frames))
    except Failure:
        frame.tell("ParallelStateFailed")
        raise
    frame.tell("ParallelStateSucceeded")
    return results


def together(frame, frames, work, at_once):
    """Does the work of all frames, some at once. The first failure stops the others, and is the failure of all."""
    results = [None] * len(frames)
    failures = []
    numbers = iter(range(len(frames)))
    lock = threading.Lock()

    def go_on():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None or failures:
                return
            try:
                results[number] = work(number)
            except Stopped as stopped:
                failures.append(stopped)
            except Failure as failure:
                failures.append(failure)
            except Exception as error:
                traceback.print_exc()
                failures.append(asl.runtime(f"{error!r}"))
            if failures:
                for one in frames:
                    one.scope.stop()

    threads = [threading.Thread(target=go_on, daemon=True) for _ in range(min(at_once, len(frames)))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for one in frames:
        one.scope.leave()
    frame.previous = max([frame.previous, *(one.previous for one in frames)])
    frame.scope.check()
    failure = next((one for one in failures if isinstance(one, Failure)), None)
    if failure is not None:
        raise failure
    return results
