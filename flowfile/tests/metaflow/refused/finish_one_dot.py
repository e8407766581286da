# metaflow.trigger_on_finish
from metaflow import FlowSpec, step, trigger_on_finish


@trigger_on_finish(flow='a.b')
class FinishOneDot(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    FinishOneDot()
