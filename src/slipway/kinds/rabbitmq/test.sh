#!/bin/sh
# What the stage `test` runs: a first start in an empty folder, a user of our own, a second start that still has it.
set -eu
export SECRETS=/tmp/secrets HOME=/tmp RABBITMQ_NODENAME=rabbit@localhost RABBITMQ_CONFIG_FILE=/tmp/rabbitmq.conf \
    RABBITMQ_LOGS=- RABBITMQ_ENABLED_PLUGINS_FILE=/tmp/enabled_plugins RABBITMQ_MNESIA_BASE=/tmp/mnesia
mkdir -p "$SECRETS"
printf 'open-sesame' >"$SECRETS/PASSWORD"
start() {
    sh /usr/local/bin/start.sh >/tmp/log 2>&1 &
    until rabbitmqctl --quiet await_startup --timeout 120 2>/dev/null; do
        busybox kill -0 "$!" 2>/dev/null || { cat /tmp/log; exit 1; }
        sleep 1
    done
}
stop() { rabbitmqctl --quiet stop && wait; }

start
rabbitmqctl --quiet authenticate_user app open-sesame
if rabbitmqctl --quiet authenticate_user app wrong 2>/dev/null; then
    echo "a wrong password was taken" >&2
    exit 1
fi
rabbitmqctl --quiet add_vhost shop
stop
start
rabbitmqctl --quiet list_vhosts | grep -q shop
rabbitmqctl --quiet export_definitions - | grep -q shop
stop
