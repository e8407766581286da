"""The steps of train_model.yaml: a training that loses its power half way and goes on from its checkpoint."""

import json
import os
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import charts
import model
import shop
import task

TRAIN_DAYS, TEST_DAYS = 45, 20


def split() -> None:
    """Chooses the days to learn from and the days to be examined on. The test days always come later."""
    room = (shop.LAST_DAY - shop.FIRST_DAY).days + 1 - TRAIN_DAYS - TEST_DAYS
    first = shop.FIRST_DAY + timedelta(days=int(task.interval_start().timestamp()) // 60 % (room + 1))
    cut = first + timedelta(days=TRAIN_DAYS)
    end = cut + timedelta(days=TEST_DAYS)
    print(f"learning from {first} up to {cut}, examined on the days up to {end}")
    task.output(first=first.isoformat(), cut=cut.isoformat(), end=end.isoformat())


def train() -> None:
    """Trains epoch by epoch and saves after each. Every attempt of a task is given the same checkpoint
    folder, so what an attempt saved is there for the next one."""
    epochs = int(task.param("EPOCHS", "12"))
    attempt = int(task.param("DALSEGNO_ATTEMPT", "1"))
    checkpoint = Path(os.environ["DALSEGNO_CHECKPOINT_DIR"]) / "state.json"
    data = model.examples(date.fromisoformat(task.param("FIRST")), date.fromisoformat(task.param("CUT")))

    if checkpoint.exists():
        state = json.loads(checkpoint.read_text())
        print(f"attempt {attempt}: found a checkpoint, going on after epoch {len(state['losses'])} of {epochs}")
        state["resumed_at"].append(len(state["losses"]))
    else:
        state = {"weights": [0.0] * len(model.FEATURES), "losses": [], "resumed_at": []}
        print(f"attempt {attempt}: no checkpoint, starting at the head with {len(data)} orders")

    power_cut = task.param("POWER_CUT", "true") == "true" and attempt == 1
    for epoch in range(len(state["losses"]), epochs):
        if power_cut and epoch == epochs // 2:
            sys.exit(f"attempt {attempt}: the lights went out before epoch {epoch + 1}. The checkpoint holds {epoch} epochs.")
        state["weights"] = model.train_epoch(state["weights"], data, epoch, rate=0.008, decay=0.0005)
        state["losses"].append(round(model.loss(state["weights"], data), 6))
        task.write(checkpoint, json.dumps(state))
        print(f"epoch {epoch + 1:2} of {epochs}: loss {state['losses'][-1]:.4f}", flush=True)
        time.sleep(float(task.param("REST", "0")))  # slow enough to be watched

    task.output(weights=state["weights"], losses=state["losses"], resumed_at=state["resumed_at"])


def evaluate() -> None:
    """Examines the model on days that it has never seen."""
    weights = task.value_of("WEIGHTS")
    unseen = model.examples(date.fromisoformat(task.param("CUT")), date.fromisoformat(task.param("END")))
    auc = round(model.auc(weights, unseen), 4)
    print(f"on {len(unseen)} unseen orders: AUC {auc:.3f} (0.5 is a coin), loss {model.loss(weights, unseen):.3f}")
    task.output(auc=auc, unseen=len(unseen))


def draw() -> None:
    """The loss, epoch by epoch, with a mark where the training was taken up again."""
    losses, resumed_at = task.value_of("LOSSES"), task.value_of("RESUMED_AT")
    marks = [epoch - 1 for epoch in resumed_at if epoch > 0]
    task.write(task.results() / "model" / "loss.svg", charts.curve("Loss by epoch", losses, marks))
    print(f"drew {len(losses)} epochs; interruptions: {len(marks)}")


def publish() -> None:
    """Writes the model for the shop to use, and a card that says what it is worth."""
    weights = task.value_of("WEIGHTS")
    named = dict(zip(model.FEATURES, (round(weight, 3) for weight in weights), strict=True))
    folder = task.results() / "model"
    task.write(folder / "model.json", json.dumps({"weights": named, "auc": float(task.param("AUC"))}, indent=1) + "\n")
    lines = [
        "# Which orders come back?",
        "",
        f"Learned from the orders of {task.param('FIRST')} up to {task.param('CUT')}; AUC **{float(task.param('AUC')):.3f}** on the {TEST_DAYS} days after.",
        "",
        "![Loss by epoch](loss.svg)",
        "",
        "| what the order looks like | pushes towards a return |",
        "|---|--:|",
    ]
    lines += [f"| {name} | {weight:+.2f} |" for name, weight in sorted(named.items(), key=lambda pair: -pair[1]) if name != "bias"]
    task.write(folder / "card.md", "\n".join(lines) + "\n")
    print(f"published {folder / 'model.json'}")


if __name__ == "__main__":
    task.run_steps(split=split, train=train, evaluate=evaluate, draw=draw, publish=publish)
