# metaflow.trigger_on_finish
from metaflow import FlowSpec, step, trigger_on_finish


@trigger_on_finish(flow={'project': 'p'})
class FinishNameless(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    FinishNameless()
