"""The part of the gateway's Envoy configuration that looks at each request and answer: its filters, in order."""

from __future__ import annotations

from slipway._internal.commands import envoy_rules as rules
from slipway._internal.commands.envoy_messages import JsonObject, typed

BUFFER_FILTER = "envoy.filters.http.buffer"

HEADERS_SCRIPT = """\
-- Who asked, over what, and by which id: the caller's word where it is one, else the gateway's own.
function envoy_on_request(handle)
  local headers = handle:headers()
  local id = headers:get("x-request-id")
  if not id or headers:getNumValues("x-request-id") ~= 1 or #id > 128 or not id:find("^[A-Za-z0-9._:/+=@-]+$") then
    id = headers:get("x-slipway-id"):gsub("-", "")
    headers:replace("x-request-id", id)
  end
  local scheme = headers:get("x-slipway-proto")
  if scheme == "http" or scheme == "https" then
    headers:replace("x-forwarded-proto", scheme)
  end
  headers:remove("x-slipway-id")
  headers:remove("x-slipway-proto")
end
"""


def http_filters() -> list[JsonObject]:
    """Return the filters in the order in which a request meets them; a route turns on what is disabled for all."""
    return [
        {
            "name": "envoy.filters.http.lua",
            "typed_config": typed(
                "envoy.extensions.filters.http.lua.v3.Lua",
                default_source_code={"inline_string": HEADERS_SCRIPT},
            ),
        },
        *rules.address_and_origin_filters(),
        rules.limit_filter(),
        *rules.compression_filters(),
        {
            "name": BUFFER_FILTER,
            "disabled": True,  # a route turns it on
            "typed_config": typed("envoy.extensions.filters.http.buffer.v3.Buffer", max_request_bytes=1),
        },
        {
            "name": "envoy.filters.http.router",
            "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", suppress_envoy_headers=True),
        },
    ]
