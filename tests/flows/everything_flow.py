"""Everything inside everything: switch and recursion in a foreach, a split in a branch of a switch, a foreach in a branch of it."""

from metaflow import FlowSpec, step


class EverythingFlow(FlowSpec):
    @step
    def start(self):
        self.xs = [0, 1, 2]
        self.next(self.body, foreach="xs")

    @step
    def body(self):
        self.k = self.input
        self.n = 0
        self.parity = "odd" if self.k % 2 else "even"
        self.next({"odd": self.odd, "even": self.even}, condition="parity")

    @step
    def odd(self):
        self.tag = "odd"
        self.next(self.spin)

    @step
    def even(self):
        self.tag = "even"
        self.next(self.spin)

    @step
    def spin(self):
        self.n += 1
        self.more = self.n <= self.k
        self.go = "again" if self.more else "out"
        self.next({"again": self.spin, "out": self.tail}, condition="go")

    @step
    def tail(self):
        self.next(self.gather)

    @step
    def gather(self, inputs):
        self.res = [(i.k, i.tag, i.n) for i in inputs]
        self.next(self.route)

    @step
    def route(self):
        self.r = "wide"
        self.next({"wide": self.wide, "narrow": self.narrow}, condition="r")

    @step
    def wide(self):
        self.next(self.left, self.right)

    @step
    def left(self):
        self.ys = ["p", "q"]
        self.next(self.double, foreach="ys")

    @step
    def double(self):
        self.y = self.input * 2
        self.next(self.joined)

    @step
    def joined(self, inputs):
        self.ys2 = [i.y for i in inputs]
        self.merge_artifacts(inputs, include=["res"])
        self.next(self.wjoin)

    @step
    def right(self):
        self.next(self.wjoin)

    @step
    def wjoin(self, inputs):
        self.ys2 = inputs.joined.ys2
        self.res = inputs.joined.res
        self.next(self.merge)

    @step
    def narrow(self):
        self.ys2 = []
        self.next(self.merge)

    @step
    def merge(self):
        self.next(self.end)

    @step
    def end(self):
        print(self.res, self.ys2)


if __name__ == "__main__":
    EverythingFlow()
