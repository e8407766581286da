from metaflow import FlowSpec, card, catch, environment, resources, retry, secrets, step, timeout


class StepPolicies(FlowSpec):
    @retry
    @step
    def start(self):
        self.next(self.a)

    @retry(times="2", minutes_between_retries=0)
    @step
    def a(self):
        self.next(self.b)

    @catch
    @step
    def b(self):
        self.next(self.c)

    @catch(var="failure", print_exception=False)
    @retry(times=1)
    @step
    def c(self):
        self.next(self.d)

    @timeout(seconds=5, minutes=1, hours=2)
    @step
    def d(self):
        self.next(self.e)

    @environment(vars={"A": "x", "B": 3, "C": True, "D": 1.5, "E": "${{ a }}", "F": ""})
    @step
    def e(self):
        self.next(self.f)

    @retry(times=0)
    @step
    def f(self):
        self.next(self.g)

    @card
    @card(type="blank", id="two")
    @secrets(sources=[])
    @resources(cpu=2, memory=512)
    @step
    def g(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    StepPolicies()
