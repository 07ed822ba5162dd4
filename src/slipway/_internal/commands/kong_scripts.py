"""The Lua that Kong's pre-function and post-function run where no plugin of its own does what a rule means.

Each is a text of this module, with numbers and names in it that the model has checked: nothing that can end a text in
Lua stands in them, and `quote` refuses what could. They use Kong's plugin development kit alone, so that they also run
in its sandbox (`untrusted_lua = sandbox`, the default).
"""

from __future__ import annotations

import re

from slipway._internal.model.auth import CONSUMER_HEADER, spellings
from slipway._internal.model.routes import RedirectSettings

_PLAIN = re.compile(r"[A-Za-z0-9._~/:-]*")

_STORAGE = """\
local MOST = {seconds}
local headers = kong.response.get_headers()
local said = headers["cache-control"] or ""
if type(said) == "table" then
  said = table.concat(said, ", ")
end
local lowered = said:lower()
local age = tonumber(lowered:match("s%-maxage%s*=%s*\\"?(%d+)") or lowered:match("max%-age%s*=%s*\\"?(%d+)"))
local kept = lowered:find("private", 1, true) or lowered:find("no%-store") or lowered:find("no%-cache")
local added
if headers["set-cookie"] or (headers["expires"] and not age) then
  added = not kept and "private" or nil
elseif not kept then
  said = said:gsub(",?%s*[sS]%-[mM][aA][xX][aA][gG][eE]%s*=%s*\\"?%d+\\"?", ""):gsub("^,%s*", "")
  added = "s-maxage=" .. math.min(age or MOST, MOST)
end
if added then
  kong.response.set_header("Cache-Control", said == "" and added or said .. ", " .. added)
end
"""

_REDIRECTION = """\
local where = {path} .. kong.request.get_path():sub({length})
local query = kong.request.get_raw_query()
if where == "" then
  where = "/"
end
if query ~= "" then
  where = where .. "?" .. query
end
return kong.response.exit({status}, nil, {{["Location"] = {before} .. where}})
"""

_CALLER = """\
{cleared}
local consumer = kong.client.get_consumer()
if consumer then
  kong.service.request.set_header({header}, consumer.username)
end
"""


def storage_script(seconds: int) -> str:
    """Return what says how long an answer may be kept, before the proxy-cache plugin looks at it.

    That plugin obeys an answer's Cache-Control, and keeps what has none not at all, or obeys nothing; and it keeps
    cookies. So what the service says is shortened to `seconds`, and an answer for one caller is marked `private`.
    """
    return _STORAGE.format(seconds=int(seconds))


def redirection_script(path: str, redirect: RedirectSettings) -> str:
    """Return what answers with a redirect, which keeps the rest of the path and the query.

    Args:
        path: the route's.
        redirect: where it leads.
    """
    target = (redirect.path or path).rstrip("/")
    scheme = quote(f"{redirect.scheme}://") if redirect.scheme else 'kong.request.get_scheme() .. "://"'
    host = quote(redirect.host) if redirect.host else "kong.request.get_host()"
    return _REDIRECTION.format(
        path=quote(target),
        length=len(path.rstrip("/")) + 1,
        status=int(redirect.status),
        before=f"{scheme} .. {host}" if redirect.scheme or redirect.host else '""',
    )


def caller_script() -> str:
    """Return what tells the service who calls, and drops what a caller says of that itself."""
    cleared = "\n".join(f"kong.service.request.clear_header({quote(name)})" for name in _spellings())
    return _CALLER.format(cleared=cleared, header=quote(CONSUMER_HEADER))


def quote(text: str) -> str:
    """Return a text as Lua writes it.

    Raises:
        ValueError: it has signs that none of the model's paths, hosts and headers has.
    """
    if not _PLAIN.fullmatch(text.replace("_", "")):
        raise ValueError(f"{text!r} cannot stand in a script")
    return f'"{text}"'


def _spellings() -> list[str]:
    return spellings(CONSUMER_HEADER)
