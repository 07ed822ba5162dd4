#!/bin/sh
# Becomes the server: start.sh [OPTIONS]. The password reaches it by its standard input, and no command line.
set -eu
data=${DATA:-/var/lib/valkey}
secrets=${SECRETS:-/run/secrets}
exec valkey-server - --port "${PORT:-6379}" --dir "$data" --appendonly yes "$@" <<CONFIG
requirepass $(cat "$secrets/PASSWORD")
CONFIG
