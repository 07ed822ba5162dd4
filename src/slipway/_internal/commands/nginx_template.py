"""The part of the gateway's nginx.conf that is the same for all routes."""

from __future__ import annotations

from itertools import product

LISTEN_PORT = 8080
OWN_PATH = "/.slipway"  # what the gateway answers itself lives below this path
PROXY_HEADERS = {
    "Host": "$passed_host",
    "Upgrade": "$passed_upgrade",
    "Connection": "$upgrade_or_close",
    "X-Real-IP": "$remote_addr",
    "X-Forwarded-For": "$proxy_add_x_forwarded_for",
    "X-Forwarded-Host": "$passed_host",
    "X-Forwarded-Proto": "$forwarded_proto",
    "X-Request-ID": "$passed_request_id",
}
"""What a service gets besides, or instead of, what the caller sent."""
TRUSTED_HEADERS = (
    *(name for name in PROXY_HEADERS if "-" in name),
    "Content-Length",
    "Content-Type",
    "Transfer-Encoding",
)
"""Headers that services believe. Many servers take `X_Real_IP` for the same, so the caller's is dropped."""
REFUSED_STATUSES = (400, 405, 408, 411, 413, 414, 494, 500)
"""Statuses by which the gateway itself turns a request down; 494 is NGINX's own for headers that are too large."""
DOWN_STATUSES = (502, 503, 504)

ERROR_PAGES_TEMPLATE = f"""\
error_page {" ".join(str(status) for status in DOWN_STATUSES)} {OWN_PATH}/down.$format;
{{indent}}error_page {" ".join(str(status) for status in REFUSED_STATUSES if status != 494)} {OWN_PATH}/refused.$format;
{{indent}}error_page 494 =431 {OWN_PATH}/refused.$format;
"""


def render_error_pages(closing: str, indent: str) -> str:
    """Return the directives that give errors the gateway's own form; `closing` is where 418 leads, see the frame."""
    return f"{ERROR_PAGES_TEMPLATE.format(indent=indent)}{indent}error_page 418 = {closing};"


def render_headers() -> str:
    """Return the directives that set headers, and drop those that would be taken for them."""
    spellings = [
        spelling
        for name in TRUSTED_HEADERS
        for spelling in map("".join, product(*(("-", "_") if letter == "-" else letter for letter in name)))
        if spelling != name
    ]
    directives = [f"proxy_set_header {name} {value};" for name, value in PROXY_HEADERS.items()]
    return "\n    ".join([*directives, *(f'proxy_set_header {spelling} "";' for spelling in spellings)])


CONFIG_TEMPLATE = f"""\
# Written by Slipway; the next deployment writes it anew.
worker_processes auto;
worker_shutdown_timeout @drain@s;
pid /tmp/nginx.pid;
error_log stderr notice;

events {{
    worker_connections 4096;
}}

http {{
    server_tokens off;
    log_format access '$remote_addr "$request" $status $body_bytes_sent ${{request_time}}s '
                      'to $upstream_addr $passed_request_id';
    access_log /dev/stdout access;

    # The root file system is read-only, and /tmp is memory: nothing large may end up there. So bodies pass as they
    # come, in both directions, and events of a stream arrive when they are sent.
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    proxy_max_temp_file_size 0;
    proxy_request_buffering off;
    proxy_buffering off;
    client_max_body_size 0;

    # Headers, of requests line by line and of answers in whole.
    large_client_header_buffers 4 64k;
    proxy_buffer_size 64k;
    proxy_buffers 4 64k;
    proxy_busy_buffers_size 128k;
    proxy_headers_hash_max_size 2048;
    proxy_headers_hash_bucket_size 128;
    underscores_in_headers on;
    proxy_ignore_headers X-Accel-Redirect;

    # The engine's own DNS: a container that comes back with another address is found within a second.
    resolver 127.0.0.11 valid=1s ipv6=off;
    resolver_timeout 2s;

    # An upgrade to HTTP/2 in clear text would be a way around the gateway: what follows it would not be looked at.
    map $http_upgrade $passed_upgrade {{
        default $http_upgrade;
        ~*h2c   "";
    }}
    map $passed_upgrade $upgrade_or_close {{
        default upgrade;
        ""      close;
    }}
    # Before HTTP/1.1 a request need not name a host; to a service all are of HTTP/1.1.
    map $http_host $passed_host {{
        default $http_host;
        ""      localhost;
    }}
    map $http_x_forwarded_proto $forwarded_proto {{
        default $scheme;
        http    http;
        https   https;
    }}
    map $http_x_request_id $passed_request_id {{
        default $request_id;
        "~^[A-Za-z0-9._:/+=@-]{{1,128}}$" $http_x_request_id;
    }}
    map $http_accept $format {{
        default      json;
        ~*text/html  html;
    }}
    map $status $refusal {{
        default "bad request";
        405     "method not allowed";
        408     "request took too long";
        411     "length required";
        413     "request body too large";
        414     "URL too long";
        431     "request headers too large";
        500     "internal error";
    }}

    proxy_http_version 1.1;
    proxy_connect_timeout 3s;
    proxy_send_timeout 300s;
    proxy_read_timeout 300s;
    # A service may have several containers, which its name leads to. A request that one of them could not take, or
    # dropped before an answer although it may be repeated, goes to another one; not one that only takes long.
    proxy_next_upstream error timeout;
    proxy_next_upstream_timeout 15s;
    client_body_timeout 300s;
    send_timeout 300s;
    {render_headers()}

    server {{
        listen {LISTEN_PORT};

        # A reload closes kept connections, and a request that is just coming in on one would be lost; before
        # it, they are ended in order, with the answer to their next request.
        recursive_error_pages on;
        location @closing {{
            keepalive_timeout 0;
            proxy_pass http://$upstream;
        }}

        # On an error's way the status stays what it was: the 200 below is never sent. What a service answers
        # itself passes as it is.
        {render_error_pages("@closing", "        ")}
        location = {OWN_PATH}/down.json {{
            internal;
            default_type application/json;
            return 200 '{{"error": "service unavailable", "service": "$service", "status": $status}}\\n';
        }}
        location = {OWN_PATH}/down.html {{
            internal;
            default_type text/html;
            return 200 '<!doctype html><title>$service is down</title><h1>$service is down</h1>
<p>The gateway is up, the service <b>$service</b> did not answer. Try again in a moment.</p>\\n';
        }}
        location = {OWN_PATH}/refused.json {{
            internal;
            default_type application/json;
            return 200 '{{"error": "$refusal", "status": $status}}\\n';
        }}
        location = {OWN_PATH}/refused.html {{
            internal;
            default_type text/html;
            return 200 '<!doctype html><title>$status</title><h1>$status: $refusal</h1>\\n';
        }}

        location = {OWN_PATH}/health {{
            access_log off;
            default_type application/json;
            return 200 '{{"status": "ok"}}\\n';
        }}
        location {OWN_PATH}/ {{
            default_type application/json;
            return 404 '{{"error": "not found"}}\\n';
        }}

@locations@
    }}
}}
"""
