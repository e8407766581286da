"""A very small model: will this order be sent back? Logistic regression by stochastic gradient descent."""

import math
import random
from datetime import date

import shop

FEATURES = ("bias", "slow parcel", "grinder", "mug", "cold brew", "several items", "by phone", "newsletter", "alps", "islands")
Example = tuple[list[float], int]


def examples(first: date, until: date) -> list[Example]:
    """The clean orders of `first` up to, but without, `until`, as numbers and the answer."""
    known = shop.customers()
    found = []
    for day, rows in shop.raw_orders().items():
        if first.isoformat() <= day < until.isoformat():
            found += [(features(order, known), int(order["returned"] == "yes")) for order in shop.clean(rows)[0]]
    return found


def features(order: dict, known: dict[str, dict]) -> list[float]:
    product, region = order["product"], order["region"]
    return [
        1.0,
        (order["delivery_days"] - 3) / 2,
        float(product == "encore-grinder"),
        float(product == "fermata-mug"),
        float(product == "presto-cold-brew"),
        float(order["quantity"] > 1),
        float(order["channel"] == "phone"),
        float(known.get(order["customer_id"], {}).get("newsletter") == "yes"),
        float(region == "alps"),
        float(region == "islands"),
    ]


def predict(weights: list[float], x: list[float]) -> float:
    score = sum(map(float.__mul__, weights, x))
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, score))))


def train_epoch(weights: list[float], data: list[Example], epoch: int, rate: float, decay: float) -> list[float]:
    """One pass over the data. The order depends on the epoch alone, so a resumed training takes the very
    steps that an uninterrupted one would have taken."""
    order = list(range(len(data)))
    random.Random(epoch).shuffle(order)
    weights = list(weights)
    step = rate / (1 + 0.3 * epoch)
    for index in order:
        x, answer = data[index]
        error = predict(weights, x) - answer
        for i, value in enumerate(x):
            if value:
                weights[i] -= step * (error * value + decay * weights[i])
    return weights


def loss(weights: list[float], data: list[Example]) -> float:
    """Mean log loss: 0 is clairvoyance, 0.69 is a coin."""
    total = 0.0
    for x, answer in data:
        p = predict(weights, x)
        total -= math.log(p if answer else 1 - p)
    return total / max(1, len(data))


def auc(weights: list[float], data: list[Example]) -> float:
    """The chance that an order that came back is ranked above one that did not; equals count half."""
    scored = sorted((predict(weights, x), answer) for x, answer in data)
    wins, negatives_below, index = 0.0, 0, 0
    positives = sum(answer for _, answer in scored)
    while index < len(scored):
        end = index
        while end < len(scored) and scored[end][0] == scored[index][0]:
            end += 1
        answers = [answer for _, answer in scored[index:end]]
        came_back = sum(answers)
        wins += came_back * (negatives_below + (len(answers) - came_back) / 2)
        negatives_below += len(answers) - came_back
        index = end
    negatives = len(scored) - positives
    return wins / (positives * negatives) if positives and negatives else 0.5
