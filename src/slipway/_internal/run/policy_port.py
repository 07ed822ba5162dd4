"""The program that Pulumi starts for a policy pack: the policies answer elsewhere already, and it says at which port.

Nothing else is imported: each deploy waits for it.
"""

import os
import sys

PORT = "SLIPWAY_POLICY_PORT"


def main() -> None:
    """Print the port, as Pulumi's plugins do."""
    port = os.environ.get(PORT)
    if not port:
        sys.exit(f"{PORT} is not set: Invoke sets it for the deploys that it runs.")
    print(port, flush=True)


if __name__ == "__main__":
    main()
