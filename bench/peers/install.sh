#!/bin/bash
# Install the peers under $PEERS. Usage: install.sh NAME...
set -u
P=${PEERS:-$PWD/target/peers}; export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt UV_CACHE_DIR=$P/.uvcache
[ -x $P/tools/bin/uv ] || { python3 -m venv $P/tools && $P/tools/bin/pip install -q uv; }
py() { n=$1; shift; [ -x $P/$n/bin/python ] || $P/tools/bin/uv venv -q -p python3.11 $P/$n; $P/tools/bin/uv pip install -q -p $P/$n/bin/python "$@"; }
js() { n=$1; shift; mkdir -p $P/$n; (cd $P/$n && { [ -f package.json ] || echo '{"private":true,"type":"module"}' >package.json; } && npm install --no-audit --no-fund --silent "$@"); }
for n in "$@"; do
  s=$(date +%s)
  case $n in
    airflow) py airflow "apache-airflow==${AIRFLOW:-3.3.2}" psycopg2-binary asyncpg ;;
    prefect) py prefect "prefect==${PREFECT:-3.8.8}" "fastapi==0.149.0" ;; # fastapi >= 0.159 breaks 3.8.8
    dagster) py dagster "dagster==${DAGSTER:-1.13.27}" "dagster-webserver==${DAGSTER:-1.13.27}" ;;
    luigi) py luigi "luigi==${LUIGI:-3.8.1}" ;;
    metaflow) py metaflow "metaflow==${METAFLOW:-2.19.39}" ;;
    dbos) py dbos "dbos==${DBOS:-3.4.0}" ;;
    snakemake) py snakemake snakemake ;;
    cylc) py cylc cylc-flow ;;
    restate) js restate @restatedev/restate-server@1.7.12 @restatedev/restate@1.7.12 @restatedev/restate-sdk @restatedev/restate-sdk-clients ;;
    inngest) js inngest inngest-cli@1.45.1 inngest@4.24.0 ;;
    temporal) py temporal temporalio ;;
    n8n) js n8n n8n@2.41.3 ;;
    openworkflow) js openworkflow openworkflow @openworkflow/backend-sqlite@0.6.3 ;;
    *) echo "unknown $n" >&2 ;;
  esac; echo "$n rc=$? $(( $(date +%s)-s ))s"
done
