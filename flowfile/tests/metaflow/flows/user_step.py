from metaflow import FlowSpec, step, user_step_decorator


@user_step_decorator
def timed(step_name, flow, inputs=None, attributes=None):
    print("begin")
    yield
    print("end")


class UserStep(FlowSpec):
    @timed
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    UserStep()
