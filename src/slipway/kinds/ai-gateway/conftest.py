"""Where the tests' fixtures are."""

pytest_plugins = ["tests.gateways"]
