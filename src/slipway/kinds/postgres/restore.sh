#!/bin/sh
# Puts back what a dump on standard input holds, in place of all that the user has in the database: restore.sh.
#
# It is one transaction: where it fails, nothing has changed. What the user has made since the dump is gone, too.
# The dump names no owner, so this database's own user owns it all, with the password that it has here.
set -euo pipefail

script() {
    echo "BEGIN; SET LOCAL lock_timeout = '60s'; DROP OWNED BY CURRENT_USER CASCADE;"
    pg_restore --no-owner --file=-
    echo "COMMIT;"
}
script | psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --output=/dev/null
