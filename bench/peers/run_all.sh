#!/bin/bash
# Install and measure peers one after another: run_all.sh [NAME[:ARG]]...; JSON lines go to $PEERS/logs/NAME[-ARG].jsonl, tables to stdout.
set -u
here=$(cd "$(dirname "$0")" && pwd); export PEERS=${PEERS:-$PWD/target/peers}; mkdir -p $PEERS/logs; cd $here
[ $# = 0 ] && set -- limits dalsegno:sqlite dalsegno:postgres restate dbos:sqlite dbos:postgres duroxide luigi prefect dagster metaflow cylc snakemake airflow:postgres
files=(); pg=
for x in "$@"; do
  n=${x%%:*}; a=${x#*:}; [ "$a" = "$x" ] && a=
  case $n in limits|duroxide|dalsegno) ;; *) [ -d $PEERS/$n ] || ./install.sh $n >&2 ;; esac
  case $x in limits|*:postgres) [ -z "${DALSEGNO_BENCH_POSTGRES_URL:-}$pg" ] && ! pg_isready -q -h 127.0.0.1 -p ${PGPORT:-55432} && { ./pg.sh start ${PGPORT:-55432} >&2; pg=1; } ;; esac
  s=${n}_bench.py; [ $n = limits ] && s=limits.py
  out=$PEERS/logs/$n${a:+-$a}; echo "== $x $(date +%T) load $(cut -d' ' -f1-3 /proc/loadavg)" >&2
  timeout 1500 python3 $s $a >$out.jsonl 2>$out.err || echo "   failed: $(tail -1 $out.err)" >&2
  files+=($out.jsonl)
done
[ -n "$pg" ] && ./pg.sh stop
python3 report.py "${files[@]}"; echo; python3 summary.py "${files[@]}"
