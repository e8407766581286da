"""Many settings tried at once, the best one kept: foreach, join, @retry, @catch, @resources.

One setting is bad on purpose: its learning rate is so high that the training explodes. @retry gives it a second chance,
then @catch takes the error, and the other settings are compared without it.

    dalsegno run GridSearchFlow -p rounds=60
"""

import math

from lib import shop
from metaflow import FlowSpec, Parameter, catch, resources, retry, step


class GridSearchFlow(FlowSpec):
    """Finds the learning rate and the decay with which the orders of a day are foretold best."""

    rounds = Parameter("rounds", default=40, help="Rounds of training for each setting.")

    @step
    def start(self):
        orders = shop.raw_orders()
        days = sorted(orders)
        counts = [len(shop.clean(orders[day])[0]) for day in days]
        self.scale = max(counts)
        # What is known of a day: the day before, and the same weekday a week ago.
        rows = [([1.0, counts[i - 1] / self.scale, counts[i - 7] / self.scale], counts[i] / self.scale) for i in range(7, len(days))]
        self.learn, self.exam = rows[:-20], rows[-20:]
        self.grid = [(rate, decay) for rate in (0.05, 0.3, 1e6) for decay in (0.0, 0.01)]
        print(f"{len(self.grid)} settings, {len(self.learn)} days to learn from, {len(self.exam)} to be examined on")
        self.next(self.fit, foreach="grid")

    @resources(cpu=1, memory=256)
    @catch(var="problem")
    @retry(times=1, minutes_between_retries=0)
    @step
    def fit(self):
        self.rate, self.decay = self.input
        weights = [0.0, 0.0, 0.0]
        for _ in range(self.rounds):
            for x, wanted in self.learn:
                error = sum(map(float.__mul__, weights, x)) - wanted
                weights = [w - self.rate * (error * value + self.decay * w) for w, value in zip(weights, x)]
            if not all(map(math.isfinite, weights)):
                raise ArithmeticError(f"the training exploded: rate {self.rate:g}, decay {self.decay:g}")
        self.weights = weights
        misses = [abs(sum(map(float.__mul__, weights, x)) - wanted) for x, wanted in self.exam]
        self.miss = sum(misses) / len(misses) * self.scale
        print(f"rate {self.rate:g}, decay {self.decay:g}: {self.miss:.2f} orders a day off")
        self.next(self.choose)

    @step
    def choose(self, inputs):
        good = [each for each in inputs if not each.problem]
        best = min(good, key=lambda each: each.miss)
        self.best = {"rate": best.rate, "decay": best.decay, "miss": round(best.miss, 3)}
        self.weights = best.weights
        self.exploded = len(list(inputs)) - len(good)
        self.next(self.end)

    @step
    def end(self):
        print(f"best: {self.best}; settings that exploded: {self.exploded}")


if __name__ == "__main__":
    GridSearchFlow()
