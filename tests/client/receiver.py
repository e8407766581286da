"""Receives lineage at a free port, reads each event with the classes of the official client, and says what it was."""

import sys
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

import attr
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    error_message_run,
    job_type_job,
    nominal_time_run,
    parent_run,
    processing_engine_run,
    tags_run,
)

FACETS = {
    "errorMessage": error_message_run.ErrorMessageRunFacet,
    "jobType": job_type_job.JobTypeJobFacet,
    "nominalTime": nominal_time_run.NominalTimeRunFacet,
    "processing_engine": processing_engine_run.ProcessingEngineRunFacet,
}


def fields(facet):
    return {name: value for name, value in facet.items() if not name.startswith("_")}


def read(event):
    facets = {}
    for name, facet in {**event["run"]["facets"], **event["job"]["facets"]}.items():
        assert facet["_producer"] and facet["_schemaURL"], name
        if name in FACETS:
            facets[name] = FACETS[name](**fields(facet))
        elif name == "tags":
            tags = [tags_run.TagsRunFacetFields(**tag) for tag in facet["tags"]]
            facets[name] = tags_run.TagsRunFacet(tags)
        elif name == "parent":
            facets[name] = parent_run.ParentRunFacet(
                parent_run.Run(**facet["run"]), parent_run.Job(**facet["job"])
            )
        else:
            raise ValueError(f"unknown facet {name}")
    known = {it.name for it in attr.fields(RunEvent)} | {"schemaURL"}
    assert set(event) <= known, set(event) - known
    assert event["schemaURL"].endswith("#/$defs/RunEvent")
    return RunEvent(
        eventType=RunState[event["eventType"]],
        eventTime=event["eventTime"],
        run=Run(event["run"]["runId"], {name: it for name, it in facets.items() if name != "jobType"}),
        job=Job(event["job"]["namespace"], event["job"]["name"], {"jobType": facets["jobType"]}),
        producer=event["producer"],
    )


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            event = read(body)
            line = f"{event.eventType.name} {event.job.namespace}/{event.job.name} {event.run.runId}"
        except Exception as error:
            line = f"INVALID {type(error).__name__} {error}"
        with open(sys.argv[1], "a") as witness:
            print(line, file=witness)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
