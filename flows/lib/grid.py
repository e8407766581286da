"""The steps of nested_grid.yaml: which learning rate and which decay suit the model best?"""

import json
from datetime import date

import charts
import model
import task

SPLIT = (date(2026, 1, 1), date(2026, 2, 15), date(2026, 3, 7))


def warm_up() -> None:
    """Once per learning rate: a first epoch without decay, from which every decay goes on."""
    rate = float(task.param("ITEM"))
    data = model.examples(SPLIT[0], SPLIT[1])
    weights = model.train_epoch([0.0] * len(model.FEATURES), data, 0, rate, decay=0.0)
    print(f"rate {rate:g}: loss {model.loss(weights, data):.4f} after the first epoch")
    task.output(weights=weights)


def fit() -> None:
    """Once per learning rate and decay. $ITEM is the inner item, $ITEMS holds all of them, outermost first."""
    rate, decay = (float(item) for item in task.value_of("ITEMS"))
    weights = task.value_of("WEIGHTS")
    data = model.examples(SPLIT[0], SPLIT[1])
    for epoch in range(1, int(task.param("EPOCHS", "3"))):
        weights = model.train_epoch(weights, data, epoch, rate, decay)
    auc = round(model.auc(weights, model.examples(SPLIT[1], SPLIT[2])), 4)
    print(f"rate {rate:g}, decay {decay:g}: AUC {auc:.4f}")
    task.output(score={"rate": rate, "decay": decay, "auc": auc})


def best() -> None:
    """Once per learning rate: the join of the inner foreach keeps the scores of one row of the grid."""
    scores = task.value_of("SCORES")
    winner = max(scores, key=lambda score: score["auc"])
    print(f"rate {winner['rate']:g}: decay {winner['decay']:g} wins with {winner['auc']:.4f}")
    task.output(row=scores)


def podium() -> None:
    """The join of the whole block: one table of all scores."""
    scores = [score for row in task.value_of("ROWS") for score in row]
    folder = task.results() / "grid"
    cells = {(f"rate {score['rate']:g}", f"decay {score['decay']:g}"): score["auc"] for score in scores}
    down = list(dict.fromkeys(key[0] for key in cells))
    across = list(dict.fromkeys(key[1] for key in cells))
    task.write(folder / "grid.svg", charts.heatmap("AUC by learning rate and decay", across, down, cells))
    task.write(folder / "grid.json", json.dumps(scores, indent=1) + "\n")
    for place, score in enumerate(sorted(scores, key=lambda score: -score["auc"])[:3], start=1):
        print(f"{place}. rate {score['rate']:g}, decay {score['decay']:g}: AUC {score['auc']:.4f}")


if __name__ == "__main__":
    task.run_steps(warm_up=warm_up, fit=fit, best=best, podium=podium)
