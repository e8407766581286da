"""The books of Coda Coffee: reading the export, telling good orders from bad ones, and the shop's own calendar."""

import csv
from collections import defaultdict
from datetime import date, datetime, timedelta
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"
FIRST_DAY = date(2026, 1, 1)
LAST_DAY = date(2026, 3, 31)
REGIONS = ("alps", "capital", "coast", "islands", "north")
PRODUCTS = (
    "allegro-espresso",
    "andante-filter",
    "largo-decaf",
    "presto-cold-brew",
    "fermata-mug",
    "encore-grinder",
)
# The first two weeks are history, so that every report has fourteen days to look back on.
HISTORY_DAYS = 13


def day_at(moment: datetime) -> date:
    """The day of the shop that is played in this minute: one minute is one day, and after the last day it
    starts again from the sign."""
    minute = int(moment.timestamp()) // 60
    first = FIRST_DAY + timedelta(days=HISTORY_DAYS)
    return first + timedelta(days=minute % ((LAST_DAY - first).days + 1))


def window(last: date, days: int) -> list[date]:
    """The `days` days that end with `last`, oldest first, as far as the shop's books go back."""
    all_days = (last - timedelta(days=back) for back in range(days - 1, -1, -1))
    return [day for day in all_days if day >= FIRST_DAY]


def raw_orders() -> dict[str, list[dict]]:
    """The export as it came, dirty rows and all, by the day on which it was received."""
    by_day: dict[str, list[dict]] = defaultdict(list)
    with (DATA / "orders.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            by_day[row["received_on"]].append(row)
    return by_day


def customers() -> dict[str, dict]:
    with (DATA / "customers.csv").open(newline="", encoding="utf-8") as file:
        return {row["customer_id"]: row for row in csv.DictReader(file)}


def clean(rows: list[dict]) -> tuple[list[dict], list[tuple[dict, str]]]:
    """Repairs what can be repaired and sorts out the rest, each with the reason why it was refused."""
    good: list[dict] = []
    bad: list[tuple[dict, str]] = []
    seen: set[str] = set()
    for row in rows:
        try:
            order = checked(row)
            if order["order_id"] in seen:
                raise ValueError("the same order twice")
        except ValueError as reason:
            bad.append((row, str(reason)))
            continue
        seen.add(order["order_id"])
        good.append(order)
    return good, bad


def checked(row: dict) -> dict:
    """One order with proper types. Raises ValueError with a sentence a person can act on."""
    region = row["region"].strip().lower()
    if region not in REGIONS:
        raise ValueError(f"unknown region {row['region']!r}")
    product = row["product"].strip().lower().replace(" ", "-")
    if product not in PRODUCTS:
        raise ValueError(f"unknown product {row['product']!r}")
    quantity = row["quantity"]
    if not quantity.isdigit() or int(quantity) == 0:
        raise ValueError(f"quantity is {quantity!r}, not a count")
    try:
        price = float(row["unit_price"].replace(",", "."))
    except ValueError:
        raise ValueError(f"price is {row['unit_price']!r}, not a number") from None
    if price <= 0:
        raise ValueError("price is zero")
    try:
        datetime.fromisoformat(row["placed_at"])
    except ValueError:
        raise ValueError(f"no such time: {row['placed_at']!r}") from None
    return {
        **row,
        "region": region,
        "product": product,
        "quantity": int(quantity),
        "unit_price": price,
        "delivery_days": int(row["delivery_days"]),
    }


def signed(change: float) -> str:
    """A change in percent with its sign, and never a "-0.0%"."""
    return f"{round(change, 3) + 0.0:+.1%}"
