"""Batch, as far as a client of it can tell: its API over HTTP, with the limits and the errors of AWS.

For tests there is, of the queue NAME,
    PUT /_batch/queues/NAME {"capacity": 2}                 at most so many jobs at once (null: any number)
                            {"vcpus": 8}                    the same, by the processors they ask for
                            {"hold": true, "reason": "…"}   no job starts; with a reason the queue is blocked and says so
                            {"dwell_ms": 20}                how long jobs are RUNNABLE and STARTING at least
                            {"second_ms": 1000}             how long a second of a timeout lasts
                            {"instant": true}               jobs succeed at once, without a process
                            {"visible_after_ms": 0}         for so long a new job is in no answer
                            {"environment": {"PATH": "…"}}  what the image of every job brings
    GET /_batch/queues/NAME                                 these, and how many jobs are in which state
    GET /_batch/jobs?name=PREFIX                            every job that ever had such a name
    POST /_batch/jobs/ID/reclaim                            its host goes away
    POST /_batch/jobs/ID/end {"exit": 137, "reason": "OutOfMemoryError: …", "status_reason": "…"}
    DELETE /_batch/jobs/ID                                  nobody knows of it any more, though its process goes on
    POST /_batch/definitions/ARN/deregister
"""

import bisect
import collections
import itertools
import json
import re
import secrets

import events
import jobs
import records
from jobs import LOCK, MOVER

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,127}")
MOST_DESCRIBED = 100
PAGE = 100
MOST_OVERRIDES = 8192


class Refused(Exception):
    def __init__(self, message, code="ClientException", status=400):
        super().__init__(message)
        self.code = code
        self.status = status


class Region:
    """What there is in a region."""

    def __init__(self, name):
        self.name = name
        self.environments = {}
        self.queues = {}
        self.definitions = {}

    def arn(self, what):
        return f"arn:aws:batch:{self.name}:{events.ACCOUNT}:{what}"

    def queue(self, name_or_arn):
        found = self.queues.get(name_or_arn.rsplit("/", 1)[-1])
        if found is None or (name_or_arn.startswith("arn:") and found["jobQueueArn"] != name_or_arn):
            raise Refused(f"Job queue {name_or_arn} does not exist")
        return found

    def definition(self, text):
        """By name, by name and revision, or by ARN; without a revision it is the newest active one."""
        name, _, revision = text.rsplit("/", 1)[-1].partition(":")
        revisions = self.definitions.get(name, {})
        if revision:
            found = revisions.get(int(revision)) if revision.isdigit() else None
        else:
            active = [one for one in revisions.values() if one["status"] == "ACTIVE"]
            found = active[-1] if active else None
        if found is None:
            raise Refused(f"Job definition {text} does not exist")
        if found["status"] != "ACTIVE":
            raise Refused(f"Job definition {text} is not active")
        return found


REGIONS = collections.defaultdict(lambda: None)


def region_of(name):
    if REGIONS[name] is None:
        REGIONS[name] = Region(name)
    return REGIONS[name]


def check_name(name, what):
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise Refused(
            f"Error executing request, Exception : {what} should match valid pattern: ^[0-9a-zA-Z]+[0-9a-zA-Z-_]{{0,127}}$"
        )


# Compute environments and queues ----------------------------------------------------------------------------------


def create_compute_environment(region, request):
    name = request["computeEnvironmentName"]
    check_name(name, "computeEnvironmentName")
    if name in region.environments:
        raise Refused(f"Object already exists: {name}")
    made = {
        **request,
        "computeEnvironmentArn": region.arn(f"compute-environment/{name}"),
        "ecsClusterArn": f"arn:aws:ecs:{region.name}:{events.ACCOUNT}:cluster/{name}",
        "state": request.get("state", "ENABLED"),
        "status": "VALID",
        "statusReason": "ComputeEnvironment Healthy",
        "tags": request.get("tags") or {},
    }
    region.environments[name] = made
    return {"computeEnvironmentName": name, "computeEnvironmentArn": made["computeEnvironmentArn"]}


def environment(region, text):
    found = region.environments.get(text.rsplit("/", 1)[-1])
    if found is None:
        raise Refused(f"Compute environment {text} does not exist")
    return found


def describe_compute_environments(region, request):
    wanted = request.get("computeEnvironments")
    names = [one.rsplit("/", 1)[-1] for one in wanted] if wanted else list(region.environments)
    return {"computeEnvironments": [region.environments[one] for one in names if one in region.environments]}


def update_compute_environment(region, request):
    found = environment(region, request["computeEnvironment"])
    found.update({key: request[key] for key in ("state", "serviceRole") if key in request})
    found["computeResources"] = {**found.get("computeResources", {}), **request.get("computeResources", {})}
    return {
        "computeEnvironmentName": found["computeEnvironmentName"],
        "computeEnvironmentArn": found["computeEnvironmentArn"],
    }


def delete_compute_environment(region, request):
    region.environments.pop(request["computeEnvironment"].rsplit("/", 1)[-1], None)
    return {}


def create_job_queue(region, request):
    name = request["jobQueueName"]
    check_name(name, "jobQueueName")
    if name in region.queues:
        raise Refused(f"Object already exists: {name}")
    order = sorted(request.get("computeEnvironmentOrder") or [], key=lambda it: it["order"])
    arns = [environment(region, one["computeEnvironment"])["computeEnvironmentArn"] for one in order]
    if not arns:
        raise Refused("At least one compute environment must be provided")
    made = {
        "jobQueueName": name,
        "jobQueueArn": region.arn(f"job-queue/{name}"),
        "state": request.get("state", "ENABLED"),
        "status": "VALID",
        "statusReason": "JobQueue Healthy",
        "priority": request.get("priority", 1),
        "computeEnvironmentOrder": [{"order": n, "computeEnvironment": arn} for n, arn in enumerate(arns, 1)],
        "serviceEnvironmentOrder": [],
        "jobQueueType": "ECS",
        "tags": request.get("tags") or {},
        "jobStateTimeLimitActions": request.get("jobStateTimeLimitActions") or [],
    }
    made["queue"] = jobs.Queue(name, made["jobQueueArn"])
    region.queues[name] = made
    return {"jobQueueName": name, "jobQueueArn": made["jobQueueArn"]}


def describe_job_queues(region, request):
    wanted = request.get("jobQueues")
    names = [one.rsplit("/", 1)[-1] for one in wanted] if wanted else list(region.queues)
    found = [region.queues[one] for one in names if one in region.queues]
    return {"jobQueues": [{key: one[key] for key in one if key != "queue"} for one in found]}


def update_job_queue(region, request):
    found = region.queue(request["jobQueue"])
    found.update({key: request[key] for key in ("state", "priority") if key in request})
    return {"jobQueueName": found["jobQueueName"], "jobQueueArn": found["jobQueueArn"]}


def delete_job_queue(region, request):
    region.queues.pop(request["jobQueue"].rsplit("/", 1)[-1], None)
    return {}


# Definitions ------------------------------------------------------------------------------------------------------


def check_retry(strategy):
    if strategy and not 1 <= strategy.get("attempts", 1) <= 10:
        raise Refused("Retry attempts must be between 1 and 10")
    rules = (strategy or {}).get("evaluateOnExit") or []
    if len(rules) > 5:
        raise Refused("evaluateOnExit must have at most 5 entries")
    for rule in rules:
        if str(rule.get("action")).upper() not in ("RETRY", "EXIT"):
            raise Refused("action of evaluateOnExit must be RETRY or EXIT")


def check_timeout(timeout):
    if timeout and (timeout.get("attemptDurationSeconds") or 60) < 60:
        raise Refused("Error executing request, Exception : Attempt duration seconds must be at least 60")


def check_tags(tags):
    if len(tags or {}) > 50:
        raise Refused("A resource can have at most 50 tags")
    for key, value in (tags or {}).items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise Refused(f"Tag {key} is not valid")


def register_job_definition(region, request):
    name = request["jobDefinitionName"]
    check_name(name, "jobDefinitionName")
    check_retry(request.get("retryStrategy"))
    check_timeout(request.get("timeout"))
    check_tags(request.get("tags"))
    if request.get("type") == "container":
        properties = request.get("containerProperties") or {}
        if not properties.get("image"):
            raise Refused("Error executing request, Exception : Container properties must have an image")
        for kind, old in (("VCPU", "vcpus"), ("MEMORY", "memory")):
            if not records.requirement(properties, kind, old):
                raise Refused(f"Error executing request, Exception : resourceRequirements must have {kind}")
    revisions = region.definitions.setdefault(name, {})
    revision = len(revisions) + 1
    arn = region.arn(f"job-definition/{name}:{revision}")
    revisions[revision] = {
        **request,
        "jobDefinitionArn": arn,
        "revision": revision,
        "status": "ACTIVE",
        "containerOrchestrationType": "ECS",
        "tags": request.get("tags") or {},
    }
    return {"jobDefinitionName": name, "jobDefinitionArn": arn, "revision": revision}


def describe_job_definitions(region, request):
    if request.get("jobDefinitions"):
        wanted = []
        for text in request["jobDefinitions"]:
            name, _, revision = text.rsplit("/", 1)[-1].partition(":")
            for number, one in region.definitions.get(name, {}).items():
                if not revision or str(number) == revision:
                    wanted.append(one)
    elif request.get("jobDefinitionName"):
        wanted = list(region.definitions.get(request["jobDefinitionName"], {}).values())
    else:
        wanted = [one for revisions in region.definitions.values() for one in revisions.values()]
    if request.get("status"):
        wanted = [one for one in wanted if one["status"] == request["status"]]
    wanted.sort(key=lambda one: (one["jobDefinitionName"], -one["revision"]))
    return paged("jobDefinitions", wanted, request)


def deregister_job_definition(region, request):
    text = request["jobDefinition"]
    name, _, revision = text.rsplit("/", 1)[-1].partition(":")
    found = region.definitions.get(name, {}).get(int(revision) if revision.isdigit() else 0)
    if found is not None:
        found["status"] = "INACTIVE"
    return {}


def paged(key, found, request):
    start = int(request.get("nextToken") or 0)
    end = start + (request.get("maxResults") or PAGE)
    answer = {key: found[start:end]}
    if end < len(found):
        answer["nextToken"] = str(end)
    return answer


# Jobs -------------------------------------------------------------------------------------------------------------


def submit_job(region, request):
    check_name(request.get("jobName"), "Job name")
    queue = region.queue(request.get("jobQueue") or "")
    if queue["state"] != "ENABLED":
        raise Refused(f"Job queue {queue['jobQueueName']} is disabled")
    definition = region.definition(request.get("jobDefinition") or "")
    check_retry(request.get("retryStrategy"))
    check_timeout(request.get("timeout"))
    check_tags(request.get("tags"))
    if len(json.dumps(request.get("containerOverrides") or {}, separators=(",", ":"))) > MOST_OVERRIDES:
        raise Refused(f"Container Overrides length must be at most {MOST_OVERRIDES}")
    size = (request.get("arrayProperties") or {}).get("size")
    if size is not None and not 2 <= size <= 10000:
        raise Refused("Array size must be between 2 and 10000")
    if len(request.get("dependsOn") or []) > 20:
        raise Refused("A job can depend on at most 20 jobs")
    for one in request.get("dependsOn") or []:
        if one.get("jobId") and one["jobId"] not in records.JOBS:
            raise Refused(f"Job {one['jobId']} does not exist")
    job = jobs.Job(region.name, request, queue["queue"], definition)
    records.remember(job)
    for index in range(size or 0):
        child = jobs.Job(region.name, request, job.queue, definition, job, index)
        job.children.append(child)
        records.remember(child)
    MOVER.enter(job)
    return {"jobArn": job.arn, "jobName": job.name, "jobId": job.id}


def found_job(region, job_id):
    job = records.JOBS.get(job_id)
    return job if job is not None and job.region == region.name and job.visible else None


def describe_jobs(region, request):
    wanted = request.get("jobs") or []
    if len(wanted) > MOST_DESCRIBED:
        raise Refused(f"The number of jobs must be at most {MOST_DESCRIBED}")
    found = (found_job(region, one) for one in wanted)
    return {"jobs": [records.detail(job) for job in found if job is not None]}


def list_jobs(region, request):
    """The newest first. The token is the number of the last job that was told."""
    filters = request.get("filters") or []
    if len(filters) > 1:
        raise Refused("Only one filter can be used at a time")
    state = request.get("jobStatus")
    if state is not None and state not in jobs.STATES:
        raise Refused(f"{state} is not a status of jobs")
    if request.get("arrayJobId"):
        parent = found_job(region, request["arrayJobId"])
        all_of = [] if parent is None else [one for one in parent.children if one.state == (state or "RUNNING")]
    elif request.get("jobQueue"):
        queue = region.queue(request["jobQueue"])["queue"]
        all_of = filtered(queue, filters[0]) if filters else queue.by_state[state or "RUNNING"].values()
    else:
        raise Refused("One of jobQueue, arrayJobId and multiNodeJobId is needed")
    newest_first = sorted(all_of, key=lambda job: -job.number)
    if request.get("nextToken"):
        before = int(request["nextToken"])
        newest_first = newest_first[bisect.bisect_left(newest_first, 1 - before, key=lambda job: -job.number) :]
    page = min(request.get("maxResults") or PAGE, PAGE)
    seen = [job for job in itertools.islice(newest_first, page + 1) if job.visible and job.id in records.JOBS]
    answer = {"jobSummaryList": [records.summary(job) for job in seen[:page]]}
    if len(newest_first) > page:
        answer["nextToken"] = str(newest_first[page - 1].number)
    return answer


def filtered(queue, wanted):
    """A filter spans all states."""
    kind, values = wanted["name"], wanted["values"]
    if kind == "JOB_NAME":
        found = {}
        for value in values:
            for name in matching(queue, value.lower()):
                found.update({job.number: job for job in queue.by_name.get(name, ())})
        return found.values()
    everything = itertools.chain.from_iterable(queue.by_name.values())
    if kind == "JOB_DEFINITION":
        return [job for job in everything if job.definition["jobDefinitionName"] == values[0].split(":")[0]]
    if kind == "BEFORE_CREATED_AT":
        return [job for job in everything if job.created < int(values[0])]
    if kind == "AFTER_CREATED_AT":
        return [job for job in everything if job.created > int(values[0])]
    raise Refused(f"{kind} is not a filter of jobs")


def matching(queue, value):
    """Names in lower case that a filter means: itself, or with a star those that begin so."""
    if not value.endswith("*"):
        return [value]
    start = bisect.bisect_left(queue.names, value[:-1])
    return itertools.takewhile(lambda name: name.startswith(value[:-1]), queue.names[start:])


def terminate_job(region, request):
    return put_down(region, request, MOVER.terminate)


def cancel_job(region, request):
    return put_down(region, request, MOVER.cancel)


def put_down(region, request, how):
    if not request.get("reason"):
        raise Refused("A reason is needed")
    job = found_job(region, request.get("jobId") or "")
    if job is None:
        raise Refused(f"Job {request.get('jobId')} does not exist")
    how(job, request["reason"])
    return {}


# Tags -------------------------------------------------------------------------------------------------------------


def tagged(region, arn):
    what, _, name = arn.rsplit(":", 1)[-1].partition("/") if "job-definition/" not in arn else ("", "", "")
    if "job-definition/" in arn:
        name, _, revision = arn.rsplit("/", 1)[-1].partition(":")
        found = region.definitions.get(name, {}).get(int(revision or 0))
    elif ":job/" in arn:
        job = found_job(region, arn.rsplit("/", 1)[-1])
        return None if job is None else job.tags
    else:
        found = (region.queues if what == "job-queue" else region.environments).get(name)
    return None if found is None else found["tags"]


def tags(region, method, arn, request, query):
    found = tagged(region, arn)
    if found is None:
        raise Refused(f"{arn} does not exist", "ResourceNotFoundException", 404)
    if method == "GET":
        return {"tags": found}
    if method == "POST":
        check_tags({**found, **request["tags"]})
        found.update(request["tags"])
    elif method == "DELETE":
        for key in query.get("tagKeys", []):
            found.pop(key, None)
    return {}


# Over HTTP --------------------------------------------------------------------------------------------------------

OPERATIONS = {
    operation.__name__.replace("_", ""): operation
    for operation in (
        create_compute_environment,
        describe_compute_environments,
        update_compute_environment,
        delete_compute_environment,
        create_job_queue,
        describe_job_queues,
        update_job_queue,
        delete_job_queue,
        register_job_definition,
        describe_job_definitions,
        deregister_job_definition,
        submit_job,
        describe_jobs,
        list_jobs,
        terminate_job,
        cancel_job,
    )
}


def answer(region_name, method, path, query, body):
    """The status, the answer, and the code of the error if it is one."""
    try:
        request = json.loads(body or b"{}")
    except ValueError as error:
        return 400, {"message": f"{error}"}, "ClientException"
    try:
        with LOCK:
            region = region_of(region_name)
            if path.startswith("/v1/tags/"):
                return 200, tags(region, method, path[len("/v1/tags/") :], request, query), None
            operation = OPERATIONS.get(path.rsplit("/", 1)[-1])
            if operation is None:
                return 404, {"message": f"{path} is not of this emulator"}, "UnknownOperationException"
            return 200, operation(region, request), None
    except KeyError as error:
        return 400, {"message": f"{error} is missing"}, "ClientException"
    except Refused as error:
        return error.status, {"message": str(error)}, error.code


# For tests --------------------------------------------------------------------------------------------------------

CONTROLS = (
    "capacity",
    "vcpus",
    "hold",
    "reason",
    "dwell_ms",
    "second_ms",
    "instant",
    "visible_after_ms",
    "environment",
)


def manage(method, path, query, body):
    """The pages below `/_batch/`."""
    kind, _, rest = path.partition("/")
    with LOCK:
        if kind == "queues":
            return manage_queue(method, rest, body)
        if kind == "jobs" and method == "GET":
            return 200, [records.everything(job) for job in records.named(query.get("name", [""])[0])]
        if kind == "jobs":
            return manage_job(method, *rest.partition("/")[::2], body)
        if kind == "definitions" and method == "POST":
            arn = rest.removesuffix("/deregister")
            deregister_job_definition(region_of(arn.split(":")[3]), {"jobDefinition": arn})
            return 200, {}
    return 404, {"message": f"there is no {method} of {path}"}


def manage_queue(method, name, body):
    found = [region.queues[name]["queue"] for region in REGIONS.values() if region and name in region.queues]
    if not found:
        return 404, {"message": f"there is no queue {name}"}
    for queue in found:
        if method == "PUT":
            wanted = json.loads(body)
            unknown = [key for key in wanted if key not in CONTROLS]
            if unknown:
                return 400, {"message": f"a queue has no {unknown[0]}; it has {', '.join(CONTROLS)}"}
            for key, value in wanted.items():
                setattr(queue, key, value)
            if wanted.get("hold") is False and "reason" not in wanted:
                queue.reason = None
            MOVER.after(0, lambda queue=queue: MOVER.held(queue))
    queue = found[0]
    counts = {state: len(queue.by_state[state]) for state in jobs.STATES}
    return 200, {**{key: getattr(queue, key) for key in CONTROLS}, "jobs": counts}


def manage_job(method, job_id, action, body):
    job = records.JOBS.get(job_id)
    if job is None:
        return 404, {"message": f"there is no job {job_id}"}
    if method == "DELETE":
        records.forget(job)
        return 200, {}
    if action == "reclaim":
        reason = f"Host EC2 (instance i-{secrets.token_hex(9)[:17]}) terminated."
        done = MOVER.end(job, {"status_reason": reason})
    elif action == "end":
        done = MOVER.end(job, json.loads(body))
    else:
        return 404, {"message": f"a job has no {action}"}
    return (200, {}) if done else (409, {"message": f"job {job_id} has no process; it is {job.state}"})
