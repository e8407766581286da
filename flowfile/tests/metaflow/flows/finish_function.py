from metaflow import FlowSpec, step, trigger_on_finish
def upstream(context):
    return ["One", "Two"]


@trigger_on_finish(flows=upstream)
class FinishFunction(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    FinishFunction()
