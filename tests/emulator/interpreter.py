"""Moto's interpreter of the Amazon States Language, repaired: what keeps `batch:submitJob.sync` from running.

Its names of parameters and answers are put into the case that each side wants; a retried task gets a fresh token, else
it ends as a false timeout; a task that is stopped or runs out of time terminates its job, as AWS does; clients are made
once and speak to this process.
"""

import threading
import uuid

import boto3
import botocore.session
import jobs
import records
from botocore.config import Config
from moto.core.config import default_user_config
from moto.settings import moto_server_port
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service,
    state_task_service_batch,
    state_task_service_callback,
)
from moto.stepfunctions.parser.asl.utils import boto_client
from moto.stepfunctions.parser.utils import camel_to_snake_case

default_user_config["stepfunctions"] = {"execute_state_machine": True}

# Clients ----------------------------------------------------------------------------------------------------------

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


def client_for(region, service, state_credentials=None):
    """Making a client is dear, and no work for two threads at once."""
    with MAKING:
        if (region, service) not in CLIENTS:
            url = f"http://127.0.0.1:{moto_server_port()}"
            made = SESSION.client(service, region_name=region, endpoint_url=url, config=PATIENT)
            CLIENTS[region, service] = made
        return CLIENTS[region, service]


boto_client.boto_client_for = client_for
state_task_service_batch.boto_client_for = client_for

# Names of parameters ----------------------------------------------------------------------------------------------

Service = state_task_service.StateTaskService
MODELS = {}


def operation(service, action):
    if service not in MODELS:
        MODELS[service] = botocore.session.get_session().get_service_model(service)
    model = MODELS[service]
    return model.operation_model(next(it for it in model.operation_names if camel_to_snake_case(it) == action))


def normalise_parameters(self, parameters, boto_service_name=None, service_action_name=None):
    service, action = self._get_boto_service_name(boto_service_name), self._get_boto_service_action(service_action_name)
    shape = operation(service, action).input_shape
    if shape is not None:
        self._to_boto_request(parameters, shape)


def normalise_response(self, response, boto_service_name=None, service_action_name=None):
    service, action = self._get_boto_service_name(boto_service_name), self._get_boto_service_action(service_action_name)
    shape = operation(service, action).output_shape
    if shape is not None:
        self._from_boto_response(response, shape)


Service._normalise_parameters = normalise_parameters
Service._normalise_response = normalise_response

# Tasks that wait for a job ----------------------------------------------------------------------------------------

Callback = state_task_service_callback.StateTaskServiceCallback
Batch = state_task_service_batch.StateTaskServiceBatch
state_task_service_callback._DELAY_SECONDS_SYNC_CONDITION_CHECK = 0.05
plain_pattern = Callback._eval_integration_pattern
plain_resolver = Batch._build_sync_resolver


def with_fresh_token(self, env, *arguments, **named):
    if self.resource.condition == state_task_service_callback.ResourceCondition.Sync:
        token = uuid.uuid4().hex
        env.states.context_object.context_object_data["Task"] = {"Token": token}
        env.callback_pool_manager.add(token)
    return plain_pattern(self, env, *arguments, **named)


def stoppable_resolver(self, env, resource_runtime_part, **named):
    """Asks Batch only when the job has ended; a task that is left behind takes its job with it."""
    job = records.JOBS.get(env.stack[-1]["JobId"])
    resolver = plain_resolver(self, env=env, resource_runtime_part=resource_runtime_part, **named)
    if job is None:
        return resolver

    def resolve():
        return resolver() if job.ended.is_set() or job.id not in records.JOBS else None

    def watch():
        while env.is_running():
            if job.ended.wait(0.1):
                return
        jobs.MOVER.terminate(job, "Step Functions execution stopped or state timed out")

    threading.Thread(target=watch, daemon=True).start()
    return resolve


Callback._eval_integration_pattern = with_fresh_token
Batch._build_sync_resolver = stoppable_resolver
