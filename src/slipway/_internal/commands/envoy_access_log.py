"""The part of the gateway's Envoy configuration that writes a line for each request: JSON, to standard output."""

from __future__ import annotations

from slipway._internal.commands.envoy_messages import JsonObject, typed
from slipway._internal.commands.envoy_rules import METADATA

ACCESS_LOG = {
    "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
    "id": "%REQ(X-REQUEST-ID)%",
    "from": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    "consumer": f"%DYNAMIC_METADATA({METADATA}:consumer)%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "path": "%REQ(:PATH)%",
    "protocol": "%PROTOCOL%",
    "route": f"%METADATA(ROUTE:{METADATA}:route)%",
    "service": f"%METADATA(ROUTE:{METADATA}:service)%",
    "upstream": "%UPSTREAM_HOST%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "received": "%BYTES_RECEIVED%",
    "sent": "%BYTES_SENT%",
    "milliseconds": "%DURATION%",
}
"""What a line says; what there is not is null. The path is the one that the service got."""


def access_log(health_path: str) -> JsonObject:
    """Return the log, without the gateway's own health."""
    own_health = {"name": ":path", "string_match": {"exact": health_path}, "invert_match": True}
    return {
        "name": "envoy.access_loggers.stdout",
        "filter": {"header_filter": {"header": own_health}},
        "typed_config": typed(
            "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            log_format={"json_format": ACCESS_LOG, "json_format_options": {"sort_properties": False}},
        ),
    }
