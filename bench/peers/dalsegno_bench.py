"""Dalsegno: the release binary over HTTP, every task a process. Usage: dalsegno_bench.py [sqlite|postgres]."""
import concurrent.futures as cf, json, os, shutil, subprocess, sys, time
from common import PEERS, REPS, Procs, emit, free_port, fresh_database, http, idle, wait_http

db = sys.argv[1] if len(sys.argv) > 1 else "sqlite"
target = os.environ.get("DALSEGNO_BENCH_TARGET", "target")
dalsegno = os.environ.get("DALSEGNO_BENCH_BINARY", f"{target}/release/dalsegno")
stamp = os.environ.get("DALSEGNO_BENCH_SELF", f"{target}/release/dalsegno-bench")
peer, home, port = f"dalsegno-{db}", f"{PEERS}/run/dalsegno", free_port()
shutil.rmtree(home, ignore_errors=True); os.makedirs(f"{home}/flows")
pipe = f"{home}/pipe"; os.mkfifo(pipe)
lines = os.fdopen(os.open(pipe, os.O_RDWR), "r")


def flow(name, steps):
    open(f"{home}/flows/{name}.yaml", "w").write(f"flow: {name}\nrun: {{ strategy: {{ parallel: 1000 }} }}\nsteps:\n{steps}")


flow("one", '  only: { run: ["true"] }\n')
flow("stamp", f"  only: {{ run: {json.dumps([stamp, '--stamp', pipe])} }}\n")
flow("chain", "".join(f'  s{i}: {{ {f"after: s{i - 1}, " if i else ""}run: ["true"] }}\n' for i in range(40)))
flow("fan", f'  each:\n    foreach: {list(range(100))}\n    max_parallel: 10\n    run: ["true"]\n')
ver = subprocess.run([dalsegno, "--version"], capture_output=True, text=True).stdout.split()[-1]
info = dict(version=ver, body="`true`, a process each")
api = f"http://127.0.0.1:{port}"

with Procs(f"{home}/plog") as P:
    up = [dalsegno, "up", "--port", str(port), "--data", f"{home}/data"] + (["--database", fresh_database("dalsegno_bench")] if db == "postgres" else []) + [f"{home}/flows"]
    t0 = time.time(); P.start("up", up, {"RUST_LOG": "warn"}); wait_http(f"{api}/readyz", every=0.01)
    emit(peer, "start_to_ready", [time.time() - t0], "s", **info)
    idle(peer, P.pids, **info)

    def run(flow):
        t = time.time(); r = http("POST", f"{api}/api/v1/flows/{flow}/runs", {})
        while r["state"] not in ("succeeded", "failed", "cancelled", "timed_out"):
            r = http("GET", f"{api}/api/v1/runs/{r['id']}/wait")
        assert r["state"] == "succeeded", r
        return time.time() - t

    def start(flow):
        t = time.time(); http("POST", f"{api}/api/v1/flows/{flow}/runs", {})
        return int(lines.readline().split()[-1]) / 1e6 - t

    for _ in range(20): run("one")
    emit(peer, "trigger_to_start", [start("stamp") for _ in range(50)], "s", **info)
    emit(peer, "one_task_run", [run("one") for _ in range(50)], "s", **info)
    for fig, f, n in (("chain40", "chain", 40), ("fan100", "fan", 100)):
        run(f); w = [run(f) for _ in range(max(REPS, 5))]
        emit(peer, f"{fig}_wall", w, "s", **info); emit(peer, f"{fig}_per_task", [1000 * x / n for x in w], "ms", **info)
    rate = []
    for _ in range(REPS):
        with cf.ThreadPoolExecutor(16) as ex:
            t = time.time(); end = t + 5
            def loop():
                k = 0
                while time.time() < end: run("one"); k += 1
                return k
            k = sum(f.result() for f in [ex.submit(loop) for _ in range(16)]); rate.append(60 * k / (time.time() - t))
    emit(peer, "one_task_runs_per_minute", rate, "1/min", clients=16, note="Python clients share the cores; each starts a run and waits for its end", **info)
