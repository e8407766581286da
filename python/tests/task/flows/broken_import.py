"""A flow file that does not load."""
from metaflow import FlowSpec, step

import no_such_module_anywhere


class BrokenImport(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    BrokenImport()
