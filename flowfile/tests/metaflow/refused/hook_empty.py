# metaflow.exit_hook
from metaflow import FlowSpec, exit_hook, step


@exit_hook
class HookEmpty(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    HookEmpty()
