#!/bin/sh
# Becomes the server. The user is `app`; the password is the secret PASSWORD, which the server takes at its first start.
set -eu
umask 077
cat >"$RABBITMQ_CONFIG_FILE" <<CONFIG
default_user = app
default_pass = $(cat "${SECRETS:-/run/secrets}/PASSWORD")
loopback_users = none
listeners.tcp.default = ${PORT:-5672}
log.console.level = info
CONFIG
echo '[].' >"$RABBITMQ_ENABLED_PLUGINS_FILE"
# RabbitMQ looks after the disk itself; Erlang's own watch wants another `df` than busybox has.
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-os_mon start_disksup false"
exec rabbitmq-server
