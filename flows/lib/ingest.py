"""The steps of ingest_orders.yaml: from the shop's dirty export to one clean file per day."""

import csv
import io
import json
from collections import Counter
from datetime import date

import shop
import task


def pick_day() -> None:
    """Which day is it at the shop? Either the one asked for, or the one this run's interval stands for."""
    asked = task.param("DAY", "auto")
    if asked == "auto":
        day = shop.day_at(task.interval_start())
    else:
        try:
            day = date.fromisoformat(asked)
        except ValueError:
            raise SystemExit(f"`day` is {asked!r}; expected a day such as 2026-02-14, or auto") from None
        if not shop.FIRST_DAY <= day <= shop.LAST_DAY:
            raise SystemExit(f"no orders for {day}: the export covers {shop.FIRST_DAY} to {shop.LAST_DAY}")
    print(f"today is {day:%A, %d %B %Y} at Coda Coffee")
    task.output(day=day.isoformat())


def clean() -> None:
    """Writes the day, and any day of the look-back window that is still missing."""
    today = date.fromisoformat(task.param("TODAY"))
    raw = shop.raw_orders()
    folder = task.results() / "orders"
    rejected: list[dict] = []
    accepted = 0
    for day in shop.window(today, int(task.param("LOOK_BACK", "14"))):
        target = folder / f"{day}.csv"
        if day != today and target.exists():
            continue
        good, bad = shop.clean(raw.get(day.isoformat(), []))
        task.write(target, as_csv(good))
        print(f"{day}: {len(good):3} orders taken, {len(bad)} refused")
        if day == today:
            accepted = len(good)
            rejected = [{"row": row, "reason": reason} for row, reason in bad]
    # The report looks here for the newest day.
    task.write(folder / "latest.json", json.dumps({"day": today.isoformat(), "accepted": accepted, "rejected": len(rejected)}))
    task.output(accepted=accepted, rejected=len(rejected), refused=rejected)


def quarantine() -> None:
    """A page for the person who can repair the source: which rows were refused, and why."""
    day = task.param("TODAY")
    refused = task.value_of("REFUSED")
    lines = [f"# Orders of {day} that need a human", ""]
    lines += [f"* **{count}×** {reason}" for reason, count in Counter(entry["reason"] for entry in refused).most_common()]
    lines += ["", "| order | customer | region | product | quantity | price |", "|---|---|---|---|---|---|"]
    for entry in refused:
        row = entry["row"]
        cells = (row[name] for name in ("order_id", "customer_id", "region", "product", "quantity", "unit_price"))
        lines.append("| " + " | ".join(str(cell).strip() or "—" for cell in cells) + " |")
    target = task.results() / "rejected" / f"{day}.md"
    task.write(target, "\n".join(lines) + "\n")
    print(f"for a human to look at: {target} (rows refused: {len(refused)})")


def as_csv(orders: list[dict]) -> str:
    text = io.StringIO()
    names = ["order_id", "placed_at", "customer_id", "region", "product", "quantity", "unit_price", "channel", "delivery_days", "returned"]
    table = csv.DictWriter(text, fieldnames=names, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(orders)
    return text.getvalue()


if __name__ == "__main__":
    task.run_steps(pick_day=pick_day, clean=clean, quarantine=quarantine)
