"""DBOS Transact (Python library, no server). Usage: dbos_bench.py [sqlite|postgres]. Re-runs itself in the DBOS venv."""
import os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from common import PEERS, REPS, emit, fresh_database, usage
db = sys.argv[1] if len(sys.argv) > 1 else "sqlite"
py = f"{PEERS}/dbos/bin/python"
if sys.prefix != f"{PEERS}/dbos":
    os.execv(py, [py, os.path.abspath(__file__), db])
import importlib.metadata, shutil, subprocess, time
from dbos import DBOS

home, peer = f"{PEERS}/run/dbos", f"dbos-{db}"
shutil.rmtree(home, ignore_errors=True); os.makedirs(home)
url = f"sqlite:///{home}/sys.db" if db == "sqlite" else fresh_database("dbos_bench")
DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR", "run_admin_server": False})
info = dict(version=importlib.metadata.version("dbos"))


@DBOS.step()
def step(ex):
    if ex: subprocess.run(["/bin/true"], check=True)
    return time.time()


@DBOS.workflow()
def chain(n, ex):
    r = [step(ex) for _ in range(n)]
    return r[0]


@DBOS.workflow()
def fan(n, ex):
    hs = [DBOS.enqueue_workflow("q", one, ex) for _ in range(n)]
    for h in hs: h.get_result()


@DBOS.workflow()
def fan_direct(n, ex):
    hs = [DBOS.start_workflow(one, ex) for _ in range(n)]
    for h in hs: h.get_result(polling_interval_sec=0.01)


@DBOS.workflow()
def one(ex):
    return step(ex)


t0 = time.time(); DBOS.launch(); DBOS.register_queue("q", worker_concurrency=10); emit(peer, "start_to_ready", [time.time() - t0], "s", **info)
if db == "sqlite":
    import sqlite3
    c = sqlite3.connect(f"{home}/sys.db"); print("# journal_mode", c.execute("pragma journal_mode").fetchone(), file=sys.stderr)
time.sleep(3)
n, rss, pss, c0 = usage([os.getpid()]); time.sleep(5); c1 = usage([os.getpid()])[3]
emit(peer, "idle_rss", [rss], "MiB", processes=n, note="the Python process embedding it", **info); emit(peer, "idle_cpu", [20 * (c1 - c0)], "% of one core", **info)


def run(f, *a):
    t = time.time(); h = DBOS.start_workflow(f, *a); r = h.get_result(polling_interval_sec=0.01); return time.time() - t, r, t


run(one, False)
r = [run(one, False) for _ in range(20)]
emit(peer, "trigger_to_start", [x[1] - x[2] for x in r], "s", body="no-op Python", **info); emit(peer, "one_task_run", [x[0] for x in r], "s", body="no-op Python", **info)
for ex, b in ((False, "no-op Python"), (True, "spawn /bin/true from Python")):
    s = "_exec_true" if ex else ""
    for fig, f, n in (("chain40", chain, 40), ("fan100", fan, 100), ("fan100_unbounded", fan_direct, 100)):
        w = [run(f, n, ex)[0] for _ in range(REPS)]
        emit(peer, f"{fig}_wall{s}", w, "s", body=b, **info, **({"note": "durable queue, worker_concurrency 10, default 1 s polling"} if f is fan else {})); emit(peer, f"{fig}_per_task{s}", [1000 * x / n for x in w], "ms", body=b, **info)
rate = []
for _ in range(REPS):
    t = time.time(); hs = [DBOS.start_workflow(one, False) for _ in range(100)]
    for h in hs: h.get_result()
    rate.append(6000 / (time.time() - t))
emit(peer, "one_task_runs_per_minute", rate, "1/min", burst=100, **info)
DBOS.destroy()
