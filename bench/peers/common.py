"""Shared helpers of the peer benchmarks: one JSON line per figure, processes stopped by pid."""
import json, os, signal, socket, statistics, subprocess, sys, time, urllib.parse, urllib.request

PEERS = os.path.abspath(os.environ.get("PEERS", "target/peers"))
REPS = int(os.environ.get("REPS", "3"))
RETRIED_503 = []
TICK = os.sysconf("SC_CLK_TCK")


def load():
    return open("/proc/loadavg").read().split()[:3]


def emit(peer, figure, samples, unit, **more):
    """Print one figure; samples is a list of numbers (min/median/max are derived)."""
    s = [round(float(x), 4) for x in samples]
    rec = {"peer": peer, "figure": figure, "unit": unit, "n": len(s), "min": min(s),
           "median": round(statistics.median(s), 4), "max": max(s), "samples": s, "load": " ".join(load()),
           "at": time.strftime("%FT%TZ", time.gmtime()), **more}
    print(json.dumps(rec), flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def postgres():
    """Host, port and user of the PostgreSQL server: that of `cargo xtask bench`, else the one of pg.sh."""
    url = urllib.parse.urlparse(os.environ.get("DALSEGNO_BENCH_POSTGRES_URL", f"postgres://postgres@127.0.0.1:{os.environ.get('PGPORT', '55432')}/postgres"))
    return url.hostname, str(url.port), url.username


def fresh_database(name):
    """Make an empty database; its address."""
    host, port, user = postgres()
    for sql in (f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}"):
        subprocess.run(["psql", "-h", host, "-p", port, "-U", user, "-d", "postgres", "-qc", sql], check=True, stderr=subprocess.DEVNULL)
    return f"postgresql://{user}@{host}:{port}/{name}"


def wait_http(url, secs=120, every=0.2):
    end = time.time() + secs
    while time.time() < end:
        try:
            with urllib.request.urlopen(url, timeout=2) as r:
                if r.status < 500:
                    return
        except urllib.error.HTTPError as e:
            if e.code < 500:
                return
        except OSError:
            pass
        time.sleep(every)
    raise SystemExit(f"no answer at {url}")


def http(method, url, body=None, headers=None, timeout=60):
    data = None if body is None else json.dumps(body).encode()
    req = urllib.request.Request(url, data=data, method=method,
                                 headers={"Content-Type": "application/json", **(headers or {})})
    for k in range(60):
        try:
            with urllib.request.urlopen(req, timeout=timeout) as r:
                raw = r.read()
                break
        except urllib.error.HTTPError as e:
            if e.code != 503 or k == 59:
                raise
            RETRIED_503.append(url)  # Prefect answers so while its SQLite file is locked
            time.sleep(0.25)
    return json.loads(raw) if raw else None


def tree(pids):
    """pids and every living descendant."""
    kids = {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                ppid = int(open(f"/proc/{d}/stat").read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            kids.setdefault(ppid, []).append(int(d))
    out, todo = [], list(pids)
    while todo:
        p = todo.pop()
        if p not in out and os.path.exists(f"/proc/{p}"):
            out.append(p)
            todo += kids.get(p, [])
    return out


def usage(pids):
    """(processes, RSS MiB, PSS MiB, CPU seconds so far) of the process trees."""
    rss = pss = cpu = n = 0
    for p in tree(pids):
        try:
            st = open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()
            roll = open(f"/proc/{p}/smaps_rollup").read()
        except OSError:
            continue
        n += 1
        cpu += (int(st[11]) + int(st[12]) + int(st[13]) + int(st[14])) / TICK
        for line in roll.splitlines():
            if line.startswith("Rss:"):
                rss += int(line.split()[1]) / 1024
            elif line.startswith("Pss:"):
                pss += int(line.split()[1]) / 1024
    return n, rss, pss, cpu


def idle(peer, pids, settle=15, window=20, **more):
    """Idle memory and CPU: three windows after a settling pause."""
    time.sleep(settle)
    r, p, c, n = [], [], [], 0
    for _ in range(REPS):
        _, _, _, c0 = usage(pids)
        t0 = time.time()
        time.sleep(window / REPS)
        n, rss, pss, c1 = usage(pids)
        r.append(rss); p.append(pss); c.append(100 * (c1 - c0) / (time.time() - t0))
    emit(peer, "idle_rss", r, "MiB", processes=n, **more)
    emit(peer, "idle_pss", p, "MiB", processes=n, **more)
    emit(peer, "idle_cpu", c, "% of one core", processes=n, **more)


signal.signal(signal.SIGTERM, lambda *a: sys.exit(143))  # so that Procs.stop runs


class Procs:
    """Processes this script started; stopped by pid (with their descendants) at the end."""
    def __init__(self, logdir):
        self.ps, self.logdir = [], logdir
        os.makedirs(logdir, exist_ok=True)

    def start(self, name, argv, env=None, cwd=None, **kw):
        log = open(f"{self.logdir}/{name}.log", "ab")
        p = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=cwd,
                             env={**os.environ, **(env or {})}, start_new_session=True, **kw)
        self.ps.append(p)
        return p

    @property
    def pids(self):
        return [p.pid for p in self.ps]

    def stop(self):
        mine = tree(self.pids)
        for sig, wait in ((signal.SIGTERM, 8), (signal.SIGKILL, 3)):
            for pid in mine:
                try:
                    os.kill(pid, sig)
                except OSError:
                    pass
            end = time.time() + wait
            while time.time() < end and any(p.poll() is None for p in self.ps):
                time.sleep(0.1)
            mine = [p for p in mine if os.path.exists(f"/proc/{p}") and "Z" != open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()[0]]
        for p in self.ps:
            p.wait()

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.stop()


def until(f, secs=300, every=0.1):
    """Poll f until it returns something truthy."""
    end = time.time() + secs
    while time.time() < end:
        v = f()
        if v:
            return v
        time.sleep(every)
    raise TimeoutError(f"not done in {secs}s")
