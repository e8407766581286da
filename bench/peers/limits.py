"""Physical limits of this machine. Needs gcc + libsqlite3-dev, and pg.sh for PostgreSQL."""
import os, re, subprocess, sys, tempfile
from common import PEERS, REPS, emit, postgres
here = os.path.dirname(os.path.abspath(__file__))
exe = f"{PEERS}/limits"
subprocess.run(["gcc", "-O2", "-o", exe, f"{here}/limits.c", "-lsqlite3"], check=True)
out = lambda *a: subprocess.run([exe, *map(str, a)], check=True, capture_output=True, text=True).stdout.split()
d = tempfile.mkdtemp(dir=PEERS)


def pair(*a):
    ps = [subprocess.Popen([exe, *map(str, a)], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    return sum(float(p.communicate()[0]) for p in ps)


emit("limits", "fork_exec_wait_true", [float(out("spawn", 2000)[0]) for _ in range(REPS)], "1/s", how="fork+execv+waitpid, 1 worker, C")
emit("limits", "fork_exec_wait_true_2workers", [pair("spawn", 2000) for _ in range(REPS)], "1/s")
emit("limits", "posix_spawn_true", [float(out("vfork", 2000)[0]) for _ in range(REPS)], "1/s", how="posix_spawn (vfork), 1 worker")
emit("limits", "posix_spawn_true_2workers", [pair("vfork", 2000) for _ in range(REPS)], "1/s")
f = [[float(x) for x in out("fsync", d, 1000)] for _ in range(REPS)]
for i, p in enumerate(("p50", "p95", "p99")):
    emit("limits", f"fdatasync_4k_append_{p}", [x[i] for x in f], "us")
f = [[float(x) for x in out("fsyncpre", d, 1000)] for _ in range(REPS)]
for i, p in enumerate(("p50", "p95", "p99")):
    emit("limits", f"fdatasync_4k_overwrite_{p}", [x[i] for x in f], "us", how="preallocated, already written file")
emit("limits", "sqlite_wal_commits_FULL_warm", [float(out("sqlite", d, "FULL", 2000, "warm")[0]) for _ in range(REPS)], "1/s", how="WAL already at its full size, so it is overwritten")
for mode, n in (("FULL", 2000), ("NORMAL", 20000), ("OFF", 20000)):
    emit("limits", f"sqlite_wal_commits_{mode}", [float(out("sqlite", d, mode, n)[0]) for _ in range(REPS)], "1/s", how="one INSERT per commit, one connection")
for mode in ("FULL", "NORMAL"):
    emit("limits", f"floor_chain40_exec_true_{mode}", [40 / float(out("steps", d, mode, 400)[0]) for _ in range(REPS)], "s",
         how="40 x (commit started, posix_spawn /bin/true, commit finished), SQLite WAL, one thread: the floor for a durable shell step")
os.rmdir(d)

# make: the floor for a DAG of shell steps without any durability
mk = f"{PEERS}/floor.mk"
open(mk, "w").write("chain: c40\nc0:\n\t@true;\n" + "".join(f"c{i}: c{i-1}\n\t@true;\n" for i in range(1, 41))
                    + "fan: " + " ".join(f"f{i}" for i in range(100)) + "\n" + "".join(f"f{i}:\n\t@true;\n" for i in range(100)))
import time
for fig, a in (("make_chain40_sh_c_true", ["chain"]), ("make_fan100_j10_sh_c_true", ["-j10", "fan"])):
    s = []
    for _ in range(REPS):
        t = time.time(); subprocess.run(["make", "-s", "-f", mk, *a], check=True); s.append(time.time() - t)
    emit("limits", fig, s, "s")

# PostgreSQL single-row commits
host, port, user = postgres()
if subprocess.run(["pg_isready", "-q", "-h", host, "-p", port]).returncode == 0:
    c = ["-h", host, "-p", port, "-U", user]
    subprocess.run(["psql", *c, "-d", "postgres", "-qc", "DROP TABLE IF EXISTS lim; CREATE TABLE lim(i bigserial primary key, s text)"], check=True)
    sql = f"{PEERS}/lim.sql"
    open(sql, "w").write("INSERT INTO lim(s) VALUES('a row of about the size of a step state change');\n")
    for k in (1, 2, 8, 16):
        s, lat = [], []
        for _ in range(REPS):
            o = subprocess.run(["pgbench", *c, "-n", "-M", "prepared", "-f", sql, "-c", str(k), "-j", "2" if k > 1 else "1", "-T", "4", "postgres"], check=True, capture_output=True, text=True).stdout
            s.append(float(re.search(r"tps = ([\d.]+)", o)[1])); lat.append(float(re.search(r"latency average = ([\d.]+)", o)[1]))
        emit("limits", f"pg_single_row_commits_{k}clients", s, "1/s", latency_ms=lat, how="pgbench -M prepared, synchronous_commit=on, TCP loopback")
else:
    print("no PostgreSQL: run pg.sh start", file=sys.stderr)
