"""Started by an event, and itself the start of another flow: @project, @trigger with a mapping, ArgoEvent.

    dalsegno events emit orders.exported --data '{"date": "2026-02-14"}'
"""

from datetime import date

from lib import shop
from metaflow import FlowSpec, Parameter, project, step, trigger
from metaflow.integrations import ArgoEvent


@project(name="coda")
@trigger(event={"name": "orders.exported", "parameters": {"day": "date"}})  # the field `date` of the event is our `day`
class SalesIngestFlow(FlowSpec):
    """Brings in the orders of one day. When it has succeeded, SalesReportFlow starts by itself."""

    day = Parameter("day", default="2026-02-14", help="A day from 2026-01-01 to 2026-03-31.")

    @step
    def start(self):
        day = date.fromisoformat(self.day)
        if not shop.FIRST_DAY <= day <= shop.LAST_DAY:
            raise ValueError(f"no orders for {day}: the export covers {shop.FIRST_DAY} to {shop.LAST_DAY}")
        self.raw = shop.raw_orders().get(self.day, [])
        print(f"{self.day}: {len(self.raw)} rows")
        self.next(self.clean)

    @step
    def clean(self):
        self.orders, refused = shop.clean(self.raw)
        self.refused = [reason for _, reason in refused]
        self.next(self.end)

    @step
    def end(self):
        print(f"{len(self.orders)} orders taken, {len(self.refused)} refused")
        if self.refused:
            # Whoever listens to it is started; outside of a scheduler this does nothing.
            ArgoEvent("orders.refused").safe_publish({"day": self.day, "rows": len(self.refused)})


if __name__ == "__main__":
    SalesIngestFlow()
