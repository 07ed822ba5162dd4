#!/bin/sh
# What the stage `test` runs: a first start in an empty folder, a key, a second start that still has it.
set -eu
export DATA=/tmp/data SECRETS=/tmp/secrets
busybox mkdir -p "$DATA" "$SECRETS"
printf 'open-sesame' >"$SECRETS/PASSWORD"
ask() { sh /usr/local/bin/ask.sh "$@"; }
start() {
    sh /usr/local/bin/start.sh &
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        if ask PING >/dev/null 2>&1; then return; fi
        busybox sleep 1
    done
    echo "the server did not answer" >&2
    exit 1
}

start
ask SET answer 42 >/dev/null
if valkey-cli -e GET answer >/dev/null 2>&1; then
    echo "it answered without the password" >&2
    exit 1
fi
ask SHUTDOWN || true
wait
start
test "$(ask GET answer)" = 42
valkey-cli -p "${PORT:-6379}" -a "$(cat "$SECRETS/PASSWORD")" --no-auth-warning --rdb /tmp/dump.rdb >/dev/null
ask SET answer 43 >/dev/null
sh /usr/local/bin/restore.sh check </tmp/dump.rdb >/dev/null
sh /usr/local/bin/restore.sh </tmp/dump.rdb
test "$(ask GET answer)" = 42
ask SHUTDOWN || true
wait
