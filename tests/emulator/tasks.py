"""The services that a Task of Step Functions calls.

`batch:submitJob.sync` waits for the job without asking; all else goes through a client of boto3 to this very process,
as `arn:aws:states:::aws-sdk:s3:getObject` and `arn:aws:states:::sqs:sendMessage` do.
"""

import datetime
import json
import re
import threading

import asl
import boto3
import jobs
import records
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from moto.settings import moto_server_port

SESSION = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test")
CLIENTS = {}
MAKING = threading.Lock()
PATIENT = Config(
    parameter_validation=False,
    retries={"total_max_attempts": 1},
    connect_timeout=60,
    read_timeout=600,
    max_pool_connections=200,
    s3={"addressing_style": "path"},
)
SDK_NAMES = {"sfn": "stepfunctions", "states": "stepfunctions", "eventbridge": "events"}
ERROR_NAMES = {"batch": "Batch", "dynamodb": "DynamoDB", "sqs": "SQS", "sns": "SNS", "events": "EventBridge", "states": "StepFunctions"}
LEFT = "Step Functions execution stopped or state timed out"


class Resource:
    """`arn:aws:states:::[aws-sdk:]SERVICE:ACTION[.sync|.sync:2|.waitForTaskToken]`"""

    def __init__(self, arn):
        words = arn.split(":")
        if arn.count(":") < 6 or words[2] != "states":
            raise asl.Failure("States.Runtime", f"The resource provided {arn} is not recognized")
        self.is_sdk = words[5] == "aws-sdk"
        rest = words[6:] if self.is_sdk else words[5:]
        self.service = rest[0]
        self.action, _, how = ":".join(rest[1:]).partition(".")
        self.sync = how.startswith("sync")
        self.token = how == "waitForTaskToken"
        # As the history tells it.
        self.type = f"aws-sdk:{self.service}" if self.is_sdk else self.service
        self.name = f"{self.action}.{how}" if how else self.action


def client_for(region, service):
    """Making a client is dear, and no work for two threads at once."""
    with MAKING:
        if (region, service) not in CLIENTS:
            url = f"http://127.0.0.1:{moto_server_port()}"
            made = SESSION.client(service, region_name=region, endpoint_url=url, config=PATIENT)
            CLIENTS[region, service] = made
        return CLIENTS[region, service]


# Names in the case that each side wants ----------------------------------------------------------------------------


def to_boto(given, shape):
    """`JobName` to `jobName`, by the model of the service."""
    if shape.type_name == "structure" and isinstance(given, dict):
        members = {name.lower(): name for name in shape.members}
        names = {key: members.get(key.lower(), key) for key in given}
        return {
            names[key]: to_boto(inner, shape.members[names[key]]) if names[key] in shape.members else inner
            for key, inner in given.items()
        }
    if shape.type_name == "list" and isinstance(given, list):
        return [to_boto(inner, shape.member) for inner in given]
    if shape.type_name == "map" and isinstance(given, dict):
        return {key: to_boto(inner, shape.value) for key, inner in given.items()}
    if shape.type_name in ("string", "blob") and not isinstance(given, str):
        return json.dumps(given, separators=(",", ":"))
    return given


def from_boto(given, shape):
    if isinstance(given, StreamingBody):
        return given.read().decode(errors="replace")
    if isinstance(given, datetime.datetime):
        return given.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(given, bytes):
        return given.decode(errors="replace")
    if shape is not None and shape.type_name == "structure" and isinstance(given, dict):
        return {
            key[:1].upper() + key[1:]: from_boto(inner, shape.members.get(key))
            for key, inner in given.items()
            if key != "ResponseMetadata"
        }
    if shape is not None and shape.type_name == "list":
        return [from_boto(inner, shape.member) for inner in given]
    if shape is not None and shape.type_name == "map":
        return {key: from_boto(inner, shape.value) for key, inner in given.items()}
    return given


def snake(action):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", action).lower()


def operation(client, action):
    """The method and the model of an action, `getObject`."""
    for name in client.meta.service_model.operation_names:
        if name.lower() == action.lower():
            model = client.meta.service_model.operation_model(name)
            return getattr(client, {v: k for k, v in client.meta.method_to_api_mapping.items()}[name]), model
    raise asl.Failure("States.Runtime", f"There is no action {action}")


def call(region, resource, parameters):
    """Calls the service, and gives its answer with names as Step Functions spell them."""
    service = SDK_NAMES.get(resource.service, resource.service)
    client = client_for(region, service)
    method, model = operation(client, resource.action)
    try:
        answer = method(**(to_boto(parameters, model.input_shape) if model.input_shape else {}))
    except ClientError as error:
        raise refused(resource, error) from None
    except Exception as error:
        name = ERROR_NAMES.get(resource.service, resource.service.capitalize())
        raise asl.Failure(f"{name}.SdkClientException", f"Unable to execute HTTP request: {error}") from None
    return from_boto(answer, model.output_shape) if model.output_shape else {}


def refused(resource, error):
    code = error.response["Error"].get("Code") or "Unknown"
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if resource.is_sdk and not code.endswith("Exception"):
        code += "Exception"
    name = ERROR_NAMES.get(resource.service, resource.service.capitalize())
    message = error.response["Error"].get("Message", "")
    return asl.Failure(f"{name}.{code}", f"{message} (Service: {name}, Status Code: {status}, Request ID: emulator)")


# Jobs -------------------------------------------------------------------------------------------------------------


def with_mark(parameters):
    """What AWS adds to the environment of such jobs."""
    parameters = {key[:1].upper() + key[1:]: inner for key, inner in parameters.items()}
    overrides = dict(parameters.get("ContainerOverrides") or {})
    overrides["Environment"] = [
        *(overrides.get("Environment") or []),
        {"Name": "MANAGED_BY_AWS", "Value": "STARTED_BY_STEP_FUNCTIONS"},
    ]
    return {**parameters, "ContainerOverrides": overrides}


def job_ended(region, job_id, scope):
    """Waits for the end of a job. Whoever leaves it behind takes it down, as AWS does."""
    job = records.JOBS[job_id]
    try:
        while not job.ended.wait(0.2):
            scope.check()
    except BaseException:
        jobs.MOVER.terminate(job, LEFT)
        raise
    with jobs.LOCK:
        told = records.detail(job)
    client = client_for(region, "batch")
    shape = client.meta.service_model.shape_for("JobDetail")
    result = from_boto(told, shape)
    if job.state == "FAILED":
        raise asl.Failure("States.TaskFailed", json.dumps(result, separators=(",", ":")))
    return result
