#!/bin/sh
# Asks the server in this container: ask.sh COMMAND…. It fails where the answer is an error.
set -eu
REDISCLI_AUTH=$(cat "${SECRETS:-/run/secrets}/PASSWORD")
export REDISCLI_AUTH
exec valkey-cli -e -p "${PORT:-6379}" --no-auth-warning "$@"
