"""Map: the same states for each item, here or (distributed) in executions of their own."""

import copy
import csv
import io
import json
import uuid

import asl
import history
import interpreter
import tasks
from asl import Failure
from history import Scope, Stopped

# As AWS has it for maps that are not distributed.
MOST_INLINE = 40
# Threads that a distributed map may take; AWS runs ten thousand.
MOST_DISTRIBUTED = 400


def map_state(frame, place, name, given, data):
    processor = given.get("ItemProcessor") or given["Iterator"]
    if (processor.get("ProcessorConfig") or {}).get("Mode") == "DISTRIBUTED":
        return distributed(frame, place, name, given, processor, data)
    items = asl.path(given.get("ItemsPath", "$"), data, frame.context())
    if not isinstance(items, list):
        raise asl.runtime(f"Reference path \"{given.get('ItemsPath', '$')}\" must point to array.")
    frame.tell("MapStateStarted", {"length": len(items)})
    start = frame.previous
    frames = [
        frame.inner((*place, number), {"Item": {"Index": number, "Value": item}}) for number, item in enumerate(items)
    ]
    for one in frames:
        one.previous = start

    def work(number):
        one, told = frames[number], {"name": name, "index": number}
        one.tell("MapIterationStarted", told)
        try:
            result = interpreter.machine(one, processor, selected(one, given, data, items[number]))
        except Stopped:
            one.tell("MapIterationAborted", told)
            raise
        except Failure:
            one.tell("MapIterationFailed", told)
            raise
        one.tell("MapIterationSucceeded", told)
        return result

    try:
        results = interpreter.together(frame, frames, work, concurrency(frame, given, data) or MOST_INLINE)
    except Failure:
        frame.tell("MapStateFailed")
        raise
    frame.tell("MapStateSucceeded")
    return results


def concurrency(frame, given, data):
    if "MaxConcurrencyPath" in given:
        return asl.path(given["MaxConcurrencyPath"], data, frame.context())
    return given.get("MaxConcurrency", 0)


def selected(frame, given, data, item):
    """The input of an item's states."""
    how = given.get("ItemSelector", given.get("Parameters"))
    return copy.deepcopy(item) if how is None else asl.template(how, data, frame.context())


# Distributed ------------------------------------------------------------------------------------------------------


class MapRun:
    """What DescribeMapRun tells of."""

    def __init__(self, execution, label, most):
        machine = execution.version.machine
        self.arn = f"{machine.arn.replace(':stateMachine:', ':mapRun:')}/{label}:{uuid.uuid4()}"
        self.execution = execution
        self.label = label
        self.most = most
        self.children = {}
        self.status = "RUNNING"
        self.redrives = 0
        self.started = self.stopped = None

    def counts(self):
        found = {"total": len(self.children), "resultsWritten": 0, "failuresNotRedrivable": 0, "pendingRedrive": 0}
        names = {"RUNNING": "running", "SUCCEEDED": "succeeded", "FAILED": "failed", "TIMED_OUT": "timedOut", "ABORTED": "aborted"}
        for name in ("pending", *names.values()):
            found[name] = 0
        for child in list(self.children.values()):
            found[names.get(child.status, "pending")] += 1
        return found


def distributed(frame, place, name, given, processor, data):
    items = read_items(frame, given, data)
    if given.get("ItemBatcher"):
        return distributed_items(frame, place, name, given, processor, batched(frame, given, data, items))
    selecting = frame.inner(place)
    found = []
    for number, item in enumerate(items):
        selecting.map = {"Item": {"Index": number, "Value": item}}
        found.append(selected(selecting, given, data, item))
    selecting.scope.leave()
    frame.tell("MapStateStarted", {"length": len(items)})
    return distributed_items(frame, place, name, given, processor, found)


def distributed_items(frame, place, name, given, processor, items):
    execution = frame.execution
    run = execution.children.get(place)
    if run is None:
        run = MapRun(execution, given.get("Label", name), concurrency(frame, given, {}))
        execution.children[place] = run
        frame.tell("MapRunStarted", {"mapRunArn": run.arn})
    else:
        run.redrives += 1
        frame.tell("MapRunRedriven", {"mapRunArn": run.arn, "redriveCount": run.redrives})
    run.status = "RUNNING"
    tolerated = tolerance(given, len(items))
    failures = []
    frames = [frame.inner((*place, number)) for number in range(len(items))]

    def work(number):
        child = run.children.get(number)
        if child is None:
            child = run.children[number] = execution.child(run, processor, items[number])
        if child.status != "SUCCEEDED":
            child.scope = Scope(frames[number].scope)
            child.run_here()
        if child.status == "ABORTED":
            raise Stopped
        if child.status != "SUCCEEDED":
            failures.append(number)
            if len(failures) > tolerated:
                raise Failure(
                    "States.ExceedToleratedFailureThreshold", "The specified tolerated failure threshold was exceeded"
                )
            return {"Error": child.error or "", "Cause": child.cause or ""}
        return child.output

    try:
        results = interpreter.together(frame, frames, work, min(run.most or MOST_DISTRIBUTED, MOST_DISTRIBUTED))
    except Failure as failure:
        run.status = "FAILED"
        frame.tell("MapRunFailed", {"error": failure.error, "cause": failure.cause})
        frame.tell("MapStateFailed")
        raise
    except Stopped:
        run.status = "ABORTED"
        raise
    run.status = "SUCCEEDED"
    frame.tell("MapRunSucceeded")
    frame.tell("MapStateSucceeded")
    return written(frame, run, given, results) if given.get("ResultWriter") else results


def tolerance(given, total):
    count = given.get("ToleratedFailureCount", 0)
    return max(count, total * given.get("ToleratedFailurePercentage", 0) // 100)


def batched(frame, given, data, items):
    batcher = given["ItemBatcher"]
    size = batcher.get("MaxItemsPerBatch") or len(items) or 1
    more = {"BatchInput": asl.template(batcher["BatchInput"], data, frame.context())} if "BatchInput" in batcher else {}
    frame.tell("MapStateStarted", {"length": len(items)})
    return [{"Items": items[at : at + size], **more} for at in range(0, len(items), size)]


# From and to S3 ---------------------------------------------------------------------------------------------------


def read_items(frame, given, data):
    reader = given.get("ItemReader")
    if reader is None:
        items = asl.path(given.get("ItemsPath", "$"), data, frame.context())
    else:
        resource = tasks.Resource(reader["Resource"])
        parameters = asl.template(reader.get("Parameters", reader.get("Arguments", {})), data, frame.context())
        config = reader.get("ReaderConfig") or {}
        try:
            answer = tasks.call(frame.execution.region, resource, parameters)
        except Failure as failure:
            raise Failure("States.ItemReaderFailed", failure.cause) from None
        items = parsed(resource, config, answer)
        if config.get("MaxItems"):
            items = items[: config["MaxItems"]]
    if not isinstance(items, list):
        raise Failure("States.ItemReaderFailed", "Attempting to map over non-iterable node.")
    return items


def parsed(resource, config, answer):
    if resource.action == "listObjectsV2":
        return answer.get("Contents", [])
    kind = config.get("InputType", "JSON")
    try:
        if kind == "JSON":
            return json.loads(answer["Body"])
        if kind == "JSONL":
            return [json.loads(line) for line in answer["Body"].splitlines() if line]
        if kind == "CSV":
            rows = csv.reader(io.StringIO(answer["Body"]))
            header = config.get("CSVHeaders") or next(rows)
            return [dict(zip(header, row)) for row in rows]
    except ValueError as error:
        raise Failure("States.ItemReaderFailed", f"{error}") from None
    raise Failure("States.ItemReaderFailed", f"{kind} is not a type of input here")


def written(frame, run, given, results):
    """The results in a bucket, and where they are."""
    writer = given["ResultWriter"]
    where = asl.template(writer.get("Parameters", {}), {}, frame.context())
    prefix = f"{where.get('Prefix', '').rstrip('/')}/{run.arn.rsplit(':', 1)[-1]}".lstrip("/")
    told = [{"Output": history.text(one), "Status": "SUCCEEDED"} for one in results]
    manifest = {
        "DestinationBucket": where["Bucket"],
        "MapRunArn": run.arn,
        "ResultFiles": {"FAILED": [], "PENDING": [], "SUCCEEDED": [{"Key": f"{prefix}/SUCCEEDED_0.json"}]},
    }
    put = tasks.Resource("arn:aws:states:::aws-sdk:s3:putObject")
    for name, body in (("SUCCEEDED_0.json", told), ("manifest.json", manifest)):
        parameters = {"Bucket": where["Bucket"], "Key": f"{prefix}/{name}", "Body": json.dumps(body)}
        tasks.call(frame.execution.region, put, parameters)
    return {
        "MapRunArn": run.arn,
        "ResultWriterDetails": {"Bucket": where["Bucket"], "Key": f"{prefix}/manifest.json"},
    }
