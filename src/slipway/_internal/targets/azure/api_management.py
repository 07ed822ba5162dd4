"""A stack's routes on Azure API Management, as Pulumi's resources: for a team's own target in infra/targets/."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import groupby
from typing import Any

import pulumi

from slipway._internal.commands.azure_policy import QUERY_KEY, render_policy
from slipway._internal.commands.azure_rules import ALL_METHODS, AZURE, azure_refusals, check_azure_paths
from slipway._internal.model.auth import hidden_headers
from slipway._internal.model.engine_routes import EngineRoute, check_engine, engine_routes
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.stack import hosts_of_stack
from slipway._internal.targets.services import ServicesArgs

SDK = "pulumi_azure_native.apimanagement"
TEMPLATES = {"exact": "/", "below": "/*"}
"""The addresses of an API that a route takes: its path itself, and all below it."""


@dataclass(frozen=True)
class AzureApiManagementArgs:
    """What the gateway has.

    Attributes:
        services: what runs, as a target receives it.
        resource_group: the resource group of the API Management service.
        service: the API Management service's name; it exists, unless `publisher_email` is given.
        backends: where each service with a route is called, such as https://api.internal.example.
        publisher_email: whom Azure writes to about a service that is made here; None: it exists.
        publisher_name: who offers its APIs.
        sku: its tier.
        down: the services that are in maintenance: 503 for all their routes.
    """

    services: ServicesArgs
    resource_group: pulumi.Input[str]
    service: pulumi.Input[str]
    backends: Mapping[str, pulumi.Input[str]]
    publisher_email: str | None = None
    publisher_name: str = ""
    sku: str = "Developer"
    down: Collection[str] = field(default_factory=tuple)


class AzureApiManagement(pulumi.ComponentResource):
    """The routes of a stack's services on Azure API Management, with their rules as policies.

    Azure makes the keys of consumers: each has a subscription, and no key is in the program or the state. It needs the
    package pulumi-azure-native: `slipway-workspace[azure]` in requirements.in.

    Args:
        name: its name in the state.
        args: what the gateway has.
        opts: Pulumi's options.

    Attributes:
        apis: an API for each path, by the name of the first route that has it.
        subscriptions: each consumer's.

    Raises:
        ConfigError: a file has what Azure API Management cannot express, a service has no backend, or the package is
            not installed.
    """

    apis: dict[str, pulumi.Resource]
    subscriptions: dict[str, pulumi.Resource]

    def __init__(self, name: str, args: AzureApiManagementArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("slipway:azure:ApiManagement", name, None, opts)
        self._sdk = _import_sdk()
        self._args = args
        self._opts = pulumi.ResourceOptions(parent=self)
        routes = _checked_routes(args)
        self._hidden = hidden_headers([wanted.route.auth for wanted in routes if wanted.route.auth])
        self._where = self._declare_service()
        self._backends = [self._declare_backend(service) for service in sorted({each.service.name for each in routes})]
        self.apis, self.subscriptions = {}, {}
        callers: dict[str, list[str]] = {}
        for _, found in groupby(routes, key=lambda wanted: wanted.route.path):
            same = list(found)
            self.apis[same[0].name] = self._declare_api(same)
            for consumer in _consumers(args, same):
                callers.setdefault(consumer, []).append(same[0].name)
        for consumer, apis in sorted(callers.items()):
            self.subscriptions[consumer] = self._declare_consumer(consumer, apis)
        self.register_outputs({})

    def _declare_service(self) -> dict[str, Any]:
        """Return the names that every resource has, and declare the service itself if it is made here."""
        args = self._args
        where: dict[str, Any] = {"resource_group_name": args.resource_group, "service_name": args.service}
        if args.publisher_email is None:
            return where
        service = self._sdk.ApiManagementService(
            "service",
            **where,
            publisher_email=args.publisher_email,
            publisher_name=args.publisher_name or args.services.workspace.name,
            sku=self._sdk.ApiManagementServiceSkuPropertiesArgs(name=args.sku, capacity=1),
            opts=pulumi.ResourceOptions(parent=self, protect=args.services.stack.protected),
        )
        return {**where, "service_name": service.name}

    def _declare_backend(self, service: str) -> pulumi.Resource:
        backend: pulumi.Resource = self._sdk.Backend(
            service,
            **self._where,
            backend_id=service,
            protocol=self._sdk.BackendProtocol.HTTP,
            url=self._args.backends[service],
            opts=self._opts,
        )
        return backend

    def _declare_api(self, routes: Sequence[EngineRoute]) -> pulumi.Resource:
        """Declare what answers below a path, with the rules of its route, or of each route for its methods."""
        first = routes[0]
        keys = first.route.auth and first.route.auth.key_settings
        names: dict[str, Any] = {}
        if keys:
            header = self._sdk.SubscriptionKeyParameterNamesContractArgs(header=keys.header, query=QUERY_KEY)
            names = {"subscription_key_parameter_names": header}
        api = self._sdk.Api(
            first.name,
            **self._where,
            api_id=first.name,
            display_name=f"{first.service.name} {first.route.path}",
            path=first.route.path[1:],
            protocols=[self._sdk.Protocol.HTTPS],
            subscription_required=bool(keys),
            **names,
            opts=self._opts,
        )
        named = {**self._where, "api_id": api.name}
        operations = [
            (wanted, self._declare_operation(first.name, named, *operation, opts=pulumi.ResourceOptions(parent=api)))
            for wanted in routes
            for operation in _operations(wanted)
        ]
        if len(routes) == 1:
            self._sdk.ApiPolicy(first.name, **named, **self._policy(first), opts=self._policy_opts(api))
            operations = []
        for wanted, operation in operations:
            self._sdk.ApiOperationPolicy(
                operation.pulumi_resource_name,
                **named,
                operation_id=operation.name,
                **self._policy(wanted),
                opts=self._policy_opts(operation),
            )
        declared: pulumi.Resource = api
        return declared

    def _declare_operation(
        self, api: str, named: dict[str, Any], method: str, place: str, *, opts: pulumi.ResourceOptions
    ) -> Any:
        """Declare that an API takes requests with a method, at its path or below."""
        operation = f"{method.lower()}-{place}"
        return self._sdk.ApiOperation(
            f"{api}-{operation}",
            **named,
            operation_id=operation,
            display_name=f"{method} {TEMPLATES[place]}",
            method=method,
            url_template=TEMPLATES[place],
            opts=opts,
        )

    def _policy(self, wanted: EngineRoute) -> dict[str, Any]:
        """Return the inputs of a resource that holds a route's rules."""
        is_down = wanted.service.name in self._args.down
        return {
            "policy_id": "policy",
            "format": self._sdk.PolicyContentFormat.XML,
            "value": render_policy(wanted, self._hidden, is_down=is_down),
        }

    def _policy_opts(self, parent: pulumi.Resource) -> pulumi.ResourceOptions:
        """Return the options of a policy: the backends that it names have to be there."""
        return pulumi.ResourceOptions(parent=parent, depends_on=self._backends)

    def _declare_consumer(self, consumer: str, apis: Sequence[str]) -> pulumi.Resource:
        """Declare what a consumer may call, and its subscription, whose keys Azure makes."""
        name = f"consumer-{consumer}"
        product = self._sdk.Product(
            name,
            **self._where,
            product_id=name,
            display_name=consumer,
            subscription_required=True,
            approval_required=True,
            state=self._sdk.ProductState.PUBLISHED,
            opts=self._opts,
        )
        for api in apis:
            self._sdk.ProductApi(
                f"{name}-{api}",
                **self._where,
                product_id=product.name,
                api_id=api,
                opts=pulumi.ResourceOptions(parent=product, depends_on=[self.apis[api]]),
            )
        subscription: pulumi.Resource = self._sdk.Subscription(
            name,
            **self._where,
            sid=name,
            display_name=consumer,
            scope=pulumi.Output.concat("/products/", product.name),
            state=self._sdk.SubscriptionState.ACTIVE,
            opts=pulumi.ResourceOptions(parent=product, additional_secret_outputs=["primaryKey", "secondaryKey"]),
        )
        return subscription


def _import_sdk() -> Any:
    """Return the part of Pulumi's SDK for Azure that is needed; all of it takes 150 MB, so it is an extra."""
    try:
        return import_module(SDK)
    except ImportError as error:
        raise ConfigError(
            f"{AZURE} needs the package pulumi-azure-native, which is not installed",
            remedy="Write slipway-workspace[azure] in requirements.in, make requirements.txt anew as its first line "
            "says, and run `invoke setup`.",
        ) from error


def _checked_routes(args: AzureApiManagementArgs) -> list[EngineRoute]:
    """Return the routes, all of which can be had."""
    services, root = args.services, args.services.workspace.root
    routes = engine_routes(services.services, hosts_of_stack(services.stack))
    check_engine(routes, azure_refusals, AZURE, root)
    check_azure_paths(routes, root)
    for wanted in routes:
        if wanted.service.name not in args.backends:
            raise ConfigError(
                f"{wanted.service.folder / 'service.toml'}: {AZURE} is not told where {wanted.service.name} is called",
                remedy=f'Give AzureApiManagementArgs a backend: backends={{"{wanted.service.name}": "https://…"}}.',
            )
    return routes


def _operations(wanted: EngineRoute) -> Iterator[tuple[str, str]]:
    for method in wanted.route.methods or ALL_METHODS:
        for place in TEMPLATES:
            yield method, place


def _consumers(args: AzureApiManagementArgs, routes: Sequence[EngineRoute]) -> list[str]:
    """Return who may call the routes of a path by keys."""
    consumers = args.services.workspace.settings.consumers
    auths = [wanted.route.auth for wanted in routes if wanted.route.auth and wanted.route.auth.key_settings]
    return sorted({name for auth in auths for name in auth.allowed_consumers(consumers)})
