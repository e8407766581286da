"""The steps of morning_brief.yaml: three sentences for the person who opens the shop."""

import json
from datetime import date

import shop
import task


def gather() -> None:
    """Collects what the other flows found out, and says how far the most troubled region has fallen."""
    orders = read("orders")
    report = read("report")
    worst = min(report["regions"], key=lambda entry: entry["change"])
    drop = max(0.0, -worst["change"])
    fall = f"{worst['region']} fell most, by {drop:.1%}" if drop else "no region fell"
    print(f"report of {report['day']}: {fall}")
    task.output(report=report, orders=orders, worst=worst["region"], drop=float(drop))


def write() -> None:
    report, orders = task.value_of("REPORT"), task.value_of("ORDERS")
    regions = report["regions"]
    leader = max(regions, key=lambda entry: entry["week"])
    latest = max(regions, key=lambda entry: entry["late"])
    lines = [
        f"# Good morning, {task.param('READER', 'everyone')}",
        "",
        f"*{date.fromisoformat(report['day']):%A, %d %B %Y}*",
        "",
        f"* We took **{report['week']:,.0f} €** in seven days, {shop.signed(report['change'])} against the week before; "
        f"the {leader['region']} region plays first violin with {leader['week']:,.0f} €.",
        f"* {orders['accepted']} orders came in on {orders['day']}, and {orders['rejected'] or 'none'} had to be refused.",
        f"* Parcels are slowest in the {latest['region']} region: {latest['late']:.0%} took more than four days.",
        "",
        f"The whole picture: [report of {report['day']}](../report/{report['day']}.md)",
    ]
    target = task.results() / "brief" / f"{report['day']}.md"
    task.write(target, "\n".join(lines) + "\n")
    print("\n".join(lines))


def ring() -> None:
    """Runs only when a region has fallen by more than the flow's parameter allows."""
    report, worst = task.value_of("REPORT"), task.param("WORST")
    entry = next(entry for entry in report["regions"] if entry["region"] == worst)
    note = (
        f"# Please look at {worst}\n\n"
        f"Revenue fell from {entry['week_before']:,.0f} € to {entry['week']:,.0f} € in a week ({shop.signed(entry['change'])}). "
        f"{entry['late']:.0%} of its parcels were late, {entry['returned']:.0%} of its orders came back.\n"
    )
    task.write(task.results() / "brief" / f"{report['day']}-attention.md", note)
    print(note)


def read(folder: str) -> dict:
    path = task.results() / folder / "latest.json"
    if not path.exists():
        raise SystemExit(f"{path} is missing: start ingest_orders and regional_report first")
    return json.loads(path.read_text())


if __name__ == "__main__":
    task.run_steps(gather=gather, write=write, ring=ring)
