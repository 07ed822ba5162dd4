"""Declares what a stack runs on the target that its file names: one of Slipway's, or a team's own."""

from __future__ import annotations

import pulumi

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.own_targets import ENGINE_TARGETS, own_target_file, refuse_shadowing_target
from slipway._internal.model.stack_hosts import check_hosts
from slipway._internal.run.team_code import find_function, load_infra_module, team_errors
from slipway._internal.targets.services import Services, ServicesArgs

FUNCTION = "declare_services"
"""The function that a team's own target must define."""


def declare_services(args: ServicesArgs, opts: pulumi.ResourceOptions | None = None) -> Services:
    """Declare what a stack runs on the target that its file names: Slipway's, or a team's in infra/targets/NAME.py.

    Args:
        args: what runs.
        opts: options of the target's component; its `transforms` apply to everything declared in it.

    Raises:
        ConfigError: the target's settings are invalid, or infra/targets/NAME.py has no function `declare_services`.
    """
    name, root = args.stack.target, args.workspace.root
    refuse_shadowing_target(root, name)
    if name not in ENGINE_TARGETS:
        return _declare_own_target(args, opts)
    check_hosts(args.services, args.stack)
    # Import only the target that is used: its SDK takes most of a second.
    if name == "kubernetes":
        from slipway._internal.targets.kubernetes.services import KubernetesServices
        from slipway._internal.targets.kubernetes.unsupported_rules import refuse_unsupported_rules

        refuse_unsupported_rules(args.workspace, args.stack, args.services)
        cluster = KubernetesServices(args.stack.name, args, opts)
        return Services(cluster.urls, [cluster])
    from slipway._internal.targets.docker.services import DockerServices

    engine = DockerServices(args.stack.name, args, opts)
    return Services(engine.urls, [engine])


def _declare_own_target(args: ServicesArgs, opts: pulumi.ResourceOptions | None) -> Services:
    """Call the function of a team's own target."""
    file = own_target_file(args.workspace.root, args.stack.target)
    declare = find_function(load_infra_module(args.workspace.root, file), FUNCTION, file)
    with team_errors(args.workspace.root):
        services = declare(args, opts)
    if not isinstance(services, Services):
        raise ConfigError(
            f"{file}: {FUNCTION} returned {type(services).__name__}",
            remedy="Have it return slipway.pulumi.Services(urls, resources).",
        )
    return services
