"""Apache Airflow 3, LocalExecutor, BashOperator `true`. Usage: airflow_bench.py [postgres|sqlite] (pg.sh start first for postgres)."""
import datetime as dt, os, shutil, statistics, subprocess, sys, time
from common import PEERS, REPS, Procs, emit, free_port, fresh_database, http, idle, load, until, wait_http

db = sys.argv[1] if len(sys.argv) > 1 else "postgres"
peer = f"airflow-{db}"
bin_, home, port = f"{PEERS}/airflow/bin", f"{PEERS}/run/airflow-{db}", free_port()
shutil.rmtree(home, ignore_errors=True); os.makedirs(f"{home}/dags")
if db == "postgres":
    conn = fresh_database("airflow").replace("postgresql:", "postgresql+psycopg2:")
else:
    conn = f"sqlite:///{home}/airflow.db"
open(f"{home}/dags/bench.py", "w").write('''
from airflow.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator
import datetime
kw = dict(schedule=None, start_date=datetime.datetime(2024, 1, 1), catchup=False, is_paused_upon_creation=False)
with DAG("chain40", max_active_runs=1, **kw):
    prev = None
    for i in range(40):
        t = BashOperator(task_id=f"t{i:02}", bash_command="true")
        if prev: prev >> t
        prev = t
with DAG("fan100", max_active_tasks=10, **kw):
    for i in range(100): BashOperator(task_id=f"t{i:02}", bash_command="true")
with DAG("one", max_active_runs=200, max_active_tasks=200, **kw):
    BashOperator(task_id="t", bash_command="true")
''')
env = {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "false", "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
       "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "true", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": conn,
       "AIRFLOW__API__HOST": "127.0.0.1", "AIRFLOW__API__PORT": str(port), "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
       "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/", "PATH": f"{bin_}:{os.environ['PATH']}",
       "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false"}
# one secret for all three processes
env |= {"AIRFLOW__API_AUTH__JWT_SECRET": "bench-only-not-a-secret-bench-only-not-a-secret-bench-only-0123456789", "AIRFLOW__API__SECRET_KEY": "bench-only"}
ver = subprocess.run([f"{bin_}/airflow", "version"], env={**os.environ, **env}, capture_output=True, text=True).stdout.split()[-1]
subprocess.run([f"{bin_}/airflow", "db", "migrate"], env={**os.environ, **env}, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
api = f"http://127.0.0.1:{port}"
info = dict(version=ver, body="BashOperator `true`", executor="LocalExecutor (parallelism 32)")
ts = lambda s: dt.datetime.fromisoformat(s.replace("Z", "+00:00")).timestamp()

with Procs(f"{home}/plog") as P:
    t0 = time.time()
    P.start("api", [f"{bin_}/airflow", "api-server"], env); wait_http(f"{api}/api/v2/version")
    P.start("scheduler", [f"{bin_}/airflow", "scheduler"], env); P.start("dagproc", [f"{bin_}/airflow", "dag-processor"], env)
    tok = http("GET", f"{api}/auth/token")["access_token"]
    H = {"Authorization": f"Bearer {tok}"}
    get = lambda p: http("GET", f"{api}/api/v2/{p}", headers=H)
    until(lambda: get("dags")["total_entries"] >= 3, 180)
    emit(peer, "start_to_ready", [time.time() - t0], "s", **info)
    idle(peer, P.pids, **info)

    def trigger(dag):
        t = time.time()
        return t, http("POST", f"{api}/api/v2/dags/{dag}/dagRuns", {"logical_date": None}, H)["dag_run_id"]

    def finish(dag, run, secs=1800):
        r = until(lambda: (lambda x: x if x["state"] in ("success", "failed") else None)(get(f"dags/{dag}/dagRuns/{run}")), secs, 0.5)
        assert r["state"] == "success", r
        return r

    def first_start(dag, run):
        return min(ts(i["start_date"]) for i in get(f"dags/{dag}/dagRuns/{run}/taskInstances?limit=100")["task_instances"])

    finish("one", trigger("one")[1])  # warm-up
    lat, lw = [], []
    for _ in range(max(REPS, 5)):
        t, r = trigger("one"); e = finish("one", r); lat.append(first_start("one", r) - t); lw.append(ts(e["end_date"]) - t)
    emit(peer, "trigger_to_start", lat, "s", **info); emit(peer, "one_task_run", lw, "s", **info)
    for dag, n in (("chain40", 40), ("fan100", 100)):
        w, own = [], []
        for _ in range(REPS):
            t, r = trigger(dag); e = finish(dag, r); w.append(ts(e["end_date"]) - t); own.append(ts(e["end_date"]) - ts(e["start_date"]))
            print(f"# {dag} {w[-1]:.1f} s load {' '.join(load())}", file=sys.stderr)
        emit(peer, f"{dag}_wall", w, "s", engine_own=own, **info)
        emit(peer, f"{dag}_per_task", [1000 * x / n for x in w], "ms", **info)
    if not os.environ.get("QUICK"):
        N = 60
        t = time.time(); runs = [trigger("one")[1] for _ in range(N)]; post = time.time() - t
        end = max(ts(finish("one", r)["end_date"]) for r in runs)
        emit(peer, "one_task_runs_per_minute", [60 * N / (end - t)], "1/min", burst=N, post_seconds=round(post, 1), **info)
