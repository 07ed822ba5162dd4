"""A stack's routes are declared on Azure API Management with Pulumi's real SDK, recorded by its mocks."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pulumi
import pytest
from tests.azure_sdk import azure_sdk
from tests.unit.kong.stack_routes import STACK, load
from tests.unit.model.test_routes import SERVICE

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import Workspace
from slipway.pulumi import AzureApiManagement, AzureApiManagementArgs, ServicesArgs

API = f"""\
{SERVICE}[[routes]]
path = "/orders"
methods = ["GET"]
strip = true
[[routes]]
path = "/orders"
methods = ["POST"]
limit = {{ requests = 1, per = "second" }}
[[routes]]
path = "/keys"
methods = ["GET"]
auth.keys = {{ header = "X-Shop-Key", groups = ["partners"] }}
[[routes]]
path = "/all"
methods = ["GET"]
auth.keys = true
"""
WEB = f'{SERVICE}[[routes]]\npath = "/"\nmethods = ["GET"]\n'
BACKENDS = {"api": "https://api.internal.example", "web": "https://web.internal.example"}


class Recorded(pulumi.runtime.Mocks):
    """All resources by type and name, with their inputs."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        kind = args.typ.removeprefix("azure-native:apimanagement:")
        assert (kind, args.name) not in self.objects
        self.objects[kind, args.name] = args.inputs
        return f"{args.name}-id", {**args.inputs, "name": args.inputs.get(OWN_NAMES.get(kind, ""), args.name)}

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"nothing is asked for: {args.token}")

    def named(self, kind: str) -> dict[str, dict[str, Any]]:
        return {name: inputs for (found, name), inputs in self.objects.items() if found == kind}


OWN_NAMES = {
    "Api": "apiId",
    "ApiOperation": "operationId",
    "Product": "productId",
    "ApiManagementService": "serviceName",
}
"""Which input of a resource is its name in Azure."""


@pytest.fixture(autouse=True)
def sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the SDK on the path. It stays imported: Pulumi knows a package once in a process."""
    monkeypatch.syspath_prepend(str(azure_sdk()))


def declared(found: Workspace, **more: Any) -> Recorded:
    mocks = Recorded()
    pulumi.runtime.set_mocks(mocks, project="shop", stack="prod", preview=False)
    services = ServicesArgs(found, replace(STACK, protected=False), {})
    args = {"services": services, "resource_group": "rg", "service": "apim", "backends": BACKENDS, **more}

    @pulumi.runtime.test
    def program() -> None:
        AzureApiManagement("front", AzureApiManagementArgs(**args))

    program()
    return mocks


def test_each_path_is_an_api_and_each_method_an_operation_with_the_rules(tmp_path: Path) -> None:
    found = declared(load(tmp_path, API, WEB))
    apis = found.named("Api")
    assert {name: api["path"] for name, api in apis.items()} == {
        "api-1": "orders",
        "api-3": "keys",
        "api-4": "all",
        "web-1": "",
    }
    assert {name: api["subscriptionRequired"] for name, api in apis.items()} == {
        "api-1": False,
        "api-3": True,
        "api-4": True,
        "web-1": False,
    }
    assert apis["api-3"]["subscriptionKeyParameterNames"] == {"header": "X-Shop-Key", "query": "subscription-key"}
    operations = {
        (each["method"], each["urlTemplate"])
        for each in found.named("ApiOperation").values()
        if each["apiId"] == "api-1"
    }
    assert operations == {("GET", "/"), ("GET", "/*"), ("POST", "/"), ("POST", "/*")}
    by_method = found.named("ApiOperationPolicy")
    assert {name for name, each in by_method.items() if "rate-limit-by-key" in each["value"]} == {
        *("api-1-post-exact", "api-1-post-below")
    }
    assert by_method.keys() == {name for name in found.named("ApiOperation") if name.startswith("api-1-")}
    assert found.named("ApiPolicy").keys() == {"api-3", "api-4", "web-1"}, "one route alone has its path's rules"
    for policy in (*by_method.values(), *found.named("ApiPolicy").values()):
        assert (policy["format"], policy["policyId"]) == ("xml", "policy")
        root = ET.fromstring(policy["value"])
        backend = root.find("inbound/set-backend-service")
        assert backend is not None and backend.get("backend-id") in found.named("Backend")
    assert {name: each["url"] for name, each in found.named("Backend").items()} == BACKENDS
    whose = {
        (inputs["resourceGroupName"], inputs["serviceName"])
        for (kind, _), inputs in found.objects.items()
        if ":" not in kind
    }
    assert whose == {("rg", "apim")}
    assert not found.named("ApiManagementService")


def test_a_consumer_may_call_what_its_routes_say_and_azure_makes_its_keys(tmp_path: Path) -> None:
    found = declared(load(tmp_path, API, WEB))
    allowed: dict[str, set[str]] = {}
    for each in found.named("ProductApi").values():
        allowed.setdefault(each["productId"], set()).add(each["apiId"])
    assert allowed == {"consumer-bank": {"api-3", "api-4"}, "consumer-shop": {"api-4"}}
    subscriptions = found.named("Subscription")
    assert {name: (each["displayName"], each["scope"]) for name, each in subscriptions.items()} == {
        "consumer-bank": ("bank", "/products/consumer-bank"),
        "consumer-shop": ("shop", "/products/consumer-shop"),
    }
    assert not any({"primaryKey", "secondaryKey"} & each.keys() for each in subscriptions.values())


def test_a_service_that_is_not_there_is_made(tmp_path: Path) -> None:
    found = declared(load(tmp_path, API, WEB), publisher_email="team@example.com", down=("web",))
    [service] = found.named("ApiManagementService").values()
    assert (service["publisherEmail"], service["publisherName"], service["sku"]) == (
        "team@example.com",
        "shop",
        {"name": "Developer", "capacity": 1},
    )
    down = {name for name, each in found.named("ApiPolicy").items() if 'code="503"' in each["value"]}
    assert down == {"web-1"}


def test_what_cannot_be_had_stops_it_before_anything_is_declared(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"service.toml:5: `compression` cannot be had with Azure API Management"):
        declared(load(tmp_path, f'{SERVICE}[[routes]]\npath = "/a"\ncompression = true\n', WEB))
    with pytest.raises(ConfigError, match="is not told where web is called") as caught:
        declared(load(tmp_path, API, WEB), backends={"api": "https://a.example"})
    assert '"web": "https://…"' in caught.value.remedy


def test_a_missing_package_is_named_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pulumi_azure_native", "pulumi_azure_native.apimanagement"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match="pulumi-azure-native, which is not installed") as caught:
        declared(load(tmp_path, API, WEB))
    assert "slipway-workspace[azure]" in caught.value.remedy
