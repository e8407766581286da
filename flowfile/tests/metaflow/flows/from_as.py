from metaflow import FlowSpec as Spec
from metaflow import Parameter as P, retry as again, schedule as at, step as s


@at(weekly=True)
class FromAs(Spec):
    alpha = P("alpha", default=2.5)

    @again(times=2)
    @s
    def start(self):
        self.next(self.end)

    @s
    def end(self):
        pass


if __name__ == "__main__":
    FromAs()
