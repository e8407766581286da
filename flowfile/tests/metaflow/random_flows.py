"""random_flows.py FOLDER COUNT SEED: writes so many flow files with random graphs, about half of them wrong."""
import os
import random
import re
import sys


class Graph:
    def __init__(self, rng):
        self.rng, self.steps = rng, {}

    def new(self):
        name = "s%d" % len(self.steps)
        self.steps[name] = ("", "")
        return name

    def block(self, name, then, depth=0):
        """Whatever begins with step `name` and goes on to `then`."""
        kinds = ["line", "line", "last", "split", "foreach", "gang", "switch", "loop"]
        kind = self.rng.choice(kinds) if depth < 4 else "last"
        if kind == "last":
            self.steps[name] = ("", "self." + then)
        elif kind == "line":
            self.go_on(name, "self.%s", then, depth)
        elif kind == "loop":
            self.go_on(name, "{True: self.%s, False: self.%%s}, condition='c'" % name, then, depth)
        elif kind == "split":
            branches, join = [self.new() for _ in range(self.rng.choice([2, 2, 3]))], self.new()
            self.steps[name] = ("", ", ".join("self." + it for it in branches))
            for branch in branches:
                self.block(branch, join, depth + 1)
            self.join(join, then, depth)
        elif kind == "foreach":
            body, join = self.new(), self.new()
            self.steps[name] = ("", "self.%s, foreach='x'" % body)
            self.block(body, join, depth + 1)
            self.join(join, then, depth)
        elif kind == "gang":
            body, join = self.new(), self.new()
            self.steps[name] = ("", "self.%s, num_parallel=2" % body)
            self.steps[body] = ("@parallel", "self." + join)
            self.join(join, then, depth)
        elif kind == "switch":
            ways, meet = [self.new(), self.new()], self.new()
            self.steps[name] = ("", "{'x': self.%s, 'y': self.%s}, condition='c'" % tuple(ways))
            for way in ways:
                self.block(way, meet, depth + 1)
            self.block(meet, then, depth + 1)

    def go_on(self, name, form, then, depth):
        following = self.new()
        self.steps[name] = ("", form % following)
        self.block(following, then, depth + 1)

    def join(self, name, then, depth):
        if self.rng.random() < 0.4:
            following = self.new()
            self.block(following, then, depth + 1)
            then = following
        self.steps[name] = ("inputs", "self." + then)

    def spoil(self):
        name = self.rng.choice(list(self.steps))
        mark, following = self.steps[name]
        if not following:
            return
        if self.rng.random() < 0.3:
            self.steps[name] = ("" if mark == "inputs" else "inputs", following)
            return
        target = self.rng.choice(re.findall(r"self\.(\w+)", following))
        other = self.rng.choice(list(self.steps))
        self.steps[name] = (mark, following.replace("self." + target, "self." + other, 1))

    def text(self, cls):
        lines = ["from metaflow import FlowSpec, parallel, step", "", "", "class %s(FlowSpec):" % cls]
        for name, (mark, following) in self.steps.items():
            lines += ["    @parallel"] if mark == "@parallel" else []
            lines += ["    @step", "    def %s(self%s):" % (name, ", inputs" if mark == "inputs" else "")]
            lines += ["        self.next(%s)" % following if following else "        pass", ""]
        return "\n".join(lines + ["", "if __name__ == '__main__':", "    %s()" % cls, ""])


if __name__ == "__main__":
    folder, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    for number in range(count):
        graph = Graph(rng)
        graph.steps = {"start": ("", ""), "end": ("", "")}
        graph.block("start", "end")
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            graph.spoil()
        with open(os.path.join(folder, "random_%d.py" % number), "w") as file:
            file.write(graph.text("Random%d" % number))
