"""What the client installs and what the daemon gives its tasks may both be there: neither may hinder the other."""

import json
import os
import shutil
import unittest

from support import EXTENSION, ClientTest


class Together(ClientTest):
    def setUp(self):
        super().setUp()
        extensions = EXTENSION / "metaflow_extensions"
        # As they are laid out when installed: the client with what it shares as files of its own …
        self.installed = self.folder / ".installed"
        shutil.copytree(extensions / "dalsegno", self.installed / "metaflow_extensions" / "dalsegno")
        # … and the folder that the daemon puts first on the path of its tasks.
        self.given = self.folder / ".given"
        shutil.copytree(extensions / "dalsegno_task", self.given / "metaflow_extensions" / "dalsegno_task")

    def test_the_client_works_alone(self):
        out, err = self.ok("demo.py", "dalsegno", "create", "--only-json", env={"PYTHONPATH": str(self.installed)})

        self.assertEqual(json.loads(out)["dump"]["flow"], "DemoFlow")
        self.assertNotIn("WARNING", err)

    def test_both_work_side_by_side(self):
        both = {"PYTHONPATH": os.pathsep.join([str(self.given), str(self.installed)])}

        out, err = self.ok("demo.py", "dalsegno", "create", "--only-json", env=both)
        _, task_err = self.ok("demo.py", "dalsegno-task", "dump", "--out", "dump.json", env=both)

        by_task = json.loads((self.folder / "dump.json").read_text())
        self.assertEqual(json.loads(out)["dump"], by_task)
        self.assertNotIn("WARNING", err + task_err)


if __name__ == "__main__":
    unittest.main()
