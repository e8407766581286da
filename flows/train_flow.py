"""A training with all that belongs to one: a time limit, a card to look at, and word when it is over.

    dalsegno run TrainFlow -p epochs=20
"""

import math

from lib import shop
from metaflow import FlowSpec, Parameter, card, current, exit_hook, step, timeout
from metaflow.cards import Markdown, Table

FEATURES = ("always", "slow parcel", "grinder", "several items", "by phone")


def tell(run):
    """Called when the run is over and good. A message to your chat would stand here."""
    print(f"{run.pathspec} is ready: AUC {run.data.auc}")


def alarm():
    """Called when the run is over and failed."""
    print("the training failed; the old model stays")


@exit_hook(on_success=[tell], on_error=[alarm])
class TrainFlow(FlowSpec):
    """Learns which orders will be sent back."""

    epochs = Parameter("epochs", default=8, help="Passes over the orders.")
    wanted = Parameter("wanted", default=0.55, help="A model that is worse is an error; 0.5 is a coin.")

    @step
    def start(self):
        orders = [order for rows in shop.raw_orders().values() for order in shop.clean(rows)[0]]
        examples = [(features(order), int(order["returned"] == "yes")) for order in orders]
        cut = len(examples) * 3 // 4
        self.learn, self.exam = examples[:cut], examples[cut:]
        self.next(self.train)

    @timeout(minutes=5)
    @card
    @step
    def train(self):
        self.weights = [0.0] * len(FEATURES)
        self.losses = []
        for epoch in range(self.epochs):
            step_size = 0.01 / (1 + epoch)
            for x, answer in self.learn:
                error = predict(self.weights, x) - answer
                self.weights = [w - step_size * error * value for w, value in zip(self.weights, x)]
            chances = [predict(self.weights, x) if answer else 1 - predict(self.weights, x) for x, answer in self.learn]
            self.losses.append(-sum(map(math.log, chances)) / len(chances))
            print(f"epoch {epoch + 1:2} of {self.epochs}: loss {self.losses[-1]:.4f}", flush=True)
        current.card.append(Markdown(f"# {len(self.learn)} orders, {self.epochs} epochs"))
        current.card.append(Table([[name, f"{weight:+.3f}"] for name, weight in zip(FEATURES, self.weights)], headers=["feature", "weight"]))
        self.next(self.examine)

    @step
    def examine(self):
        sent_back = [predict(self.weights, x) for x, answer in self.exam if answer]
        kept = [predict(self.weights, x) for x, answer in self.exam if not answer]
        wins = sum((a > b) + (a == b) / 2 for a in sent_back for b in kept)
        self.auc = round(wins / (len(sent_back) * len(kept)), 4)
        if self.auc < self.wanted:
            raise ValueError(f"AUC {self.auc} is below {self.wanted}")
        self.next(self.end)

    @step
    def end(self):
        print(f"AUC on {len(self.exam)} unseen orders: {self.auc}")


def features(order):
    return [
        1.0,
        (order["delivery_days"] - 3) / 2,
        float(order["product"] == "encore-grinder"),
        float(order["quantity"] > 1),
        float(order["channel"] == "phone"),
    ]


def predict(weights, x):
    return 1 / (1 + math.exp(-sum(map(float.__mul__, weights, x))))


if __name__ == "__main__":
    TrainFlow()
