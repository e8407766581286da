#!/bin/bash
# A private PostgreSQL on 127.0.0.1. Usage: pg.sh start|stop [port]; data in $PEERS/pg, user postgres, no password.
set -eu
P=${PEERS:-$PWD/target/peers}; D=$P/pg; PORT=${2:-55432}
as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=$(id -g postgres) --clear-groups "$@"; else "$@"; fi; }
case $1 in
  start)
    mkdir -p $D; [ "$(id -u)" = 0 ] && chown postgres $D; cd $D
    [ -f $D/data/PG_VERSION ] || as initdb -D $D/data -U postgres -A trust >$D/initdb.log 2>&1
    as pg_ctl -w -D $D/data -l $D/pg.log -o "-p $PORT -c listen_addresses=127.0.0.1 -c unix_socket_directories=$D -c max_connections=200" start >/dev/null
    psql -h 127.0.0.1 -p $PORT -U postgres -Atc 'select version()' ;;
  stop) cd $D; as pg_ctl -w -D $D/data -m fast stop >/dev/null ;;
esac
