#!/bin/sh
# What the stage `test` runs: a first start in an empty folder, a table, a second start that still has it.
set -eu
export PGDATA=/tmp/data PGHOST=/tmp PGUSER=app PGDATABASE=app

mkdir -p /tmp/secrets
start() {
    sed 's|/run/secrets|/tmp/secrets|' /usr/local/bin/start.sh >/tmp/start.sh
    sh /tmp/start.sh postgres &
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
        if pg_isready --quiet; then return; fi
        sleep 1
    done
    echo "the server did not answer" >&2
    exit 1
}
stop() { pg_ctl stop --mode=fast --silent; }

echo "it's a secret" >/tmp/secrets/PASSWORD
start
psql --quiet --set=ON_ERROR_STOP=1 --command="CREATE TABLE t AS SELECT 42 AS n"
PGPASSWORD="it's a secret" psql --host=127.0.0.1 --no-align --tuples-only --command="SELECT n FROM t" >/tmp/found
test "$(cat /tmp/found)" = 42
if PGPASSWORD=wrong psql --host=127.0.0.1 --command="SELECT 1" 2>/dev/null; then
    echo "a wrong password was taken" >&2
    exit 1
fi
stop
start
test "$(psql --no-align --tuples-only --command='SELECT n FROM t')" = 42
pg_dump --format=custom --compress=none --no-owner | cat >/tmp/dump # a pipe: as `invoke backup` takes it
pg_restore --list /tmp/dump >/dev/null

# A backup puts back what was, and takes away what came since, though that hangs on it; a damaged one changes nothing.
psql --quiet --set=ON_ERROR_STOP=1 <<SQL
UPDATE t SET n = 43;
ALTER TABLE t ADD PRIMARY KEY (n);
CREATE TABLE later AS SELECT n FROM t;
ALTER TABLE later ADD FOREIGN KEY (n) REFERENCES t (n);
SQL
size=$(wc -c </tmp/dump)
if head -c "$((size - 20))" /tmp/dump | sh /usr/local/bin/restore.sh 2>/dev/null; then
    echo "a damaged backup was taken" >&2
    exit 1
fi
test "$(psql --no-align --tuples-only --command='SELECT n FROM later')" = 43
sh /usr/local/bin/restore.sh </tmp/dump
test "$(psql --no-align --tuples-only --command='SELECT n FROM t')" = 42
test -z "$(psql --no-align --tuples-only --command="SELECT to_regclass('later')")"
stop
