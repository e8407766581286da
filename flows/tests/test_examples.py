"""Tests of the example scripts, without the daemon:   python3 -m unittest discover -s flows/tests"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

FLOWS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(FLOWS / "lib"))

import charts  # noqa: E402
import shop  # noqa: E402


class Step(unittest.TestCase):
    """Runs steps as the daemon does: a shell-free command with an environment, in the folder of the flows."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "checkpoint").mkdir()

    def environment(self, **env: str) -> dict[str, str]:
        given = {
            "PATH": os.environ["PATH"],
            "RESULTS": str(self.folder / "results"),
            "DALSEGNO_OUTPUT": str(self.folder / "output"),
            "DALSEGNO_CHECKPOINT_DIR": str(self.folder / "checkpoint"),
        }
        return given | env

    def step(self, script: str, name: str, **env: str) -> tuple[subprocess.CompletedProcess, dict]:
        output = self.folder / "output"
        output.write_text("")
        done = subprocess.run(
            [sys.executable, f"lib/{script}.py", name], cwd=FLOWS, env=self.environment(**env), capture_output=True, text=True, timeout=60
        )
        lines = (line.split("=", 1) for line in output.read_text().splitlines())
        return done, {key: json.loads(value) for key, value in lines}

    def test_a_repeated_ingest_writes_the_same_bytes(self) -> None:
        days = self.folder / "results" / "orders"
        _, first = self.step("ingest", "clean", TODAY="2026-02-14", LOOK_BACK="14")
        before = {path.name: path.read_bytes() for path in days.iterdir()}
        _, second = self.step("ingest", "clean", TODAY="2026-02-14", LOOK_BACK="14")
        self.assertEqual(first, second)
        self.assertEqual(before, {path.name: path.read_bytes() for path in days.iterdir()})
        self.assertEqual(len(before), 15)  # fourteen days and latest.json

    def test_overlapping_ingests_leave_whole_files_and_no_drafts(self) -> None:
        command = [sys.executable, "lib/ingest.py", "clean"]
        env = self.environment(TODAY="2026-03-01")
        runs = [subprocess.Popen(command, cwd=FLOWS, env=env, stdout=subprocess.DEVNULL) for _ in range(6)]
        self.assertEqual([run.wait(60) for run in runs], [0] * 6)
        names = sorted(path.name for path in (self.folder / "results" / "orders").iterdir())
        self.assertEqual(names, [f"{day}.csv" for day in shop.window(date(2026, 3, 1), 14)] + ["latest.json"])

    def test_the_same_interval_is_the_same_day_whenever_the_step_runs(self) -> None:
        interval = "2026-11-22T12:20:00Z"
        picked = [self.step("ingest", "pick_day", DALSEGNO_INTERVAL_START=interval)[1]["day"] for _ in range(2)]
        self.assertEqual(picked, ["2026-03-24"] * 2)

    def test_a_day_outside_the_export_is_refused_with_a_sentence(self) -> None:
        for day, words in (("2027-01-01", "covers 2026-01-01 to 2026-03-31"), ("soon", "expected a day such as")):
            done, _ = self.step("ingest", "pick_day", DAY=day)
            self.assertEqual(done.returncode, 1)
            self.assertIn(words, done.stderr)
            self.assertNotIn("Traceback", done.stderr)

    def test_a_training_that_was_cut_off_ends_as_if_it_had_not_been(self) -> None:
        days = {"FIRST": "2026-01-01", "CUT": "2026-01-11", "EPOCHS": "6"}
        done, _ = self.step("train", "train", DALSEGNO_ATTEMPT="1", **days)
        self.assertEqual(done.returncode, 1)
        self.assertIn("the lights went out before epoch 4", done.stderr)
        done, resumed = self.step("train", "train", DALSEGNO_ATTEMPT="2", **days)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("going on after epoch 3 of 6", done.stdout)
        self.assertEqual(resumed.pop("resumed_at"), [3])

        (self.folder / "checkpoint" / "state.json").unlink()
        _, uninterrupted = self.step("train", "train", DALSEGNO_ATTEMPT="1", POWER_CUT="false", **days)
        self.assertEqual(uninterrupted.pop("resumed_at"), [])
        self.assertEqual(resumed, uninterrupted)

    def test_a_report_without_orders_says_what_to_start_first(self) -> None:
        done, _ = self.step("report", "extract")
        self.assertEqual(done.returncode, 1)
        self.assertIn("dalsegno run ingest_orders", done.stderr)


class Books(unittest.TestCase):
    def test_every_minute_is_a_day_with_two_weeks_of_history(self) -> None:
        start = datetime(2026, 11, 22, tzinfo=timezone.utc)
        days = {shop.day_at(start + timedelta(minutes=minute)) for minute in range(77)}
        self.assertEqual((min(days), max(days), len(days)), (date(2026, 1, 14), date(2026, 3, 31), 77))
        self.assertTrue(all(len(shop.window(day, 14)) == 14 for day in days))

    def test_dirty_rows_are_repaired_or_refused_with_a_reason(self) -> None:
        good, bad = shop.clean([row for rows in shop.raw_orders().values() for row in rows])
        self.assertTrue(all(order["region"] in shop.REGIONS and order["unit_price"] > 0 for order in good))
        self.assertEqual(len({order["order_id"] for order in good}), len(good))
        reasons = {reason.split()[0] for _, reason in bad}
        self.assertEqual(reasons, {"quantity", "no", "unknown", "price", "the"})

    def test_every_picture_is_well_formed(self) -> None:
        stats = [{"region": "a & b", "daily": [1.0, 2.0], "week": 3.0, "change": -0.5}]
        for picture in (
            charts.regions(stats, [date(2026, 1, 2), date(2026, 1, 3)]),
            charts.heatmap("grid", ["x"], ["y"], {("y", "x"): 0.7}),
            charts.curve("loss", [0.5, 0.4, 0.3], [1]),
        ):
            self.assertTrue(xml.fromstring(picture).tag.endswith("svg"))


if __name__ == "__main__":
    unittest.main()
