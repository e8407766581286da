"""Step Functions, as far as a client of them can tell: state machines with versions, executions, redrives.

Definitions are judged by moto's parser; they are run by `interpreter.py`. For tests there is
    GET /_states/executions?name=PREFIX          every execution that ever had such a name, as DescribeExecution tells it
    DELETE /_states/executions/ARN               nobody knows of it any more, though it goes on
    POST /_states/executions/ARN/age?days=15     it ended so many days ago
    PUT /_states/machines/PREFIX {"second_ms": 20}   how long a second of waits, retries and timeouts of such machines lasts
"""

import bisect
import json
import re
import threading
import time
import traceback
import uuid

import asl
import events
import interpreter
from history import History, Scope, Stopped, check_size, text
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser

LOCK = threading.RLock()
MACHINES = {}
EXECUTIONS = {}
# In the order of their names, also of those that are gone for others: (name, number, execution).
NAMES = []
SECONDS = {}
NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}")
DAY = 86400.0
REDRIVABLE_FOR = 14 * DAY
ENDED_BADLY = ("FAILED", "TIMED_OUT", "ABORTED")
STATES = ("RUNNING", "SUCCEEDED", *ENDED_BADLY)


class Refused(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Version:
    """What a machine was at a time."""

    def __init__(self, machine, number, definition, role, description=None):
        self.machine = machine
        self.number = number
        self.definition = definition
        self.role = role
        self.description = description
        self.created = time.time()
        self.revision = str(uuid.uuid4())
        self.parsed = json.loads(definition)


class Machine:
    def __init__(self, region, request):
        self.region = region
        self.name = request["name"]
        self.arn = f"arn:aws:states:{region}:{events.ACCOUNT}:stateMachine:{self.name}"
        self.type = request.get("type", "STANDARD")
        self.created = time.time()
        self.now = Version(self, None, request["definition"], request["roleArn"])
        self.request = request
        self.versions = {}
        self.latest = 0
        self.tags = {one["key"]: one["value"] for one in request.get("tags") or []}
        self.executions = {}

    def publish(self, description):
        """The same content is the same version."""
        last = self.versions.get(self.latest)
        if last is not None and last.revision == self.now.revision:
            return last
        self.latest += 1
        made = Version(self, self.latest, self.now.definition, self.now.role, description)
        made.revision = self.now.revision
        self.versions[self.latest] = made
        return made


class Execution:
    def __init__(self, version, name, data, arn, run=None, definition=None):
        self.version = version
        self.region = version.machine.region
        self.name = name
        self.text = data
        self.data = json.loads(data)
        self.arn = arn
        self.run = run
        self.definition = definition or version.parsed
        self.asked_for = None
        self.status = "RUNNING"
        self.started = time.time()
        self.stopped = None
        self.output = None
        self.error = self.cause = None
        self.redrives = 0
        self.redriven = None
        self.history = History()
        self.remembered = {}
        self.children = {}
        self.stop_asked = None
        self.scope = Scope()
        self.over = threading.Event()
        self.tags = {}

    def real(self, seconds):
        """Seconds as this machine has them."""
        name = self.version.machine.name
        for prefix, milliseconds in SECONDS.items():
            if name.startswith(prefix):
                return seconds * milliseconds / 1000
        return seconds

    def begin(self):
        tell(self)
        threading.Thread(target=self.run_here, daemon=True).start()

    def run_here(self):
        """Runs to its end, from the start or from where it is to be redriven."""
        if self.run is not None and self.status != "RUNNING":
            self.prepare_redrive()
        scope = self.scope
        frame = interpreter.Frame(self, (), scope)
        frame.previous = len(self.history.events)
        if not self.redrives:
            frame.tell(
                "ExecutionStarted",
                {"input": self.text, "inputDetails": {"truncated": False}, "roleArn": self.version.role},
            )
        seconds = self.definition.get("TimeoutSeconds") if self.run is None else None
        late = []
        timer = threading.Timer(self.real(seconds), lambda: (late.append(True), scope.stop())) if seconds else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            output = interpreter.machine(frame, self.definition, self.data)
            check_size(output, "output")
            self.end("SUCCEEDED", frame, output=output)
        except asl.Failure as failure:
            self.end("FAILED", frame, failure.error, failure.cause)
        except Stopped:
            asked = self.stop_asked or {}
            self.end("TIMED_OUT" if late else "ABORTED", frame, asked.get("error"), asked.get("cause"))
        except Exception as error:
            traceback.print_exc()
            self.end("FAILED", frame, "States.Runtime", f"{error!r}")
        finally:
            if timer is not None:
                timer.cancel()

    def end(self, status, frame, error=None, cause=None, output=None):
        details = {key: one for key, one in (("error", error), ("cause", cause)) if one}
        if status == "SUCCEEDED":
            details = {"output": text(output), "outputDetails": {"truncated": False}}
        word = {"TIMED_OUT": "TimedOut"}.get(status, status.capitalize())
        self.history.add(f"Execution{word}", frame.previous, details)
        with LOCK:
            self.stopped = time.time()
            self.output, self.error, self.cause = output, error, cause
            self.status = status
        tell(self)
        self.over.set()

    def stop(self, error, cause):
        with LOCK:
            if self.status == "RUNNING":
                self.stop_asked = {"error": error, "cause": cause}
                self.scope.stop()

    def child(self, run, processor, data):
        """An execution of an item of a distributed map."""
        name = str(uuid.uuid4())
        machine = self.version.machine
        arn = f"arn:aws:states:{self.region}:{events.ACCOUNT}:execution:{machine.name}/{run.label}:{name}"
        made = Execution(self.version, name, text(data), arn, run, processor)
        with LOCK:
            remember(made)
        tell(made)
        return made

    def child_ended(self, arn, scope, parsed):
        """Waits for an execution that a state has started."""
        other = EXECUTIONS[arn]
        try:
            while not other.over.wait(0.1):
                scope.check()
        except Stopped:
            other.stop("", "")
            raise
        told = {key[:1].upper() + key[1:]: one for key, one in described(other).items()}
        if parsed and other.status == "SUCCEEDED":
            told["Output"] = json.loads(told["Output"])
        if other.status != "SUCCEEDED":
            raise asl.Failure("States.TaskFailed", text(told))
        return told

    # Redrive ------------------------------------------------------------------------------------------------------

    def not_redrivable(self):
        """Why not, or None."""
        if self.version.machine.type != "STANDARD":
            return "Execution is of an EXPRESS state machine and cannot be redriven"
        if self.run is not None:
            return "Execution is a child of a Map Run and is redriven with it"
        if self.status not in ENDED_BADLY:
            return f"Execution is {self.status} and cannot be redriven"
        if time.time() - self.stopped > REDRIVABLE_FOR:
            return "Execution redrivable period exceeded"
        if len(self.history.events) >= 24999:
            return "Execution history event limit exceeded"
        if self.redrives >= 1000:
            return "Execution redrive count limit exceeded"
        return None

    def prepare_redrive(self):
        self.redrives += 1
        self.redriven = time.time()
        self.status = "RUNNING"
        self.stopped = self.error = self.cause = self.stop_asked = None
        self.over.clear()
        self.history.add("ExecutionRedriven", 0, {"redriveCount": self.redrives})
        if self.run is not None:
            tell(self)

    def redrive(self):
        with LOCK:
            why = self.not_redrivable()
            if why:
                raise Refused("ExecutionNotRedrivable", why)
            self.scope = Scope()
            self.prepare_redrive()
        self.begin()


NUMBERS = iter(range(1, 1 << 62))


def remember(execution):
    EXECUTIONS[execution.arn] = execution
    execution.number = next(NUMBERS)
    if execution.run is None:
        execution.version.machine.executions[execution.name] = execution
        bisect.insort(NAMES, (execution.name, execution.number, execution), key=lambda it: it[:2])


def tell(it):
    milliseconds = [int(at * 1000) if at else None for at in (it.started, it.stopped)]
    detail = {
        "executionArn": it.arn,
        "stateMachineArn": it.version.machine.arn,
        "name": it.name,
        "status": it.status,
        "startDate": milliseconds[0],
        "stopDate": milliseconds[1],
        "input": it.text,
        "inputDetails": {"included": True},
        "output": text(it.output) if it.status == "SUCCEEDED" else None,
        "outputDetails": {"included": True} if it.status == "SUCCEEDED" else None,
        "stateMachineVersionArn": version_arn(it.version),
        "stateMachineAliasArn": None,
        "redriveCount": it.redrives,
        "redriveDate": int(it.redriven * 1000) if it.redriven else None,
        "redriveStatus": "NOT_REDRIVABLE" if it.not_redrivable() else "REDRIVABLE",
        "redriveStatusReason": it.not_redrivable(),
        "error": it.error,
        "cause": it.cause,
    }
    events.tell(it.region, "aws.states", "Step Functions Execution Status Change", [it.arn], detail)


def version_arn(version):
    return f"{version.machine.arn}:{version.number}" if version.number else None


def present(found):
    return {key: one for key, one in found.items() if one is not None}


# State machines ---------------------------------------------------------------------------------------------------


def check_name(name):
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise Refused("InvalidName", f"Invalid Name: '{name}'")


def check_definition(definition):
    if not definition or len(definition) > 1024 * 1024:
        raise Refused("InvalidDefinition", "Invalid State Machine Definition: 'its length is not from 1 to 1048576'")
    try:
        parsed = json.loads(definition)
        AmazonStateLanguageParser.parse(json.dumps(judged(parsed)))
    except Exception as error:
        raise Refused("InvalidDefinition", f"Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: {error}'") from None
    for where, one in machines_in(parsed, ""):
        states = one.get("States") or {}
        named = [one.get("StartAt"), *(target for state in states.values() for target in targets(state))]
        for name in named:
            if name not in states:
                message = f"Invalid State Machine Definition: 'MISSING_TRANSITION_TARGET: Missing target state: {name} at {where}/States'"
                raise Refused("InvalidDefinition", message)


def judged(given):
    """The definition with percentages as the parser wants them: AWS takes `5` for `5.0`."""
    if isinstance(given, list):
        return [judged(one) for one in given]
    if isinstance(given, dict):
        return {
            key: float(one) if key == "ToleratedFailurePercentage" and asl.is_number(one) else judged(one)
            for key, one in given.items()
        }
    return given


def machines_in(given, where):
    yield where, given
    for name, state in (given.get("States") or {}).items():
        for number, branch in enumerate(state.get("Branches") or []):
            yield from machines_in(branch, f"{where}/States/{name}/Branches[{number}]")
        inner = state.get("ItemProcessor") or state.get("Iterator")
        if inner:
            yield from machines_in(inner, f"{where}/States/{name}/ItemProcessor")


def targets(state):
    for one in (state, *state.get("Choices", []), *state.get("Catch", [])):
        if "Next" in one:
            yield one["Next"]
    if "Default" in state:
        yield state["Default"]


def machine_of(arn):
    """The machine and the version that an ARN means; without a number it is what the machine is now."""
    words = (arn or "").split(":")
    if len(words) < 7 or words[5] != "stateMachine":
        raise Refused("InvalidArn", f"Invalid Arn: '{arn}'")
    found = MACHINES.get(":".join(words[:7]))
    version = found.now if found and len(words) == 7 else None
    if found and len(words) == 8:
        version = found.versions.get(int(words[7]) if words[7].isdigit() else 0)
    if version is None:
        raise Refused("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")
    return found, version


def create_state_machine(region, request):
    check_name(request.get("name"))
    check_definition(request.get("definition"))
    if not re.fullmatch(r"arn:aws:iam::\d{12}:role/.+", request.get("roleArn") or ""):
        raise Refused("InvalidArn", f"Invalid Role Arn: '{request.get('roleArn')}'")
    arn = f"arn:aws:states:{region}:{events.ACCOUNT}:stateMachine:{request['name']}"
    found = MACHINES.get(arn)
    if found is None:
        found = MACHINES[arn] = Machine(region, request)
        version = found.publish(request.get("versionDescription")) if request.get("publish") else None
    else:
        same = (found.now.definition, found.now.role, found.type)
        if same != (request["definition"], request["roleArn"], request.get("type", "STANDARD")):
            raise Refused("StateMachineAlreadyExists", f"State Machine Already Exists: '{arn}'")
        version = found.versions.get(found.latest) if request.get("publish") else None
    answer = {"stateMachineArn": arn, "creationDate": found.created}
    return {**answer, "stateMachineVersionArn": version_arn(version)} if version else answer


def update_state_machine(_region, request):
    found, _ = machine_of(request.get("stateMachineArn"))
    if request.get("definition") is not None:
        check_definition(request["definition"])
    definition = request.get("definition") or found.now.definition
    role = request.get("roleArn") or found.now.role
    if (definition, role) != (found.now.definition, found.now.role):
        found.now = Version(found, None, definition, role)
    version = found.publish(request.get("versionDescription")) if request.get("publish") else None
    answer = {"updateDate": time.time(), "revisionId": found.now.revision}
    return {**answer, "stateMachineVersionArn": version_arn(version)} if version else answer


def describe_state_machine(_region, request):
    found, version = machine_of(request.get("stateMachineArn"))
    return present(
        {
            "stateMachineArn": version_arn(version) or found.arn,
            "name": found.name,
            "status": "ACTIVE",
            "definition": version.definition,
            "roleArn": version.role,
            "type": found.type,
            "creationDate": version.created if version.number else found.created,
            "loggingConfiguration": found.request.get("loggingConfiguration") or {"level": "OFF"},
            "tracingConfiguration": found.request.get("tracingConfiguration") or {"enabled": False},
            "revisionId": version.revision,
            "description": version.description,
        }
    )


def delete_state_machine(_region, request):
    MACHINES.pop(request["stateMachineArn"], None)
    return {}


def list_state_machines(region, request):
    found = [one for one in MACHINES.values() if one.region == region]
    told = [
        {"stateMachineArn": one.arn, "name": one.name, "type": one.type, "creationDate": one.created} for one in found
    ]
    return paged("stateMachines", told, request)


def publish_state_machine_version(_region, request):
    found, _ = machine_of(request.get("stateMachineArn"))
    if request.get("revisionId") not in (None, found.now.revision):
        raise Refused("ConflictException", "The revision is not the present one")
    version = found.publish(request.get("description"))
    return {"creationDate": version.created, "stateMachineVersionArn": version_arn(version)}


def list_state_machine_versions(_region, request):
    found, _ = machine_of(request.get("stateMachineArn"))
    newest_first = sorted(found.versions.values(), key=lambda one: -one.number)
    told = [{"stateMachineVersionArn": version_arn(one), "creationDate": one.created} for one in newest_first]
    return paged("stateMachineVersions", told, request)


def delete_state_machine_version(_region, request):
    found, version = machine_of(request.get("stateMachineVersionArn"))
    found.versions.pop(version.number, None)
    return {}


def validate_state_machine_definition(_region, request):
    try:
        check_definition(request.get("definition"))
    except Refused as error:
        return {
            "result": "FAIL",
            "diagnostics": [{"severity": "ERROR", "code": "SCHEMA_VALIDATION_FAILED", "message": str(error)}],
            "truncated": False,
        }
    return {"result": "OK", "diagnostics": [], "truncated": False}


# Executions -------------------------------------------------------------------------------------------------------


def start_execution(region, request):
    found, version = machine_of(request.get("stateMachineArn"))
    name = request.get("name") or str(uuid.uuid4())
    check_name(name)
    data = request.get("input") or "{}"
    try:
        json.loads(data)
    except ValueError as error:
        raise Refused("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'") from None
    if len(data) > 256 * 1024:
        raise Refused("InvalidExecutionInput", "Invalid State Machine Execution Input: 'it is too long'")
    known = found.executions.get(name)
    if known is not None:
        if known.status == "RUNNING" and known.text == data and known.asked_for == request["stateMachineArn"]:
            return {"executionArn": known.arn, "startDate": known.started}
        raise Refused("ExecutionAlreadyExists", f"Execution Already Exists: '{known.arn}'")
    arn = f"arn:aws:states:{region}:{events.ACCOUNT}:execution:{found.name}:{name}"
    made = Execution(version, name, data, arn)
    made.asked_for = request["stateMachineArn"]
    remember(made)
    made.begin()
    return {"executionArn": arn, "startDate": made.started}


def execution_of(arn):
    if (arn or "").count(":") < 6 or ":execution:" not in arn:
        raise Refused("InvalidArn", f"Invalid Arn: '{arn}'")
    found = EXECUTIONS.get(arn)
    if found is None:
        raise Refused("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
    return found


def stop_execution(_region, request):
    found = execution_of(request.get("executionArn"))
    found.stop(request.get("error"), request.get("cause"))
    return {"stopDate": found.stopped or time.time()}


def described(it):
    why = it.not_redrivable()
    return present(
        {
            "executionArn": it.arn,
            "stateMachineArn": it.version.machine.arn,
            "stateMachineVersionArn": version_arn(it.version),
            "mapRunArn": it.run.arn if it.run else None,
            "name": it.name,
            "status": it.status,
            "startDate": it.started,
            "stopDate": it.stopped,
            "input": it.text,
            "inputDetails": {"included": True},
            "output": text(it.output) if it.status == "SUCCEEDED" else None,
            "outputDetails": {"included": True} if it.status == "SUCCEEDED" else None,
            "error": it.error,
            "cause": it.cause,
            "redriveCount": it.redrives,
            "redriveDate": it.redriven,
            "redriveStatus": "REDRIVABLE_BY_MAP_RUN" if it.run and it.status in ENDED_BADLY else "NOT_REDRIVABLE" if why else "REDRIVABLE",
            "redriveStatusReason": why,
        }
    )


def describe_execution(_region, request):
    return described(execution_of(request.get("executionArn")))


def describe_state_machine_for_execution(_region, request):
    version = execution_of(request.get("executionArn")).version
    return {
        "stateMachineArn": version.machine.arn,
        "name": version.machine.name,
        "definition": version.definition,
        "roleArn": version.role,
        "updateDate": version.created,
        "revisionId": version.revision,
    }


def list_executions(_region, request):
    if request.get("mapRunArn"):
        found = list(map_run(request["mapRunArn"]).children.values())
    else:
        machine, version = machine_of(request.get("stateMachineArn"))
        found = [one for one in machine.executions.values() if version.number in (None, one.version.number)]
    state = request.get("statusFilter")
    if state is not None and state not in (*STATES, "PENDING_REDRIVE"):
        raise Refused("ValidationException", f"{state} is not a status of executions")
    newest_first = sorted((one for one in found if state in (None, one.status)), key=lambda one: -one.number)
    wanted = (
        "executionArn",
        "stateMachineArn",
        "stateMachineVersionArn",
        "mapRunArn",
        "name",
        "status",
        "startDate",
        "stopDate",
        "redriveCount",
        "redriveDate",
    )
    told = [{key: one for key, one in described(it).items() if key in wanted} for it in newest_first]
    return paged("executions", told, request)


def get_execution_history(_region, request):
    found = list(execution_of(request.get("executionArn")).history.events)
    if request.get("reverseOrder"):
        found.reverse()
    if request.get("includeExecutionData") is False:
        found = [without_data(one) for one in found]
    return paged("events", found, request)


def without_data(event):
    hidden = ("input", "output", "parameters")
    return {
        key: {inner: one for inner, one in details.items() if inner not in hidden} if isinstance(details, dict) else details
        for key, details in event.items()
    }


def redrive_execution(_region, request):
    found = execution_of(request.get("executionArn"))
    found.redrive()
    return {"redriveDate": found.redriven}


def map_run(arn):
    for execution in list(EXECUTIONS.values()):
        for run in list(execution.children.values()):
            if run.arn == arn:
                return run
    raise Refused("ResourceNotFound", f"Resource not found: '{arn}'")


def list_map_runs(_region, request):
    found = execution_of(request.get("executionArn"))
    told = [
        {"executionArn": found.arn, "mapRunArn": run.arn, "stateMachineArn": found.version.machine.arn, "startDate": found.started}
        for run in list(found.children.values())
    ]
    return paged("mapRuns", told, request)


def describe_map_run(_region, request):
    run = map_run(request.get("mapRunArn"))
    counts = run.counts()
    return {
        "mapRunArn": run.arn,
        "executionArn": run.execution.arn,
        "status": run.status,
        "startDate": run.execution.started,
        "maxConcurrency": run.most,
        "toleratedFailurePercentage": 0.0,
        "toleratedFailureCount": 0,
        "itemCounts": counts,
        "executionCounts": counts,
        "redriveCount": run.redrives,
    }


def paged(key, found, request):
    """The token says where the next page starts."""
    start = int(request.get("nextToken") or 0)
    size = min(request.get("maxResults") or 100, 1000)
    answer = {key: found[start : start + size]}
    if start + size < len(found):
        answer["nextToken"] = str(start + size)
    return answer


# Tokens and tags --------------------------------------------------------------------------------------------------


def answer_of(request):
    found = interpreter.TOKENS.get(request.get("taskToken"))
    if found is None:
        raise Refused("InvalidToken", f"Invalid Token: '{request.get('taskToken')}'")
    return found


def send_task_success(_region, request):
    found = answer_of(request)
    found.output = request["output"]
    found.came.set()
    return {}


def send_task_failure(_region, request):
    found = answer_of(request)
    found.failure = asl.Failure(request.get("error") or "", request.get("cause") or "")
    found.came.set()
    return {}


def send_task_heartbeat(_region, request):
    answer_of(request)
    return {}


def tagged(arn):
    found = MACHINES.get(arn)
    if found is None:
        raise Refused("ResourceNotFound", f"Resource not found: '{arn}'")
    return found


def tag_resource(_region, request):
    tagged(request["resourceArn"]).tags.update({one["key"]: one["value"] for one in request["tags"]})
    return {}


def untag_resource(_region, request):
    for key in request["tagKeys"]:
        tagged(request["resourceArn"]).tags.pop(key, None)
    return {}


def list_tags_for_resource(_region, request):
    return {"tags": [{"key": key, "value": one} for key, one in tagged(request["resourceArn"]).tags.items()]}


# Over HTTP --------------------------------------------------------------------------------------------------------

OPERATIONS = {
    "".join(word.capitalize() for word in operation.__name__.split("_")): operation
    for operation in (
        create_state_machine,
        update_state_machine,
        describe_state_machine,
        delete_state_machine,
        list_state_machines,
        publish_state_machine_version,
        list_state_machine_versions,
        delete_state_machine_version,
        validate_state_machine_definition,
        start_execution,
        stop_execution,
        describe_execution,
        describe_state_machine_for_execution,
        list_executions,
        get_execution_history,
        redrive_execution,
        list_map_runs,
        describe_map_run,
        send_task_success,
        send_task_failure,
        send_task_heartbeat,
        tag_resource,
        untag_resource,
        list_tags_for_resource,
    )
}


def answer(region, op, body):
    """The status, the answer, and the code of the error if it is one."""
    operation = OPERATIONS.get(op)
    if operation is None:
        return 400, {"__type": "UnknownOperationException", "message": f"{op} is not of this emulator"}, "UnknownOperationException"
    try:
        request = json.loads(body or b"{}")
        with LOCK:
            return 200, operation(region, request), None
    except (KeyError, ValueError) as error:
        return 400, {"__type": "ValidationException", "message": f"{error!r}"}, "ValidationException"
    except Refused as error:
        return 400, {"__type": error.code, "message": str(error)}, error.code


def manage(method, path, query, body):
    """The pages below `/_states/`."""
    kind, _, rest = path.partition("/")
    with LOCK:
        if kind == "machines" and method == "PUT":
            SECONDS[rest] = json.loads(body)["second_ms"]
            return 200, {}
        if kind == "executions" and method == "GET":
            return 200, [everything(one) for one in named(query.get("name", [""])[0])]
        arn = rest.removesuffix("/age")
        found = EXECUTIONS.get(arn)
        if kind == "executions" and found is None:
            return 404, {"message": f"there is no execution {arn}"}
        if kind == "executions" and method == "DELETE":
            EXECUTIONS.pop(arn)
            found.version.machine.executions.pop(found.name, None)
            return 200, {}
        if kind == "executions" and rest.endswith("/age"):
            found.stopped -= float(query["days"][0]) * DAY
            return 200, {}
    return 404, {"message": f"there is no {method} of {path}"}


def everything(it):
    return {**described(it), "gone": it.arn not in EXECUTIONS, "tags": it.version.machine.tags}


def named(prefix):
    start = bisect.bisect_left(NAMES, prefix, key=lambda it: it[0])
    found = []
    for name, _, one in NAMES[start:]:
        if not name.startswith(prefix):
            break
        found.append(one)
    return found
