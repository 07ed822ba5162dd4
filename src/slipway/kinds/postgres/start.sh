#!/bin/sh
# Makes the database at the first start, then becomes the server: start.sh postgres [OPTIONS].
#
# The user and the database are both called `app`; the password is the secret PASSWORD. Whoever is in this container
# (`invoke exec db -- psql`) needs none; everyone else does. A first start that is interrupted begins anew.
set -eu

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    new="$PGDATA.new"
    rm -rf "$new"
    initdb --pgdata="$new" --username=postgres --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=trust --auth-host=scram-sha-256 --no-instructions >/dev/null
    # Quotes in the password are doubled. It reaches the server by standard input, and no log.
    password=$(sed "s/'/''/g" /run/secrets/PASSWORD)
    postgres --single -D "$new" -c log_statement=none -c log_min_error_statement=panic postgres >/dev/null <<SQL
CREATE ROLE app LOGIN PASSWORD '$password';
CREATE DATABASE app OWNER app;
SQL
    echo "host all all all scram-sha-256" >>"$new/pg_hba.conf"
    mv "$new" "$PGDATA"
    echo "made the database app"
fi
exec "$@" -D "$PGDATA" -c listen_addresses='*' -c port="${PORT:-5432}" -c unix_socket_directories=/tmp
