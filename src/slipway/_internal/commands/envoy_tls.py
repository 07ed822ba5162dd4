"""The part of the gateway's Envoy configuration for HTTPS: the certificate, the protocols, the way there from HTTP.

The certificate is readable, and in a file that Envoy watches; it names the file of its key, which is a secret.
"""

from __future__ import annotations

from slipway._internal.commands.envoy_messages import JsonObject, set_header, typed
from slipway._internal.commands.gateway_options import GatewayOptions, TlsOptions
from slipway._internal.model.containers import SECRETS_DIR

TLS_PORT = 8443
"""The port that the gateway listens on in its container."""
SECRET = "certificate"  # noqa: S105 - a name
TLS_MARK = "x-slipway-tls"
"""The header by which the table of routes knows a request that came over TLS, and by which protocol."""
CIPHERS = [
    f"ECDHE-{kind}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for kind in ("ECDSA", "RSA")
]
"""Those of TLS 1.2; of 1.3 there are only good ones."""
HTTP2_LIMITS: JsonObject = {
    "max_concurrent_streams": 100,
    "initial_stream_window_size": 64 << 10,
    "initial_connection_window_size": 1 << 20,
    "override_stream_error_on_invalid_http_message": True,
}
HTTP3_LIMITS: JsonObject = {
    "quic_protocol_options": {
        "max_concurrent_streams": 100,
        "initial_stream_window_size": 64 << 10,
        "initial_connection_window_size": 1 << 20,
    },
    "override_stream_error_on_invalid_http_message": True,
}
ALTERNATIVE_SECONDS = 3600
"""How long clients may remember that there is HTTP/3 (RFC 7838, 3.1)."""
HTTP2_RUNTIME: JsonObject = {
    # Requests that a client takes back at once are counted, and its connection is closed; so many requests of one
    # connection are begun at a time that others have their turn.
    "overload.premature_reset_total_stream_count": 200,
    "overload.premature_reset_min_stream_lifetime_seconds": 1,
    "http.max_requests_per_io_cycle": 10,
}


def certificates(options: GatewayOptions) -> list[JsonObject]:
    """Return what the watched file holds."""
    if not options.tls:
        return []
    return [
        typed(
            "envoy.extensions.transport_sockets.tls.v3.Secret",
            name=SECRET,
            tls_certificate={
                "certificate_chain": {"inline_string": options.tls.certificate},
                "private_key": {"filename": f"{SECRETS_DIR}/{options.tls.key}"},
            },
        )
    ]


def transport_socket(source: JsonObject) -> JsonObject:
    """Return what makes a listener speak TLS, with the certificate of a watched file."""
    versions = {
        "tls_minimum_protocol_version": "TLSv1_2",
        "tls_maximum_protocol_version": "TLSv1_3",
        "cipher_suites": CIPHERS,
    }
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed(
            "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            common_tls_context={"tls_params": versions, **_context(source, "h2", "http/1.1")},
        ),
    }


def quic_socket(source: JsonObject) -> JsonObject:
    """Return what makes a listener speak QUIC, whose TLS is 1.3, with the certificate of a watched file."""
    return {
        "name": "envoy.transport_sockets.quic",
        "typed_config": typed(
            "envoy.extensions.transport_sockets.quic.v3.QuicDownstreamTransport",
            downstream_tls_context={"common_tls_context": _context(source, "h3")},
            # What comes before the handshake's end could be sent again by somebody who has seen it (RFC 8470).
            enable_early_data=False,
        ),
    }


def _context(source: JsonObject, *protocols: str) -> JsonObject:
    return {
        "tls_certificate_sds_secret_configs": [{"name": SECRET, "sds_config": source}],
        "alpn_protocols": list(protocols),
    }


def redirection(tls: TlsOptions) -> JsonObject:
    """Return the route that sends whoever comes without TLS to it, whatever the method, with the same body."""
    return {
        "match": {"prefix": "/", "headers": [{"name": TLS_MARK, "present_match": True, "invert_match": True}]},
        "redirect": {"https_redirect": True, "port_redirect": tls.port, "response_code": "PERMANENT_REDIRECT"},
    }


def misdirected() -> JsonObject:
    """Return the route that answers who uses a connection of HTTP/2 or 3 for a host that is not served: try another."""
    shared = {"safe_regex": {"regex": "HTTP/[23]"}}
    return {
        "match": {"prefix": "/", "headers": [{"name": TLS_MARK, "string_match": shared}]},
        "direct_response": {"status": 421, "body": {"inline_string": '{"error": "no service has this host"}\n'}},
        "response_headers_to_add": [set_header("Content-Type", "application/json")],
    }


def secure_headers(options: GatewayOptions) -> list[JsonObject]:
    """Return the filters that tell browsers to come by HTTPS only from now on, and where there is HTTP/3."""
    headers = {"Strict-Transport-Security": f"max-age={options.hsts}"} if options.hsts else {}
    if options.http3 and options.tls:
        headers["Alt-Svc"] = f'h3=":{options.tls.port}"; ma={ALTERNATIVE_SECONDS}'
    return [_answer_header(name, value) for name, value in headers.items()]


def _answer_header(name: str, value: str) -> JsonObject:
    header = set_header(name, value)
    return {
        "name": "envoy.filters.http.header_mutation",
        "typed_config": typed(
            "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
            mutations={"response_mutations": [{"append": header}]},
        ),
    }
