"""A flow that decides its way while it runs: a switch, and a step that comes back to itself.

    dalsegno run RouteFlow -p kilos=1      from the shelf
    dalsegno run RouteFlow -p kilos=11     roasted for you, batch after batch
"""

from metaflow import FlowSpec, Parameter, step

SHELF_KILOS = 3
BATCH_KILOS = 4


class RouteFlow(FlowSpec):
    """Takes an order of beans and finds out how to fill it."""

    kilos = Parameter("kilos", default=11, help="How much is ordered.")

    @step
    def start(self):
        self.ready = 0
        self.batches = 0
        self.size = "small" if self.kilos <= SHELF_KILOS else "large"
        # A switch: the value of `size` says which of the steps is next. The other one is not run.
        self.next({"small": self.shelf, "large": self.roast}, condition="size")

    @step
    def shelf(self):
        self.ready = self.kilos
        self.source = "the shelf"
        self.next(self.pack)

    @step
    def roast(self):
        self.batches += 1
        self.ready += BATCH_KILOS
        self.source = f"{self.batches} fresh batches"
        self.enough = "yes" if self.ready >= self.kilos else "no"
        print(f"batch {self.batches}: {self.ready} of {self.kilos} kg")
        # A switch may lead back to its own step, as often as it takes.
        self.next({"no": self.roast, "yes": self.pack}, condition="enough")

    @step
    def pack(self):
        self.left_over = self.ready - self.kilos
        self.next(self.end)

    @step
    def end(self):
        print(f"{self.kilos} kg from {self.source}; left over: {self.left_over} kg")


if __name__ == "__main__":
    RouteFlow()
