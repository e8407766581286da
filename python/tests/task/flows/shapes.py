"""Every form of graph in one flow: static split, foreach in foreach, switch, recursion, joins."""
from metaflow import FlowSpec, Parameter, step


class Shapes(FlowSpec):
    rounds = Parameter("rounds", default=3)

    @step
    def start(self):
        self.groups = ["ab", "c"]
        self.count = 0
        self.next(self.left, self.right)

    @step
    def left(self):
        self.next(self.outer)

    @step
    def outer(self):
        self.next(self.inner, foreach="groups")

    @step
    def inner(self):
        self.letters = list(self.input)
        self.next(self.letter, foreach="letters")

    @step
    def letter(self):
        self.upper = self.input.upper()
        self.next(self.inner_join)

    @step
    def inner_join(self, inputs):
        self.uppers = [one.upper for one in inputs]
        self.next(self.outer_join)

    @step
    def outer_join(self, inputs):
        self.word = "".join("".join(one.uppers) for one in inputs)
        self.next(self.meet)

    @step
    def right(self):
        self.way = "long"
        self.next({"long": self.loop, "short": self.shortcut}, condition="way")

    @step
    def shortcut(self):
        self.next(self.right_end)

    @step
    def loop(self):
        self.count = self.count + 1
        self.again = "yes" if self.count < self.rounds else "no"
        self.next({"yes": self.loop, "no": self.right_end}, condition="again")

    @step
    def right_end(self):
        self.next(self.meet)

    @step
    def meet(self, inputs):
        self.result = (inputs[0].word, inputs[1].count)
        self.next(self.end)

    @step
    def end(self):
        print("result", self.result)


if __name__ == "__main__":
    Shapes()
