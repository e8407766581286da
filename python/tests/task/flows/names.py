"""A foreach over what a folder may hold: names of files need not be Unicode."""
import os

from metaflow import FlowSpec, step


class Names(FlowSpec):
    @step
    def start(self):
        self.names = [os.fsdecode(b"caf\xe9.csv"), None]
        self.next(self.one, foreach="names")

    @step
    def one(self):
        self.bytes = os.fsencode(self.input or "")
        self.next(self.join)

    @step
    def join(self, inputs):
        self.all = [each.bytes for each in inputs]
        self.next(self.end)

    @step
    def end(self):
        print(self.all)


if __name__ == "__main__":
    Names()
