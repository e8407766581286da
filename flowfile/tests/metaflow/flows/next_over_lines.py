from metaflow import FlowSpec, step


class NextOverLines(FlowSpec):
    """A flow. It says @schedule(daily=True) in its text, which means nothing.

    self.next(self.nowhere)
    """

    @step
    def start(self):
        if True:
            print("self.next(self.nowhere)")
        self.next(
            self.a,  # the first
            self.b,
        )
        # nothing follows

    @step
    def a(self): self.next(self.join)

    @step
    def b(
        self,
    ):
        """Says what it does."""
        x = 1; self.next(self.join)

    @step
    def join(self, inputs):
        class Helper:
            def step(self):
                return self.next(1)

        def inner():
            self.next(self.nowhere)

        self.next(self.end)

    @step
    def end(self):
        """The end."""


if __name__ == "__main__":
    NextOverLines()
