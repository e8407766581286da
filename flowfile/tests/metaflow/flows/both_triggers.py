from metaflow import FlowSpec, Parameter, project, trigger, trigger_on_finish, step, namespaced_event_name


@trigger(event="go")
@trigger_on_finish(flow="UpstreamFlow")
class BothTriggers(FlowSpec):
    alpha = Parameter("alpha", default=1.5)
    Beta = Parameter("Beta", default="b")
    day = Parameter("the-day", default="today")

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    BothTriggers()
