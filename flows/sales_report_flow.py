"""Started when another flow has succeeded, and reads what that one made: @trigger_on_finish, current.trigger, foreach.

    dalsegno run coda.user.$USER.SalesIngestFlow     the report follows by itself
"""

import os
from collections import Counter
from pathlib import Path

from lib import shop
from metaflow import Flow, FlowSpec, current, project, step, trigger_on_finish


@project(name="coda")
@trigger_on_finish(flow="SalesIngestFlow")  # of the same project and branch
class SalesReportFlow(FlowSpec):
    """Writes a page about the newest day: one line for each region."""

    @step
    def start(self):
        # The run that started us; for a start by hand, when there is no such thing, the newest one that is good.
        trigger = getattr(current, "trigger", None)
        upstream = trigger.run if trigger else Flow("SalesIngestFlow").latest_successful_run
        if upstream is None:
            raise RuntimeError("there are no sales yet; run SalesIngestFlow first")
        self.source = upstream.pathspec
        self.day = upstream.data.day
        self.orders = upstream.data.orders
        self.regions = list(shop.REGIONS)
        print(f"{len(self.orders)} orders of {self.day}, by {self.source}")
        self.next(self.region, foreach="regions")

    @step
    def region(self):
        self.place = self.input
        mine = [order for order in self.orders if order["region"] == self.place]
        self.revenue = round(sum(order["quantity"] * order["unit_price"] for order in mine), 2)
        self.favourite = Counter(order["product"] for order in mine).most_common(1)
        self.next(self.write)

    @step
    def write(self, inputs):
        self.lines = [f"| {each.place} | {each.revenue:.2f} € | {each.favourite[0][0] if each.favourite else '–'} |" for each in inputs]
        self.total = round(sum(each.revenue for each in inputs), 2)
        self.merge_artifacts(inputs, include=["day", "source"])
        self.next(self.end)

    @step
    def end(self):
        page = [f"# Sales of {self.day}", "", "| region | revenue | favourite |", "|---|---|---|", *self.lines, "", f"Total: {self.total:.2f} €"]
        target = Path("results") / "sales" / f"{self.day}.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside, then renamed: a step may be repeated or killed at any moment.
        draft = target.with_suffix(f".{os.getpid()}.draft")
        draft.write_text("\n".join(page) + "\n", encoding="utf-8")
        draft.replace(target)
        print(f"{target}: {self.total:.2f} €")


if __name__ == "__main__":
    SalesReportFlow()
