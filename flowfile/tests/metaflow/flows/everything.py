from metaflow import FlowSpec, step


class Everything(FlowSpec):
    @step
    def start(self):
        self.next(self.a, self.b)

    @step
    def a(self):
        self.next(self.each, foreach="xs")

    @step
    def each(self):
        self.next({'l': self.left, 'r': self.right}, condition="choice")

    @step
    def left(self):
        self.next(self.inner, foreach="ys")

    @step
    def inner(self):
        self.next(self.inner_join)

    @step
    def inner_join(self, inputs):
        self.next(self.meet)

    @step
    def right(self):
        self.next(self.meet)

    @step
    def meet(self):
        self.next(self.each_join)

    @step
    def each_join(self, inputs):
        self.next(self.join)

    @step
    def b(self):
        self.next(self.loop)

    @step
    def loop(self):
        self.next({True: self.loop, False: self.after}, condition="more")

    @step
    def after(self):
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Everything()
