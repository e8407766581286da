"""What the tests of the emulator share: clients of boto3 as anybody has them, names of their own, and patience."""

import json
import os
import time
import unittest
import urllib.error
import urllib.request
import uuid

import boto3
from botocore.config import Config

PATIENCE = float(os.environ.get("PATIENCE", "60"))
ENDED = ("SUCCEEDED", "FAILED")


def client(service):
    return boto3.client(
        service,
        endpoint_url=os.environ["DALSEGNO_TEST_AWS_URL"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=60, s3={"addressing_style": "path"}),
    )


def admin(method, path, body=None):
    request = urllib.request.Request(
        os.environ["DALSEGNO_TEST_AWS_URL"] + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def until(what, ask):
    """Asks again until the answer is something."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"{what}: did not come within {PATIENCE} s")


class Case(unittest.TestCase):
    """A test with a job queue, a job definition and names of its own."""

    @classmethod
    def setUpClass(cls):
        cls.batch, cls.sqs, cls.events, cls.sfn = map(client, ("batch", "sqs", "events", "stepfunctions"))
        cls.s3, cls.logs, cls.iam = map(client, ("s3", "logs", "iam"))

    def setUp(self):
        self.id = f"t{uuid.uuid4().hex[:10]}"
        role = self.iam.create_role(RoleName=self.id, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        self.role = role
        self.batch.create_compute_environment(
            computeEnvironmentName=self.id, type="UNMANAGED", state="ENABLED", serviceRole=role
        )
        self.batch.create_job_queue(
            jobQueueName=self.id,
            state="ENABLED",
            priority=1,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": self.id}],
        )
        self.batch.register_job_definition(
            jobDefinitionName=self.id,
            type="container",
            containerProperties={
                "image": "image",
                "command": ["true"],
                "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
            },
        )

    def control(self, **how):
        return admin("PUT", f"/_batch/queues/{self.id}", how)

    def submit(self, *command, name="job", environment=(), **more):
        overrides = {"environment": [{"name": key, "value": value} for key, value in environment]}
        if command:
            overrides["command"] = list(command)
        return self.batch.submit_job(
            jobName=f"{self.id}-{name}",
            jobQueue=self.id,
            jobDefinition=self.id,
            containerOverrides=overrides,
            **more,
        )["jobId"]

    def job(self, job_id):
        return self.batch.describe_jobs(jobs=[job_id])["jobs"][0]

    def reaches(self, job_id, *states):
        return until(
            f"a job that is {states}", lambda: next((it for it in [self.job(job_id)] if it["status"] in states), None)
        )

    def ends(self, job_id):
        return self.reaches(job_id, *ENDED)

    def named(self, name="job"):
        found = self.batch.list_jobs(
            jobQueue=self.id, filters=[{"name": "JOB_NAME", "values": [f"{self.id}-{name}"]}]
        )
        return found["jobSummaryList"]

    def events_queue(self):
        """A queue of SQS that gets the changes of state of what this test names."""
        url = self.sqs.create_queue(QueueName=self.id)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        for source, field in (("aws.batch", "jobName"), ("aws.states", "name")):
            pattern = {"source": [source], "detail": {field: [{"prefix": self.id}]}}
            rule = f"{self.id}-{field}"
            self.events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
            self.events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": arn}])
        return url

    def told(self, url, enough):
        """The events that came, once there are enough."""
        found = []

        def ask():
            got = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for message in got.get("Messages", []):
                found.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return enough(found)

        try:
            until("events", ask)
        except AssertionError as error:
            states = [(it["source"], it["detail"]["status"]) for it in found]
            raise AssertionError(f"{error}; there were {states}") from None
        return found

    # Step Functions -----------------------------------------------------------------------------------------------

    def machine(self, states, name="machine", **more):
        definition = {"StartAt": next(iter(states)), "States": states, **more}
        made = self.sfn.create_state_machine(
            name=f"{self.id}-{name}", roleArn=self.role, definition=json.dumps(definition)
        )
        return made["stateMachineArn"]

    def start(self, machine, data=None, name="run"):
        return self.sfn.start_execution(
            stateMachineArn=machine, name=f"{self.id}-{name}", input=json.dumps(data or {})
        )["executionArn"]

    def execution_ends(self, arn):
        def ask():
            found = self.sfn.describe_execution(executionArn=arn)
            return found if found["status"] != "RUNNING" else None

        return until("the end of an execution", ask)

    def history(self, arn):
        return self.sfn.get_execution_history(executionArn=arn, maxResults=1000)["events"]

    def task(self, *command, name="job", **more):
        """A state that runs a job and goes on when it is done."""
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::batch:submitJob.sync",
            "Parameters": {
                "JobName": f"{self.id}-{name}",
                "JobQueue": self.id,
                "JobDefinition": self.id,
                "ContainerOverrides": {"Command": list(command)},
            },
            **more,
        }
