"""Has the name of a module that Metaflow imports, and is enough for it."""
import importlib.util
import os
import sysconfig

_spec = importlib.util.spec_from_file_location("_real_queue", os.path.join(sysconfig.get_path("stdlib"), "queue.py"))
_real = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_real)
globals().update({name: value for name, value in vars(_real).items() if not name.startswith("__")})
MINE = "the user's own"
