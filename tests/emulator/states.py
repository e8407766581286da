"""Step Functions."""

import json
import uuid

import events
import interpreter  # noqa: F401
from moto.stepfunctions.parser import models
from moto.stepfunctions.parser.backend import execution

Backend = models.StepFunctionsParserBackend
Worker = execution.BaseExecutionWorkerCommunication
plain_start = Backend.start_execution
plain_begin = execution.Execution.start
plain_end = Worker.terminated


def start_execution(self, arn, name=None, execution_input=None, **named):
    return plain_start(self, arn, name or str(uuid.uuid4()), execution_input, **named)


def milliseconds(at):
    return int(at.timestamp() * 1000) if at else None


def tell(it):
    detail = {
        "executionArn": it.exec_arn,
        "stateMachineArn": it.state_machine.arn,
        "name": it.name,
        "status": it.exec_status.value,
        "startDate": milliseconds(it.start_date),
        "stopDate": milliseconds(it.stop_date),
        "input": it.execution_input,
        "output": json.dumps(it.output) if it.exec_status.value == "SUCCEEDED" else None,
        "error": it.error,
        "cause": it.cause,
    }
    events.tell(it.region_name, "aws.states", "Step Functions Execution Status Change", [it.exec_arn], detail)


def begin(self):
    plain_begin(self)
    tell(self)


def end(self):
    plain_end(self)
    tell(self.execution)


Backend.start_execution = start_execution
execution.Execution.start = begin
Worker.terminated = end


def answer(region, op, body):
    """None when it is moto's to answer."""
    return None


def manage(method, path, query):
    """The pages below `/_states/`."""
    return 404, {"message": f"there is no {method} of {path}"}
