"""The steps of regional_report.yaml: how each region did, told in one page and one picture."""

import csv
import json
from collections import Counter
from datetime import date

import charts
import shop
import task

WINDOW_DAYS = 14


def extract() -> None:
    """Finds the newest day and the regions that ordered anything: one task will be made for each of them."""
    latest = task.results() / "orders" / "latest.json"
    if not latest.exists():
        raise SystemExit("no orders yet: start `dalsegno run ingest_orders --wait` first")
    day = json.loads(latest.read_text())["day"]
    regions = sorted({order["region"] for orders in two_weeks(day).values() for order in orders})
    print(f"two weeks up to {day}: {', '.join(regions)}")
    task.output(day=day, regions=regions)


def region_stats() -> None:
    """The figures of one region. A foreach task finds its own item in $ITEM."""
    region = task.param("ITEM")
    daily, parcels, late, returned = [], 0, 0, 0
    products: Counter[str] = Counter()
    for orders in two_weeks(task.param("DAY")).values():
        ours = [order for order in orders if order["region"] == region]
        daily.append(round(sum(revenue(order) for order in ours), 2))
        parcels += len(ours)
        late += sum(int(order["delivery_days"]) > 4 for order in ours)
        returned += sum(order["returned"] == "yes" for order in ours)
        for order in ours:
            products[order["product"]] += int(order["quantity"])
    before, now = sum(daily[:-7]), sum(daily[-7:])
    favourite = products.most_common(1)[0][0] if products else "nothing"
    print(f"{region}: {now:,.2f} in seven days, favourite: {favourite}")
    task.output(
        stats={
            "region": region,
            "daily": daily,
            "week": round(now, 2),
            "week_before": round(before, 2),
            "change": round(now / before - 1, 4) if before else 0.0,
            "orders": parcels,
            "late": round(late / max(1, parcels), 4),
            "returned": round(returned / max(1, parcels), 4),
            "favourite": favourite,
        }
    )


def chart() -> None:
    """Draws the picture. It gets the figures of all regions at once, in the order of the foreach."""
    day = task.param("DAY")
    stats = task.value_of("STATS")
    days = shop.window(date.fromisoformat(day), WINDOW_DAYS)
    task.write(task.results() / "report" / f"{day}.svg", charts.regions(stats, days))
    print(f"drew {len(stats)} regions")


def write() -> None:
    """The join: one page from the figures of all regions."""
    day = task.param("DAY")
    stats = task.value_of("STATS")
    week = sum(entry["week"] for entry in stats)
    before = sum(entry["week_before"] for entry in stats)
    change = week / before - 1 if before else 0.0
    best = max(stats, key=lambda entry: entry["change"])
    worst = min(stats, key=lambda entry: entry["change"])
    lines = [
        f"# Coda Coffee, the week up to {date.fromisoformat(day):%d %B %Y}",
        "",
        f"**{week:,.0f} €** in seven days, {shop.signed(change)} against the week before. "
        f"The tempo is up most in *{best['region']}* ({shop.signed(best['change'])}) and weakest in *{worst['region']}* ({shop.signed(worst['change'])}).",
        "",
        f"![Revenue by region]({day}.svg)",
        "",
        "| region | week | change | late parcels | sent back | favourite |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for entry in sorted(stats, key=lambda entry: -entry["week"]):
        lines.append(
            f"| {entry['region']} | {entry['week']:,.2f} € | {shop.signed(entry['change'])} | {entry['late']:.0%} "
            f"| {entry['returned']:.0%} | {entry['favourite']} |"
        )
    folder = task.results() / "report"
    task.write(folder / f"{day}.md", "\n".join(lines) + "\n")
    summary = {"day": day, "week": round(week, 2), "change": round(change, 4), "regions": stats}
    task.write(folder / "latest.json", json.dumps(summary, indent=1))
    print(f"wrote {folder / day}.md: {week:,.0f} €, {shop.signed(change)}")
    task.output(week=round(week, 2), change=round(change, 4))


def two_weeks(day: str) -> dict[date, list[dict]]:
    """The clean orders of the window by day. A day that was not ingested is empty, not an error."""
    days: dict[date, list[dict]] = {}
    for each in shop.window(date.fromisoformat(day), WINDOW_DAYS):
        path = task.results() / "orders" / f"{each}.csv"
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                days[each] = list(csv.DictReader(file))
        else:
            days[each] = []
    return days


def revenue(order: dict) -> float:
    return int(order["quantity"]) * float(order["unit_price"])


if __name__ == "__main__":
    task.run_steps(extract=extract, region_stats=region_stats, chart=chart, write=write)
