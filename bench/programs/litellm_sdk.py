"""LiteLLM's SDK in an API of a few lines, as its documentation shows at first: `PORT UPSTREAM` are the arguments."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from litellm import Router

port, upstream = sys.argv[1:]
params = {"model": "openai/good", "api_base": f"{upstream}/v1", "api_key": "none"}
router = Router(model_list=[{"model_name": "good", "litellm_params": params}])
app = FastAPI()


@app.post("/v1/chat/completions")
async def chat(request: dict[str, Any]) -> Any:
    """Answer a conversation."""
    return await router.acompletion(**request)


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that requests are answered."""
    return {"status": "ok"}


uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error")
