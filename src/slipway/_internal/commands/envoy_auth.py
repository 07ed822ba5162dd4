"""The part of the gateway's Envoy configuration that says who may call: filters, what a route tells them, clusters.

All that a route asks for stands in the table of routes, so that another rule or another key changes no listener, which
would end connections. A filter that fails must let nobody in: Envoy goes on after an error in a script, so scripts
catch their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from slipway._internal.commands.envoy_dns import dns_cluster
from slipway._internal.commands.envoy_messages import JsonObject, typed
from slipway._internal.commands.gateway_options import GatewayOptions
from slipway._internal.commands.gateway_route import Route
from slipway._internal.model.auth import (
    ALGORITHMS,
    CONSUMER_HEADER,
    AuthSettings,
    ConsumerSettings,
    ExternalSettings,
    JwtSettings,
    check_auth,
    hidden_headers,
    spellings,
    with_files,
)
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.route_rules import limit_problem

CALLER_FILTER, PROOF_FILTER, CLAIMS_FILTER = "slipway.caller", "slipway.proof", "slipway.claims"
KEY_PREFIX = "key."
"""What the names of the entries of a host's metadata start with that say whose key a hash is."""
CONSUMER_PREFIX = "consumer."
"""What the names of the entries start with by which a route says who is let in. A script reads single entries."""
IMAGE_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
NO_FOLDER = Path("/nowhere")
MAX_KEY_BYTES = 512
MAX_TOKEN_BYTES = 16 << 10
MAX_JWKS_SECONDS = 300
CLOCK_SKEW_SECONDS = 30

SHA256_SCRIPT = """\
local band, bxor, bnot, ror, rshift, tobit = bit.band, bit.bxor, bit.bnot, bit.ror, bit.rshift, bit.tobit
local ROUND = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

-- The SHA-256 of a text of less than 2^28 bytes, in hexadecimal.
local function sha256(text)
  local bits = #text * 8
  local padded = text .. "\\128" .. ("\\0"):rep((55 - #text) % 64) .. "\\0\\0\\0\\0" .. string.char(
    band(rshift(bits, 24), 255), band(rshift(bits, 16), 255), band(rshift(bits, 8), 255), band(bits, 255))
  local h = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
  }
  local w = {}
  for start = 1, #padded, 64 do
    for i = 0, 15 do
      local one, two, three, four = padded:byte(start + 4 * i, start + 4 * i + 3)
      w[i + 1] = tobit(one * 16777216 + two * 65536 + three * 256 + four)
    end
    for i = 17, 64 do
      local near, far = w[i - 2], w[i - 15]
      local s1 = bxor(ror(near, 17), ror(near, 19), rshift(near, 10))
      local s0 = bxor(ror(far, 7), ror(far, 18), rshift(far, 3))
      w[i] = tobit(w[i - 16] + s0 + w[i - 7] + s1)
    end
    local a, b, c, d, e, f, g, last = h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8]
    for i = 1, 64 do
      local s1 = bxor(ror(e, 6), ror(e, 11), ror(e, 25))
      local choice = bxor(band(e, f), band(bnot(e), g))
      local first = tobit(last + s1 + choice + tobit(ROUND[i]) + w[i])
      local s0 = bxor(ror(a, 2), ror(a, 13), ror(a, 22))
      local second = tobit(s0 + bxor(band(a, b), band(a, c), band(b, c)))
      last, g, f, e, d, c, b, a = g, f, e, tobit(d + first), c, b, a, tobit(first + second)
    end
    local sums = {a, b, c, d, e, f, g, last}
    for i = 1, 8 do
      h[i] = tobit(h[i] + sums[i])
    end
  end
  for i = 1, 8 do
    h[i] = bit.tohex(h[i])
  end
  return table.concat(h)
end
"""

REFUSAL_SCRIPT = """
-- What is not let in is turned down here; so is all that a mistake in this script or in its settings meets.
local function guard(handle, check)
  local fine, status, challenge = pcall(check, handle)
  if not fine then
    handle:logErr("a caller could not be checked: " .. tostring(status))
    status, challenge = 500, nil
  end
  if status then
    local answer = {[":status"] = tostring(status)}
    if challenge then
      answer["www-authenticate"] = challenge
    end
    handle:respond(answer)
  end
end
"""

CALLER_SCRIPT = (
    SHA256_SCRIPT
    + REFUSAL_SCRIPT
    + f"""
local MAX_KEY, MAX_TOKEN = {MAX_KEY_BYTES}, {MAX_TOKEN_BYTES}
local CONSUMER_HEADER, KEY_PREFIX, CONSUMER_PREFIX = "{CONSUMER_HEADER.lower()}", "{KEY_PREFIX}", "{CONSUMER_PREFIX}"
"""
    + """
local DIGITS = {}
for value, sign in ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"):gmatch("()(.)") do
  DIGITS[sign] = value - 1
end

-- What a text in base64 says; nil where it is none in its one way to be written.
local function from_base64(text)
  local digits, padding = text:match("^([A-Za-z0-9+/]*)(=?=?)$")
  if not digits or (#digits + #padding) % 4 ~= 0 or #digits % 4 == 1 then
    return nil
  end
  local found, held, count = {}, 0, 0
  for sign in digits:gmatch(".") do
    held, count = held * 64 + DIGITS[sign], count + 6
    if count >= 8 then
      count = count - 8
      local whole = math.floor(held / 2 ^ count)
      found[#found + 1] = string.char(whole)
      held = held - whole * 2 ^ count
    end
  end
  return held == 0 and table.concat(found) or nil
end

-- A header's value; nil where it is not there exactly once.
local function only(headers, name)
  return headers:getNumValues(name) == 1 and headers:get(name) or nil
end

local function owner_of(handle, key)
  if not key or #key == 0 or #key > MAX_KEY then
    return nil
  end
  return handle:virtualHost():metadata():get(KEY_PREFIX .. sha256(key))
end

local PROOFS = {}

function PROOFS.keys(handle, headers, context)
  return owner_of(handle, only(headers, context:get("header")))
end

function PROOFS.basic(handle, headers)
  local sent = only(headers, "authorization")
  local encoded = sent and #sent <= MAX_KEY * 2 and sent:match("^[Bb][Aa][Ss][Ii][Cc] +([^ ]+)$")
  local name, key = (encoded and from_base64(encoded) or ""):match("^([^:]+):(.+)$")
  local owner = owner_of(handle, key)
  return owner == name and owner or nil
end

local function check(handle)
  local context, headers = handle:filterContext(), handle:headers()
  local kind, challenge = context:get("kind"), context:get("challenge")
  if kind == "external" then
    -- What only the other server may say.
    for _, name in ipairs(context:get("remove")) do
      headers:remove(name)
    end
    return
  end
  if kind == "jwt" then
    -- Exactly one token, in the header that is for it. Whether it is true is the next filter's business.
    local sent = only(headers, "authorization")
    local token = sent and #sent <= MAX_TOKEN and sent:match("^[Bb]earer +([%w_-]+%.[%w_-]+%.[%w_-]+)$")
    if not token then
      return 401, challenge
    end
    headers:replace("authorization", "Bearer " .. token)
    return
  end
  local owner = PROOFS[kind](handle, headers, context)
  if not owner then
    return 401, challenge
  end
  if not context:get("all") and context:get(CONSUMER_PREFIX .. owner) ~= true then
    return 403
  end
  for _, name in ipairs(context:get("remove")) do
    headers:remove(name)
  end
  headers:replace(CONSUMER_HEADER, owner)
  handle:streamInfo():dynamicMetadata():set("slipway", "consumer", owner)
end

function envoy_on_request(handle)
  guard(handle, check)
end
"""
)

CLAIMS_SCRIPT = (
    REFUSAL_SCRIPT
    + """
-- Whether a claim is a text, or holds it: a list does, and the list of words that `scope` is.
local function holds(name, claim, wanted)
  if type(claim) == "string" then
    if claim == wanted then
      return true
    end
    for word in (name == "scope" and claim or ""):gmatch("[^ ]+") do
      if word == wanted then
        return true
      end
    end
    return false
  end
  if type(claim) == "table" then
    for _, member in ipairs(claim) do
      if member == wanted then
        return true
      end
    end
  end
  return false
end

-- What a header can say of a claim; nil where it cannot be said in one way.
local function as_header(claim)
  if type(claim) == "boolean" then
    return tostring(claim)
  end
  if type(claim) == "number" and claim == math.floor(claim) and math.abs(claim) < 2 ^ 53 then
    return ("%d"):format(claim)
  end
  if type(claim) == "string" and #claim <= 1024 and claim:find("^[\\33-\\126]") and claim:find("[\\33-\\126]$")
     and not claim:find("[^\\32-\\126]") then
    return claim
  end
end

local function check(handle)
  local context, headers = handle:filterContext(), handle:headers()
  local found = handle:streamInfo():dynamicMetadata():get("envoy.filters.http.jwt_authn")
  local payload, token = found.payload, found.header
  if context:get("algorithms")[token.alg] ~= true then
    return 401, context:get("challenge")
  end
  for _, asked in ipairs(context:get("claims")) do
    for _, wanted in ipairs(asked.values) do
      if not holds(asked.name, payload[asked.name], wanted) then
        return 403, context:get("insufficient")
      end
    end
  end
  for _, name in ipairs(context:get("remove")) do
    headers:remove(name)
  end
  for _, given in ipairs(context:get("headers")) do
    local claim = payload[given.claim]
    if claim ~= nil then
      local text = as_header(claim)
      if not text then
        return 403, context:get("insufficient")
      end
      headers:replace(given.header, text)
    end
  end
  for _, name in ipairs(context:get("limited")) do
    -- Who cannot be counted would have no limit.
    local text = as_header(payload[name])
    if not text then
      return 403, context:get("insufficient")
    end
    handle:streamInfo():dynamicMetadata():set("slipway", "claim." .. name, text)
  end
end

function envoy_on_request(handle)
  guard(handle, check)
end
"""
)


def check_callers(route: Route) -> None:
    """Check what a route says of who may call: its files' texts stand in the place of their names.

    Raises:
        ConfigError: anything in it is wrong.
    """

    def refuse(_keys: tuple[str, ...], what: str, remedy: str) -> ConfigError:
        return ConfigError(f"service {route.service}: {what}", remedy=remedy)

    auth = route.settings.auth
    check_auth(auth, ("auth",), refuse)
    if problem := limit_problem(route.settings, auth.kind if auth else ""):
        raise ConfigError(f"service {route.service}: {problem}")
    try:
        if auth:
            with_files(auth, NO_FOLDER)
    except ConfigError as error:
        raise ConfigError(f"service {route.service}: {error.message}", remedy=error.remedy) from error


def auth_filters() -> list[JsonObject]:
    """Return the filters that check callers, in order; each is for the routes that ask for it."""
    chain = "envoy.extensions.filters.http.filter_chain.v3.FilterChainConfig"
    return [
        _script(CALLER_FILTER, CALLER_SCRIPT),
        {"name": PROOF_FILTER, "disabled": True, "typed_config": typed(chain)},
        _script(CLAIMS_FILTER, CLAIMS_SCRIPT),
    ]


def early_removals() -> list[str]:
    """Return the headers that no caller may send, in all spellings."""
    return spellings(CONSUMER_HEADER)


@dataclass(frozen=True)
class RouteGuard:
    """What the checks of a gateway's routes have in common.

    Attributes:
        consumers: who may call by keys.
        hidden: the headers that checks give services, which no caller may send to any route.
        host_fields: what a virtual host says of keys: whose each hash is.
    """

    consumers: Mapping[str, ConsumerSettings]
    hidden: frozenset[str]
    host_fields: JsonObject

    @classmethod
    def of(cls, routes: Sequence[Route], options: GatewayOptions) -> RouteGuard:
        auths = [route.settings.auth for route in routes if route.settings.auth]
        known = {name: ConsumerSettings(consumer.groups) for name, consumer in options.consumers.items()}
        by_keys = any(auth.key_settings or auth.basic_settings for auth in auths)
        metadata = {"metadata": {"filter_metadata": {CALLER_FILTER: _owners(options)}}} if by_keys else {}
        return cls(known, frozenset(hidden_headers(auths)), metadata)

    def guarded(self, route: Route, entries: Sequence[JsonObject]) -> list[JsonObject]:
        """Return a route's entries; those that lead to its service are only for who may call, without false names."""
        auth = route.settings.auth
        filters = _filters_of(route, auth, self.consumers) if auth else {}
        others = self.hidden - hidden_headers([auth] if auth else [])
        removed = sorted({name for header in others for name in spellings(header)})
        found = []
        for entry in entries:
            changes: JsonObject = {}
            if "route" in entry and filters:
                changes["typed_per_filter_config"] = {**entry.get("typed_per_filter_config", {}), **filters}
            if "route" in entry and removed:
                changes["request_headers_to_remove"] = [*entry.get("request_headers_to_remove", ()), *removed]
            found.append({**entry, **changes})
        return found


def _owners(options: GatewayOptions) -> JsonObject:
    """Return whose each key is. The script asks for what is not there, too, so it is never empty."""
    named = sorted(options.consumers.items())
    return {"none": "", **{f"{KEY_PREFIX}{key}": name for name, consumer in named for key in consumer.keys}}


def _filters_of(route: Route, auth: AuthSettings, consumers: Mapping[str, ConsumerSettings]) -> JsonObject:
    """Return what a route tells the filters."""
    service, limit = route.service, route.settings.rate_limit
    if external := auth.external_settings:
        said = sorted({spelling for name in external.receive for spelling in spellings(name)})
        return {
            CALLER_FILTER: _context({"kind": "external", "remove": said}),
            PROOF_FILTER: _chain("envoy.filters.http.ext_authz", _external(external)),
        }
    if auth.jwt:
        return _jwt_filters(service, auth.jwt, [limit.claim] if limit and limit.claim else [])
    allowed = auth.allowed_consumers(consumers)
    names = {} if len(allowed) == len(consumers) else {f"{CONSUMER_PREFIX}{name}": True for name in allowed}
    context: JsonObject = {"kind": auth.kind, "all": len(allowed) == len(consumers), **names}
    if keys := auth.key_settings:
        context |= {
            "header": keys.header.lower(),
            "challenge": f'ApiKey realm="{service}", header="{keys.header}"',
            "remove": spellings(keys.header),
        }
    else:
        context |= {"challenge": f'Basic realm="{service}", charset="UTF-8"', "remove": ["authorization"]}
    return {CALLER_FILTER: _context(context)}


def auth_clusters(routes: Sequence[Route]) -> list[JsonObject]:
    """Return the clusters of the servers that are asked about callers."""
    found: dict[str, JsonObject] = {}
    for auth in (route.settings.auth for route in routes if route.settings.auth):
        if auth.jwt and auth.jwt.url:
            name = cluster_of(auth.jwt.url, auth.jwt.ca)
            found[name] = server_cluster(name, auth.jwt.url, auth.jwt.ca)
        if auth.external_settings:
            name = cluster_of(auth.external_settings.url)
            found[name] = server_cluster(name, auth.external_settings.url)
    return [found[name] for name in sorted(found)]


def cluster_of(url: str, ca: str | None = None) -> str:
    """Return the name of the cluster of a server that is asked about callers."""
    parts = urlsplit(url)
    known_by = f"_{hashlib.sha256(ca.encode()).hexdigest()[:16]}" if ca else ""
    return f"auth_{parts.scheme}_{parts.hostname}_{_port_of(url)}{known_by}"


def _script(name: str, text: str) -> JsonObject:
    script = typed(
        "envoy.extensions.filters.http.lua.v3.Lua",
        default_source_code={"inline_string": text},
        # The route was chosen by the request as it came. Chosen again after a change of headers, when the mark of TLS
        # is gone, it would be the redirect of who came without.
        clear_route_cache=False,
    )
    return {"name": name, "disabled": True, "typed_config": script}


def _context(values: JsonObject) -> JsonObject:
    return typed("envoy.extensions.filters.http.lua.v3.LuaPerRoute", filter_context=values)


def _chain(name: str, config: JsonObject) -> JsonObject:
    return typed(
        "envoy.extensions.filters.http.filter_chain.v3.FilterChainConfigPerRoute",
        filter_chain={"filters": [{"name": name, "typed_config": config}]},
    )


def _jwt_filters(service: str, jwt: JwtSettings, limited: Sequence[str]) -> JsonObject:
    challenge = f'Bearer realm="{service}"'
    claims = [
        {"name": name, "values": [wanted] if isinstance(wanted, str) else list(wanted)}
        for name, wanted in sorted(jwt.claims.items())
    ]
    context = {
        "algorithms": dict.fromkeys(ALGORITHMS, True),
        "challenge": f'{challenge}, error="invalid_token"',
        "insufficient": f'{challenge}, error="insufficient_scope"',
        "claims": claims,
        "headers": [{"claim": claim, "header": name.lower()} for claim, name in sorted(jwt.headers.items())],
        "remove": sorted({spelling for name in jwt.headers.values() for spelling in spellings(name)}),
        "limited": list(limited),
    }
    return {
        CALLER_FILTER: _context({"kind": "jwt", "challenge": challenge}),
        PROOF_FILTER: _chain("envoy.filters.http.jwt_authn", _jwt_filter(jwt)),
        CLAIMS_FILTER: _context(context),
    }


def _jwt_filter(jwt: JwtSettings) -> JsonObject:
    source: JsonObject = {"local_jwks": {"inline_string": jwt.jwks}}
    if jwt.url:
        uri = {"uri": jwt.url, "cluster": cluster_of(jwt.url, jwt.ca), "timeout": "5s"}
        retries = {"num_retries": 2, "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}}
        source = {
            "remote_jwks": {
                "http_uri": uri,
                "cache_duration": f"{MAX_JWKS_SECONDS}s",
                "retry_policy": retries,
                "async_fetch": {"fast_listener": True, "failed_refetch_duration": "1s"},
            }
        }
    provider = {
        "issuer": jwt.issuer,
        "audiences": list(jwt.audiences),
        **source,
        "forward": jwt.forward,
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "require_expiration": True,
        "clock_skew_seconds": CLOCK_SKEW_SECONDS,
        "payload_in_metadata": "payload",
        "header_in_metadata": "header",
    }
    return typed(
        "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        providers={"issuer": provider},
        rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}],
    )


def _external(external: ExternalSettings) -> JsonObject:
    parts = urlsplit(external.url)

    def named(*headers: str) -> JsonObject:
        return {"patterns": [{"exact": name.lower(), "ignore_case": True} for name in headers]}

    uri = f"{parts.scheme}://{parts.netloc}"
    service: JsonObject = {
        "server_uri": {"uri": uri, "cluster": cluster_of(external.url), "timeout": f"{external.timeout}s"},
        "path_prefix": parts.path.rstrip("/"),
        "authorization_response": {
            "allowed_client_headers": named("www-authenticate", "location", "set-cookie"),
        },
    }
    if external.receive:
        service["authorization_response"]["allowed_upstream_headers"] = named(*external.receive)
    return typed(
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        http_service=service,
        allowed_headers=named("authorization", "cookie", *external.send),
        failure_mode_allow=False,
        status_on_error={"code": "ServiceUnavailable"},
        validate_mutations=True,
    )


def _port_of(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or {"http": 80, "https": 443}[parts.scheme]


def server_cluster(name: str, url: str, ca: str | None = None) -> JsonObject:
    """Return a cluster of a server that the gateway itself asks.

    Args:
        name: the cluster's.
        url: where it is, `http` or `https`.
        ca: the authority of its certificate, PEM; None: those that the image knows.
    """
    parts = urlsplit(url)
    host = str(parts.hostname)
    endpoint = {"address": {"socket_address": {"address": host, "port_value": _port_of(url)}}}
    trust: JsonObject = {"transport_socket": _tls(host, ca)} if parts.scheme == "https" else {}
    return typed(
        "envoy.config.cluster.v3.Cluster",
        name=name,
        cluster_type={"name": "envoy.cluster.dns", "typed_config": dns_cluster()},
        load_assignment={"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
        connect_timeout="3s",
        **trust,
    )


def _tls(host: str, ca: str | None) -> JsonObject:
    """Return how a server is known: by its name, from somebody who is trusted."""
    try:
        ip_address(host)
        kind, name = "IP_ADDRESS", {}
    except ValueError:
        kind, name = "DNS", {"sni": host}
    trusted: JsonObject = {"inline_string": ca} if ca else {"filename": IMAGE_CERTIFICATES}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed(
            "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            common_tls_context={
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "validation_context": {
                    "trusted_ca": trusted,
                    "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": host}}],
                },
            },
            **name,
        ),
    }
