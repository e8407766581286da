"""One after another: a switch, a loop, a split, and a foreach in a foreach."""

from metaflow import FlowSpec, Parameter, step


class MixedFlow(FlowSpec):
    mode = Parameter("mode", default="fast")

    @step
    def start(self):
        self.counter = 0
        self.choice = self.mode
        self.next({"fast": self.fast, "slow": self.slow}, condition="choice")

    @step
    def fast(self):
        self.route = "fast"
        self.next(self.loop)

    @step
    def slow(self):
        self.route = "slow"
        self.next(self.loop)

    @step
    def loop(self):
        self.counter += 1
        self.again = "yes" if self.counter < 3 else "no"
        self.next({"yes": self.loop, "no": self.fan}, condition="again")

    @step
    def fan(self):
        self.next(self.b1, self.b2)

    @step
    def b1(self):
        self.v = 1
        self.next(self.bjoin)

    @step
    def b2(self):
        self.v = 2
        self.next(self.bjoin)

    @step
    def bjoin(self, inputs):
        self.vs = [inputs.b1.v, inputs.b2.v]
        self.merge_artifacts(inputs, exclude=["v"])
        self.next(self.pre_nest)

    @step
    def pre_nest(self):
        self.outer = [10, 20]
        self.next(self.f1, foreach="outer")

    @step
    def f1(self):
        self.inner = [self.input + i for i in range(3)]
        self.next(self.f2, foreach="inner")

    @step
    def f2(self):
        self.x = self.input
        self.next(self.j2)

    @step
    def j2(self, inputs):
        self.sum = sum(i.x for i in inputs)
        self.merge_artifacts(inputs, include=["route", "vs", "counter"])
        self.next(self.j1)

    @step
    def j1(self, inputs):
        self.total = sum(i.sum for i in inputs)
        self.merge_artifacts(inputs, include=["route", "vs", "counter"])
        self.next(self.end)

    @step
    def end(self):
        print("route", self.route, "counter", self.counter, "vs", self.vs, "total", self.total)


if __name__ == "__main__":
    MixedFlow()
