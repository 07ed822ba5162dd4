"""Slipway's gateway for language models, as its image starts it: `PORT UPSTREAM KEY_HASH` are the arguments.

It runs in the kind's own folder, with a tenant that has every limit, and counts in memory.
"""

from __future__ import annotations

import sys

import uvicorn

from app.counters import MemoryCounters
from app.gateway import Gateway
from app.guards import Guards
from app.keys import parse_keys
from app.main import make_app
from app.settings import IN_MEMORY, Models, Settings, Tenants
from app.upstream import Upstream

port, upstream, digest = sys.argv[1:]
provider = {"model": "openai/good", "base-url": f"{upstream}/v1", "price": {"input": 1.0, "output": 2.0}}
models = Models.model_validate({"models": {"good": {"providers": [provider]}}}).models
limits = dict.fromkeys(("requests-per-minute", "tokens-per-minute"), 10**9)
budgets = {"budget-per-day": 1e6, "budget-per-month": 1e6}
tenants = Tenants.model_validate({"tenants": {"bench": {"models": ["good"], **limits, **budgets}}}).tenants
settings = Settings(models, tenants, IN_MEMORY, Guards(), {})
keys = parse_keys(f"bench sha256:{digest}")
gateway = Gateway(settings, keys, MemoryCounters(), Upstream(settings, lambda _: ""))
uvicorn.run(make_app(gateway, ""), host="127.0.0.1", port=int(port), log_config=None, access_log=False)
