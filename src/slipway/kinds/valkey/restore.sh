#!/bin/sh
# Puts back what a dump on standard input holds, in place of what the server in this container has: restore.sh.
# With the word `check` it only reads the dump, and fails if it is damaged.
#
# A second server loads the dump, and the first one copies it: at once and whole, or not at all.
set -eu
folder=${DATA:-/var/lib/valkey}/restore
port=16379
ask() { sh /usr/local/bin/ask.sh "$@"; }
end() {
    busybox kill "$server" 2>/dev/null || true
    wait "$server" || true
    rm -rf "$folder"
}

rm -rf "$folder"
busybox mkdir -p "$folder"
cat >"$folder/dump.rdb"
if [ "${1:-}" = check ]; then
    code=0
    valkey-check-rdb "$folder/dump.rdb" || code=$?
    rm -rf "$folder"
    exit "$code"
fi
valkey-server --bind 127.0.0.1 --port "$port" --dir "$folder" --save "" --appendonly no --loglevel warning &
server=$!
trap end EXIT
until valkey-cli -e -p "$port" PING >/dev/null 2>&1; do
    busybox kill -0 "$server" # it has ended: the dump is damaged
    busybox sleep 0.2
done
ask REPLICAOF 127.0.0.1 "$port"
until ask INFO replication | busybox grep -q master_link_status:up; do busybox sleep 0.2; done
ask REPLICAOF NO ONE
