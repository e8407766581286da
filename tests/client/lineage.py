"""Tells of one run as a tool with the official client of OpenLineage does: START, then COMPLETE twice."""

import sys
from datetime import datetime, timezone

from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import nominal_time_run, output_statistics_output_dataset
from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpCompression, HttpTransport

url, token, run_id, rows = sys.argv[1:]
auth = {"auth": ApiKeyTokenProvider({"apiKey": token})} if token else {}
transport = HttpTransport(HttpConfig(url=url, compression=HttpCompression.GZIP, **auth))
client = OpenLineageClient(transport=transport)

nominal = nominal_time_run.NominalTimeRunFacet("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z")
statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=int(rows))


def event(state):
    return RunEvent(
        eventType=state,
        eventTime=datetime.now(timezone.utc).isoformat(),
        run=Run(run_id, {"nominalTime": nominal}),
        job=Job("nightly", "load.orders"),
        producer="https://example.com/nightly",
        outputs=[OutputDataset("postgres://db:5432", "shop.orders", outputFacets={"outputStatistics": statistics})],
    )


for state in [RunState.START, RunState.COMPLETE, RunState.COMPLETE]:
    client.emit(event(state))
