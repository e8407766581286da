from metaflow import FlowSpec, step


class WithoutGuard(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


WithoutGuard()
