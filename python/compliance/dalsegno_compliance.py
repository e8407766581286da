"""A plug-in for pytest: tests that Metaflow passes over because other schedulers cannot do them are run, too."""

import os

# What Dalsegno is expected to do: timeouts that strike, and foreach in foreach in foreach.
EXPECTED = ("test_timeout_enforcement", "test_timeout_minutes_enforced", "test_nested_foreach_3level")


def pytest_collection_modifyitems(items):
    if not os.environ.get("DALSEGNO_COMPLIANCE_ALL"):
        return
    for item in items:
        if getattr(item, "originalname", None) in EXPECTED:
            item.own_markers = [it for it in item.own_markers if it.name != "skip"]
