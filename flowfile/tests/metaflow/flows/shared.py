"""Values that several flows use."""

CRON = "0 6 * * MON-FRI"
TIMES = 2
VARS = {"STAGE": "test", "LEVEL": "3"}
NAMES = ["first", "second"]
