from metaflow import FlowSpec, Parameter, project, trigger, trigger_on_finish, step, namespaced_event_name


@trigger_on_finish(flow="UpstreamFlow")
class FinishOne(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    FinishOne()
