"""The gateway's code. Its model, which a team writes, is in `ai/`."""

import os

VERSION = "1.0.0"

# LiteLLM reads both while it is imported: take prices from the package, not from the net, and read no .env file.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
