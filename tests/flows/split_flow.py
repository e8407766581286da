from metaflow import FlowSpec, step


class SplitFlow(FlowSpec):
    """A split with a split in one of its branches."""

    @step
    def start(self):
        self.common = "c"
        self.next(self.short, self.long, self.wide)

    @step
    def short(self):
        self.by_short = 1
        self.next(self.meet)

    @step
    def long(self):
        self.by_long = 2
        self.next(self.longer)

    @step
    def longer(self):
        self.by_long += 20
        self.next(self.meet)

    @step
    def wide(self):
        self.next(self.left, self.right)

    @step
    def left(self):
        self.side = "left"
        self.next(self.inner)

    @step
    def right(self):
        self.side = "right"
        self.next(self.inner)

    @step
    def inner(self, inputs):
        self.sides = [inputs.left.side, inputs.right.side]
        self.next(self.meet)

    @step
    def meet(self, inputs):
        self.all = [inputs.short.by_short, inputs.longer.by_long, inputs.inner.sides]
        self.merge_artifacts(inputs, include=["common"])
        self.next(self.end)

    @step
    def end(self):
        print(self.common, self.all)


if __name__ == "__main__":
    SplitFlow()
