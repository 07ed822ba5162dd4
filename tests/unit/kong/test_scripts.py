"""Kong's scripts do what they say in LuaJIT, which Kong runs them in: here it is the one that is in Envoy.

Envoy runs a script once when it judges a configuration, so that no server is needed. Kong's development kit is stood
in for by a table of the same names.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.envoy_program import envoy_program

from slipway._internal.commands.kong_scripts import caller_script, redirection_script, storage_script
from slipway._internal.model.routes import RedirectSettings
from slipway._internal.run.process import run

KIT = """\
local sent, cleared = {}, {}
local kong = {
  response = {
    get_headers = function() return HEADERS end,
    set_header = function(name, value) sent[name] = value end,
    exit = function(status, _, headers) sent.exit = status .. " " .. headers.Location end,
  },
  request = {
    get_path = function() return PATH end,
    get_raw_query = function() return QUERY end,
    get_host = function() return "h.example" end,
    get_scheme = function() return "http" end,
  },
  service = {request = {
    clear_header = function(name) cleared[#cleared + 1] = name end,
    set_header = function(name, value) sent[name] = value end,
  }},
  client = {get_consumer = function() return CONSUMER end},
}
local null
local function script()
"""


def run_scripts(folder: Path, *cases: tuple[str, str, str]) -> str:
    """Run scripts, each with Lua that says what Kong knows and what must be true afterwards; return what is wrong."""
    text = "".join(
        f"do\n{before}\n{KIT}{script}\nend\nscript()\n"
        f"assert({wanted}, tostring(sent['Cache-Control'] or sent.exit))\nend\n"
        for script, before, wanted in cases
    )
    named = "type.googleapis.com/envoy.extensions.filters"
    lua = {"@type": f"{named}.http.lua.v3.Lua", "default_source_code": {"inline_string": text}}
    router = {"@type": f"{named}.http.router.v3.Router"}
    manager = {
        "@type": f"{named}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "route_config": {},
        "http_filters": [
            {"name": "lua", "typed_config": lua},
            {"name": "router", "typed_config": router},
        ],
    }
    listener = {
        "name": "x",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    file = folder / "envoy.json"
    file.write_text(json.dumps({"static_resources": {"listeners": [listener]}}))
    got = run([envoy_program(), "--mode", "validate", "--config-path", file, "--disable-hot-restart"])
    return "" if got.code == 0 else got.output


KEPT = {
    "": "s-maxage=60",
    '["cache-control"] = "max-age=5"': "max-age=5, s-maxage=5",
    '["cache-control"] = "max-age=600, public"': "max-age=600, public, s-maxage=60",
    '["cache-control"] = "S-MaxAge=600, max-age=1"': "max-age=1, s-maxage=60",
    '["cache-control"] = "s-maxage=60"': "s-maxage=60",
    '["cache-control"] = "s-maxage=0"': "s-maxage=0",
    '["cache-control"] = "No-Store"': None,
    '["cache-control"] = {"public", "private"}': None,
    '["set-cookie"] = "a=b"': "private",
    '["set-cookie"] = "a=b", ["cache-control"] = "public"': "public, private",
    '["set-cookie"] = "a=b", ["cache-control"] = "no-store"': None,
    'expires = "x"': "private",
    'expires = "x", ["cache-control"] = "max-age=9"': "max-age=9, s-maxage=9",
}
"""What the service's headers become of an answer that may be kept a minute; None where they are left."""
REDIRECTED = [
    ("/old", RedirectSettings(path="/new"), "/old/a%2Fb", "x=1", "302 /new/a%2Fb?x=1"),
    ("/old", RedirectSettings(path="/"), "/old", "", "302 /"),
    ("/old", RedirectSettings(path="/new", status=301), "/old", "", "301 /new"),
    ("/old", RedirectSettings(scheme="https"), "/old/b", "", "302 https://h.example/old/b"),
    ("/", RedirectSettings(host="www.example"), "/a", "q", "302 http://www.example/a?q"),
    ("/", RedirectSettings(path="/b"), "/a", "", "302 /b/a"),
]


def test_an_answer_is_kept_no_longer_than_the_rule_and_the_service_say(tmp_path: Path) -> None:
    cases = [
        (storage_script(60), f"HEADERS = {{{headers}}}", f"sent['Cache-Control'] == {json.dumps(said)}")
        for headers, said in KEPT.items()
    ]
    assert not run_scripts(tmp_path, *cases)


def test_a_redirect_keeps_what_its_rule_does_not_name(tmp_path: Path) -> None:
    cases = [
        (redirection_script(route, redirect), f'PATH, QUERY = "{path}", "{query}"', f'sent.exit == "{location}"')
        for route, redirect, path, query, location in REDIRECTED
    ]
    assert not run_scripts(tmp_path, *cases)


def test_only_kong_says_who_calls(tmp_path: Path) -> None:
    cleared = 'table.concat(cleared, " ") == "x-consumer x_consumer"'
    cases = [
        (caller_script(), f"CONSUMER = {consumer}", f'sent["X-Consumer"] == {told} and {cleared}')
        for consumer, told in (('{username = "shop"}', '"shop"'), ("nil", "nil"))
    ]
    assert not run_scripts(tmp_path, *cases)


def test_a_script_that_does_something_else_is_found(tmp_path: Path) -> None:
    assert "script load error" in run_scripts(tmp_path, (caller_script(), "CONSUMER = nil", "false"))
