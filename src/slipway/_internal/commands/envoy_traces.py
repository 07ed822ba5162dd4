"""The part of the gateway's Envoy configuration that sends spans to an OpenTelemetry collector, by OTLP over HTTP.

A span is readable to whoever reads traces: it has no header but the request's id, and the path without its query.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from slipway._internal.commands.envoy_auth import server_cluster
from slipway._internal.commands.envoy_messages import JsonObject, typed
from slipway._internal.commands.envoy_rules import METADATA
from slipway._internal.commands.gateway_options import TracesOptions

TRACES_PATH = "/v1/traces"
"""Where a collector takes spans: https://opentelemetry.io/docs/specs/otlp/#otlphttp-request."""
_CLUSTER = "traces"
_SERVICE_NAME = "slipway-gateway"


def traces_cluster(traces: TracesOptions) -> JsonObject:
    """Return where spans are sent."""
    return server_cluster(_CLUSTER, traces.url)


def tracing(traces: TracesOptions) -> JsonObject:
    """Return what a listener says of each request, and to whom; one that a caller has in a trace stays in it."""
    base = urlsplit(traces.url)
    collector = {
        "uri": f"{base.scheme}://{base.netloc}{base.path.rstrip('/')}{TRACES_PATH}",
        "cluster": _CLUSTER,
        "timeout": "5s",
    }
    said = {
        "url.path": "%PATH(NQ:ORIG_OR_PATH)%",
        "request.id": "%REQ(X-REQUEST-ID)%",
        "consumer": f"%DYNAMIC_METADATA({METADATA}:consumer)%",
        "http.route": f"%METADATA(ROUTE:{METADATA}:route)%",
        "slipway.service": f"%METADATA(ROUTE:{METADATA}:service)%",
    }
    return {
        "tracing": {
            "provider": {
                "name": "envoy.tracers.opentelemetry",
                "typed_config": typed(
                    "envoy.config.trace.v3.OpenTelemetryConfig",
                    http_service={"http_uri": collector},
                    service_name=_SERVICE_NAME,
                    sampler=_sampler(traces.percent),
                ),
            },
            "max_path_tag_length": 0,  # with a query, which may be secret
            "spawn_upstream_span": True,
            "custom_tags": [{"tag": name, "value": text} for name, text in said.items()],
        },
        # A caller's request id stays as it is, and decides nothing.
        "request_id_extension": {
            "typed_config": typed(
                "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
                pack_trace_reason=False,
                use_request_id_for_trace_sampling=False,
            )
        },
    }


def _sampler(percent: int) -> JsonObject:
    """Return what decides which requests are traced: by the trace that a request is in, else by chance.

    The listener's own sampling does nothing here: it goes by request ids, which it does not make.
    """
    samplers = "envoy.extensions.tracers.opentelemetry.samplers.v3"
    ratio = {"numerator": percent, "denominator": "HUNDRED"}
    chance = typed(f"{samplers}.TraceIdRatioBasedSamplerConfig", sampling_percentage=ratio)
    root = {"name": "envoy.tracers.opentelemetry.samplers.trace_id_ratio_based", "typed_config": chance}
    return {
        "name": "envoy.tracers.opentelemetry.samplers.parent_based",
        "typed_config": typed(f"{samplers}.ParentBasedSamplerConfig", wrapped_sampler=root),
    }
