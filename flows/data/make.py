"""Makes the data of Coda Coffee, a coffee roaster that exists only here.

    python3 data/make.py

writes `orders.csv` and `customers.csv` beside this file. The seed is fixed, so every run writes the same
bytes. The numbers are invented and free for any use (CC0).

What is hidden in the orders, for the flows to find:
  * weekends are busy, business grows slowly, and Valentine's Day is a feast;
  * from 9 to 15 February snow closes the roads of the Alps: fewer orders, late parcels;
  * late parcels and grinders come back more often; regulars with the newsletter send less back;
  * about one row in forty is dirty, as in any export: typos, doubles, impossible dates and numbers.
"""

import csv
import math
import random
from datetime import date, datetime, time, timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIRST_DAY = date(2026, 1, 1)
DAYS = 90

# Region: orders a day, days a parcel usually needs.
REGIONS = {
    "alps": (10, 3.0),
    "capital": (18, 1.5),
    "coast": (13, 2.2),
    "islands": (6, 4.5),
    "north": (11, 2.6),
}

# Product: price, share of the orders, how much more (or less) often it is sent back.
PRODUCTS = {
    "allegro-espresso": (12.50, 30, -0.6),
    "andante-filter": (11.00, 26, -0.5),
    "largo-decaf": (10.50, 14, 0.0),
    "presto-cold-brew": (14.00, 12, 0.2),
    "fermata-mug": (9.00, 12, 0.7),
    "encore-grinder": (64.00, 6, 1.7),
}

CHANNELS = {"web": 50, "app": 35, "phone": 15}

FIRST_NAMES = (
    "Ada Ben Clara Dario Elif Farid Greta Hugo Ines Jonas Kaya Leo Mara Nils Olga Paul Rosa Sami Tessa Udo Vera Yara"
).split()
LAST_NAMES = (
    "Adler Bauer Costa Demir Engel Fischer Garcia Huber Ivanov Jansen Keller Lange Moreau Novak Okafor Petit Rossi Stein"
).split()


def main() -> None:
    rng = random.Random(1842)
    customers = make_customers(rng)
    write("customers.csv", customers)
    write("orders.csv", spoil(rng, make_orders(rng, customers)))


def make_customers(rng: random.Random) -> list[dict]:
    rows = []
    for number in range(1, 641):
        region = pick(rng, {name: orders for name, (orders, _) in REGIONS.items()})
        joined = date(2023, 1, 1) + timedelta(days=rng.randrange(1080))
        rows.append(
            {
                "customer_id": f"C-{number:04}",
                "name": f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}",
                "region": region,
                "joined": joined.isoformat(),
                "newsletter": "yes" if rng.random() < 0.45 else "no",
            }
        )
    return rows


def make_orders(rng: random.Random, customers: list[dict]) -> list[dict]:
    at_home: dict[str, list[dict]] = {name: [] for name in REGIONS}
    for customer in customers:
        at_home[customer["region"]].append(customer)

    rows = []
    for offset in range(DAYS):
        day = FIRST_DAY + timedelta(days=offset)
        of_the_day = []
        for region, (per_day, usual_days) in REGIONS.items():
            snowed_in = region == "alps" and date(2026, 2, 9) <= day <= date(2026, 2, 15)
            expected = per_day * (1 + 0.25 * offset / DAYS) * (1.35 if day.weekday() >= 5 else 0.92)
            if day == date(2026, 2, 14):
                expected *= 1.7
            if snowed_in:
                expected *= 0.35
            for _ in range(poisson(rng, expected)):
                customer = rng.choice(at_home[region])
                of_the_day.append(order(rng, day, region, usual_days + 4.0 * snowed_in, customer))
        rows += sorted(of_the_day, key=lambda row: row["placed_at"])
    for number, row in enumerate(rows, start=1):
        row["order_id"] = f"O-{number:05}"
    return rows


def order(rng: random.Random, day: date, region: str, usual_days: float, customer: dict) -> dict:
    product = pick(rng, {name: share for name, (_, share, _) in PRODUCTS.items()})
    price, _, dislike = PRODUCTS[product]
    quantity = 1 if product == "encore-grinder" else pick(rng, {1: 50, 2: 30, 3: 13, 6: 7})
    channel = pick(rng, CHANNELS)
    delivery_days = max(1, round(rng.gauss(usual_days, 1.3)))
    # Breakfast and the evening are the hours in which people notice that the tin is empty.
    hour = rng.gauss(*(rng.choice([(8.5, 1.5), (13, 3), (20, 1.8)])))
    minutes = min(1439, max(0, round(hour * 60)))
    score = -2.1 + dislike + 0.42 * (delivery_days - 2) + 0.5 * (channel == "phone") - 0.7 * (customer["newsletter"] == "yes")
    return {
        "order_id": "",
        "received_on": day.isoformat(),
        "placed_at": datetime.combine(day, time(minutes // 60, minutes % 60)).isoformat(timespec="minutes"),
        "customer_id": customer["customer_id"],
        "region": region,
        "product": product,
        "quantity": quantity,
        "unit_price": f"{price:.2f}",
        "channel": channel,
        "delivery_days": delivery_days,
        "returned": "yes" if rng.random() < 1 / (1 + math.exp(-score)) else "no",
    }


def spoil(rng: random.Random, rows: list[dict]) -> list[dict]:
    """Dirties some rows: half of the faults can be repaired, half cannot."""
    spoiled = []
    for row in rows:
        spoiled.append(row)
        if rng.random() >= 0.025:
            continue
        fault = rng.randrange(8)
        if fault == 0:
            row["region"] = f" {row['region'].upper()} "  # repairable
        elif fault == 1:
            row["unit_price"] = row["unit_price"].replace(".", ",")  # repairable
        elif fault == 2:
            row["product"] = row["product"].replace("-", " ").title()  # repairable
        elif fault == 3:
            spoiled.append(dict(row))  # the same order twice
        elif fault == 4:
            row["quantity"] = rng.choice(["", "-1", "two"])
        elif fault == 5:
            row["placed_at"] = "2026-02-30T25:61"
        elif fault == 6:
            row["region"] = rng.choice(["atlantis", "nrth", "?"])
        else:
            row["unit_price"] = rng.choice(["", "free", "0.00"])
    return spoiled


def poisson(rng: random.Random, mean: float) -> int:
    """How often something happens that happens `mean` times on average (Knuth's method)."""
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def pick(rng: random.Random, weights: dict):
    return rng.choices(list(weights), weights=list(weights.values()))[0]


def write(name: str, rows: list[dict]) -> None:
    with (HERE / name).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    print(f"{name}: {len(rows)} rows, {(HERE / name).stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
