"""A workspace whose routes have all that Kong can express, and one key that it cannot."""

from __future__ import annotations

from pathlib import Path

from tests.unit.model.test_routes import SERVICE

from slipway._internal.model import workspace
from slipway._internal.model.stack import Stack

API = f"""\
{SERVICE}[[routes]]
path = "/orders"
methods = ["GET", "HEAD", "OPTIONS"]
strip = true
body = "2g"
allow = ["10.0.0.0/8", "2001:db8::/32"]
deny = ["10.0.0.7"]
limit = {{ requests = 100, per = "minute" }}
cors = {{ origins = ["https://app.example.com", "https://*.example.org"], expose = ["X-Total"], credentials = true }}
cache = {{ seconds = 60, vary = ["Accept"] }}
request-headers = {{ set = {{ X-Tier = "gold" }}, remove = ["Cookie"] }}
response-headers = {{ set = {{ X-Frame-Options = "DENY" }}, remove = ["X-Powered-By"] }}
[[routes]]
path = "/v1/a.b"
rewrite = "/internal/v2"
limit = {{ requests = 9, per = "day", by = "route" }}
[[routes]]
path = "/old"
redirect = {{ path = "/new", scheme = "https", status = 301 }}
"""
CALLERS = """\
[[routes]]
path = "/keys"
auth.keys = { header = "X-Shop-Key", consumers = ["shop"] }
limit = { requests = 5, per = "second", by = "consumer" }
[[routes]]
path = "/team"
auth.basic = true
"""
FILE = Path("infra/Pulumi.prod.yaml")
STACK = Stack("prod", FILE, "external", "kubernetes", True, parent="infra/kong", host="a.example")
WEB = f'{SERVICE}route = "/"\n'


def load(root: Path, api: str = API, web: str = WEB) -> workspace.Workspace:
    """Return a workspace with two services and two consumers."""
    consumers = '[consumers.shop]\n[consumers.bank]\ngroups = ["partners"]\n'
    (root / "workspace.toml").write_text(f'name = "shop"\nregistry = "127.0.0.1:5000"\n{consumers}')
    for name, text in (("api", api), ("web", web)):
        folder = root / "services" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "service.toml").write_text(text)
        (folder / "Dockerfile").write_text("FROM scratch\n")
    return workspace.load_workspace(root)
