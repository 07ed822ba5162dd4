"""The workspace whose routes the Gateway's tests ask for: an API that says what it got, and rules of all kinds."""

from __future__ import annotations

import http.client
import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.workspace import Workspace
from tests.kubernetes.everyday import HERE
from tests.tokens import AUDIENCE, ISSUER, Issuer

from slipway._internal.toolchain.cluster.layout import NODE_ADDRESS

HOST, RULED_HOST, OTHER_HOST = "shop.example", "rules.example", "other.example"
SERVICE_FILE, PROGRAM = "services/api/service.toml", "services/api/app/main.py"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ECHO = f'''

from fastapi import Request, Response  # noqa: E402

TIMES: dict[str, int] = {{}}
WORD = "first"


@app.api_route("/{{path:path}}", methods={list(METHODS)!r}, include_in_schema=False)
async def echo(path: str, request: Request) -> Response:
    """Say what came; some paths do something else."""
    import json

    said = {{"word": WORD, "method": request.method, "path": f"/{{path}}", "headers": dict(request.headers)}}
    said["size"] = len(await request.body())
    if path.startswith("permits"):
        good = request.headers.get("authorization") == "let me in"
        return Response(status_code=200 if good else 401, headers={{"X-User": "ann", "X-Other": "no"}})
    if path.startswith("flaky"):
        TIMES[str(request.url)] = TIMES.get(str(request.url), 0) + 1
        said["times"] = TIMES[str(request.url)]
        if said["times"] == 1:
            return Response(status_code=503)
    if path.startswith("text"):
        said["text"] = "all work and no play " * 200
    return Response(json.dumps(said), headers={{"X-Powered-By": "tests"}}, media_type="application/json")
'''
PLAIN_ROUTES = f"""
[[routes]]
path = "/api"

[[routes]]
path = "/echo"

[[routes]]
path = "/strip"
strip = true

[[routes]]
path = "/rewrite"
rewrite = "/internal/v2"

[[routes]]
path = "/reading"
methods = ["GET", "HEAD"]

[[routes]]
path = "/headers"
request-headers = {{ set = {{ X-Tier = "gold" }}, remove = ["Cookie"] }}
response-headers = {{ set = {{ X-Frame-Options = "DENY" }}, remove = ["X-Powered-By"] }}

[[routes]]
path = "/old"
redirect = {{ host = "www.example.com", path = "/new", status = 301 }}

[[routes]]
path = "/echo"
host = "{OTHER_HOST}"
rewrite = "/of-the-other-host"
"""
TOKENS = f'auth.jwt = {{ issuer = "{ISSUER}", audiences = ["{AUDIENCE}"], jwks = "issuer-keys.json"'
RULES = f"""
[[routes]]
path = "/pages"
methods = ["GET", "PUT"]
cors = {{ origins = ["https://app.example"], headers = ["X-Token"], expose = ["X-Total"], credentials = true }}
rewrite = "/text"

[[routes]]
path = "/tokens"
{TOKENS}, headers = {{ sub = "X-User" }} }}

[[routes]]
path = "/claims"
{TOKENS}, claims = {{ scope = "orders:write", roles = ["staff", "night"] }}, forward = true }}

[[routes]]
path = "/limited"
limit = {{ requests = 3, per = "hour" }}

[[routes]]
path = "/limited-tokens"
limit = {{ requests = 2, per = "hour", by = "claim:sub" }}
{TOKENS} }}

[[routes]]
path = "/allowed"
allow = ["{NODE_ADDRESS}", "10.212.0.0/16"]

[[routes]]
path = "/not-allowed"
allow = ["192.0.2.0/24"]

[[routes]]
path = "/denied"
deny = ["{NODE_ADDRESS}/32"]

[[routes]]
path = "/flaky"
methods = ["GET"]
retries = {{ times = 2, on = ["503"] }}

[[routes]]
path = "/small"
body = "1k"

[[routes]]
path = "/asked"
auth.external = {{ url = "http://api:8000/permits" }}

[[routes]]
path = "/no-change"
websockets = false
"""
SETTINGS = """\
  slipway:gateway: envoy-gateway
  slipway:gateway-policies: envoy-gateway
  slipway:host: {host}
"""


@dataclass(frozen=True)
class Reply:
    """What a Gateway answered; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def got(self) -> dict[str, Any]:
        """What the API says it got."""
        assert self.status == 200, (self.status, self.text)
        return dict(json.loads(self.text))


@dataclass(frozen=True)
class Entrance:
    """A Gateway's address on the node."""

    address: str

    def ask(
        self,
        path: str,
        method: str = "GET",
        *,
        host: str = HOST,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply:
        """Send a request as it is written."""
        connection = http.client.HTTPConnection(self.address, 80, timeout=20)
        try:
            connection.request(method, path, body=body, headers={"Host": host, **(headers or {})})
            reply = connection.getresponse()
            text = reply.read().decode("utf-8", "replace")
            return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, text)
        finally:
            connection.close()

    def answers(self, path: str, status: int = 200, **more: Any) -> bool:
        """Whether a path is answered so by now."""
        try:
            return self.ask(path, **more).status == status
        except OSError:
            return False


def write_world(workspace: Workspace, issuer: Issuer) -> None:
    """Let the API say what it gets, and have it reached by Envoy Gateway with rules of all kinds."""
    program = workspace.root / PROGRAM
    program.write_text(program.read_text(encoding="utf-8") + textwrap.dedent(ECHO), encoding="utf-8")
    (workspace.root / Path(SERVICE_FILE).parent / "issuer-keys.json").write_text(issuer.jwks(), encoding="utf-8")
    workspace.edit(SERVICE_FILE, 'route = "/api"\n', "")
    file = workspace.root / SERVICE_FILE
    ruled = RULES.replace("[[routes]]\n", f'[[routes]]\nhost = "{RULED_HOST}"\n')
    file.write_text(f"{file.read_text(encoding='utf-8')}\n{PLAIN_ROUTES}{ruled}", encoding="utf-8")
    [stack_file] = (workspace.root / "infra").glob("Pulumi.staging.yaml")
    stack_file.write_text(stack_file.read_text(encoding="utf-8") + SETTINGS.format(host=HOST), encoding="utf-8")


def deploy(workspace: Workspace) -> None:
    """Deploy what the files say. Its URLs have hosts that this machine cannot find, so it ends with saying so."""
    ran = workspace.invoke("up", *HERE, "--yes")
    assert "staging is deployed, but not everything answers" in ran.stderr, ran.output
