"""What Batch tells of a job, and what a job is given."""

import bisect
import copy
import os
import sys
import uuid

import events
from lock import LOCK as MOTO
from moto.logs.models import logs_backends

# Every job by its id, children of arrays too.
JOBS = {}
# In the order of their names, for who asks for a beginning of names: (name, number).
NAMES = []

LOG_GROUP = "/aws/batch/job"
# What jobs can start: this environment's `python3` has boto3.
PATH = f"{os.path.join(sys.prefix, 'bin')}:{os.environ.get('PATH', '/usr/bin:/bin')}"


# What a job is given ----------------------------------------------------------------------------------------------


def container(job):
    """The definition's container with what the submission says otherwise."""
    result = copy.deepcopy(job.definition.get("containerProperties") or {})
    overrides = job.request.get("containerOverrides") or {}
    for key in ("command", "instanceType"):
        if overrides.get(key) is not None:
            result[key] = overrides[key]
    for old, unit in (("vcpus", "VCPU"), ("memory", "MEMORY")):
        if overrides.get(old) is not None:
            overrides = {
                **overrides,
                "resourceRequirements": [
                    *(overrides.get("resourceRequirements") or []),
                    {"type": unit, "value": str(overrides[old])},
                ],
            }
    result["environment"] = merged(result.get("environment"), overrides.get("environment"), "name")
    result["resourceRequirements"] = merged(
        result.get("resourceRequirements"), overrides.get("resourceRequirements"), "type"
    )
    return result


def merged(first, second, key):
    """Two lists of records; of two with the same key the latter counts."""
    found = {one[key]: one for one in first or []}
    found.update({one[key]: one for one in second or []})
    return list(found.values())


def requirement(properties, kind, old):
    for one in properties.get("resourceRequirements") or []:
        if one["type"] == kind:
            return float(one["value"])
    return float(properties.get(old) or 0)


def vcpus(properties):
    return requirement(properties, "VCPU", "vcpus") or 1.0


def command(job):
    """The command with the parameters in their places."""
    parameters = {**(job.definition.get("parameters") or {}), **(job.request.get("parameters") or {})}
    words = job.container.get("command") or ["true"]
    return [parameters.get(word[5:], word) if word.startswith("Ref::") else word for word in words]


def environment(job, folder):
    """What AWS sets, what makes the emulator answer the job, and what the job asks for."""
    result = {
        "PATH": PATH,
        "HOME": folder,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{os.environ['MOTO_PORT']}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": job.region,
        "AWS_DEFAULT_REGION": job.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_EXECUTION_ENV": "AWS_ECS_EC2",
        "AWS_BATCH_JOB_ID": job.id,
        "AWS_BATCH_JOB_ATTEMPT": str(len(job.attempts) + 1),
        "AWS_BATCH_JQ_NAME": job.queue.name,
        "AWS_BATCH_CE_NAME": f"of-{job.queue.name}",
        "EMULATED_MEMORY_MIB": f"{requirement(job.container, 'MEMORY', 'memory'):.0f}",
        **job.queue.environment,
    }
    if job.index is not None:
        result["AWS_BATCH_JOB_ARRAY_INDEX"] = str(job.index)
    result.update({one["name"]: one.get("value", "") for one in job.container["environment"]})
    return result


# What is told of a job --------------------------------------------------------------------------------------------


def attempt(job, stopped, status_reason):
    inner = {
        "containerInstanceArn": f"arn:aws:ecs:{job.region}:{events.ACCOUNT}:container-instance/emulator/{job.number:032x}",
        "taskArn": f"arn:aws:ecs:{job.region}:{events.ACCOUNT}:task/emulator/{uuid.uuid4().hex}",
        "logStreamName": job.stream,
        "networkInterfaces": [],
    }
    if job.exit_code is not None:
        inner["exitCode"] = job.exit_code
    if job.container_reason:
        inner["reason"] = job.container_reason
    return {
        "container": inner,
        "startedAt": job.attempt_started,
        "stoppedAt": stopped,
        "statusReason": status_reason,
    }


def array_properties(job):
    if job.index is not None:
        return {"index": job.index}
    if job.size is not None:
        return {"size": job.size, "statusSummary": dict(job.summary)}
    return None


def optional(found):
    return {key: value for key, value in found.items() if value is not None}


def detail(job):
    """As DescribeJobs tells it."""
    inner = copy.deepcopy(job.container)
    if job.stream:
        inner["logStreamName"] = job.stream
    if job.exit_code is not None:
        inner["exitCode"] = job.exit_code
    if job.container_reason:
        inner["reason"] = job.container_reason
    return optional(
        {
            "jobArn": job.arn,
            "jobName": job.name,
            "jobId": job.id,
            "jobQueue": job.queue.arn,
            "status": job.state,
            "statusReason": job.reason,
            "attempts": copy.deepcopy(job.attempts),
            "createdAt": job.created,
            "startedAt": job.started,
            "stoppedAt": job.stopped,
            "retryStrategy": {"attempts": 1, **job.retry},
            "dependsOn": job.depends_on,
            "jobDefinition": job.definition["jobDefinitionArn"],
            "parameters": {**(job.definition.get("parameters") or {}), **(job.request.get("parameters") or {})},
            "container": inner,
            "arrayProperties": array_properties(job),
            "timeout": {"attemptDurationSeconds": job.timeout} if job.timeout else None,
            "tags": dict(job.tags),
            "propagateTags": job.request.get("propagateTags"),
            "platformCapabilities": job.definition.get("platformCapabilities") or [],
            "isCancelled": job.cancelled,
            "isTerminated": job.terminating is not None,
            "eksAttempts": [],
        }
    )


def summary(job):
    """As ListJobs tells it."""
    ended = optional({"exitCode": job.exit_code, "reason": job.container_reason})
    array = array_properties(job)
    if array is not None and "statusSummary" in array:
        array = {"size": job.size}
    return optional(
        {
            "jobArn": job.arn,
            "jobId": job.id,
            "jobName": job.name,
            "createdAt": job.created,
            "status": job.state,
            "statusReason": job.reason,
            "startedAt": job.started,
            "stoppedAt": job.stopped,
            "container": ended or None,
            "arrayProperties": array,
            "jobDefinition": job.definition["jobDefinitionArn"],
        }
    )


def everything(job):
    """As `GET /_batch/jobs` tells it: what a test wants to know, also of jobs that are gone for others."""
    return {
        **detail(job),
        "id": job.id,
        "name": job.name,
        "queue": job.queue.name,
        "gone": job.id not in JOBS,
        "environment": {one["name"]: one.get("value", "") for one in job.container["environment"]},
    }


def remember(job):
    """Makes it findable by its id and name, for ever, and by who asks Batch."""
    JOBS[job.id] = job
    if job.parent is None:
        bisect.insort(NAMES, (job.name, job.number, job), key=lambda it: it[:2])
        name = job.name.lower()
        if name not in job.queue.by_name:
            job.queue.by_name[name] = []
            bisect.insort(job.queue.names, name)
        job.queue.by_name[name].append(job)


def forget(job):
    """Gone for everybody who asks Batch; tests still find it by its name."""
    JOBS.pop(job.id, None)
    for child in job.children:
        JOBS.pop(child.id, None)


def named(prefix):
    start = bisect.bisect_left(NAMES, prefix, key=lambda it: it[0])
    found = []
    for name, _, job in NAMES[start:]:
        if not name.startswith(prefix):
            break
        found.append(job)
    return found


# Logs -------------------------------------------------------------------------------------------------------------


def log(region, properties, stream, lines):
    """Lines with their times, in CloudWatch's logs a moment later."""
    options = (properties.get("logConfiguration") or {}).get("options") or {}
    group = options.get("awslogs-group", LOG_GROUP)

    def work():
        with MOTO:
            backend = logs_backends[events.ACCOUNT][region]
            backend.ensure_log_group(group)
            backend.ensure_log_stream(group, stream)
            backend.put_log_events(group, stream, [{"timestamp": at, "message": text} for at, text in lines])

    events.COURIER.add(work)
