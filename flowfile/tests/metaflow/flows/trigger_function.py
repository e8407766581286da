from metaflow import FlowSpec, Parameter, step, trigger
def event(context):
    return {"name": "at_deploy", "parameters": {"alpha": "a"}}


@trigger(event=event)
class TriggerFunction(FlowSpec):
    alpha = Parameter("alpha", default=1)

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    TriggerFunction()
