"""Removes what a folder that is gone has left of a stack on an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slipway.flows.report import Report
from slipway.model.errors import ConfigError
from slipway.run import engine
from slipway.run.owner import FOLDER, HOST, Owner, Thing, is_gone, others_have
from slipway.run.things import empty_network


def remove(
    owner: Owner,
    stack: str,
    found: Sequence[Thing],
    report: Report,
    consent: Callable[[str], bool],
) -> int:
    """Remove what is not this owner's, where whoever made it is gone; return how many things that was.

    Raises:
        ConfigError: the folder that made one is there, or nobody can tell from here and nobody said yes.
    """
    others = [each for each in found if owner.judge(each.labels) != "own"]
    for each in others:
        here = each.labels.get(HOST) == owner.host and each.labels.get(FOLDER, "").startswith("/")
        if owner.judge(each.labels) == "copy" or (here and not is_gone(owner, each.labels)):
            raise others_have(owner, stack, each)
    unsure = sorted({_whose(each) for each in others if not is_gone(owner, each.labels)})
    if unsure and not consent(
        f"Whether {', '.join(unsure)} still needs what runs as `{stack}` cannot be told from here. Remove it?"
    ):
        raise ConfigError(
            f"what runs as `{stack}` is of {', '.join(unsure)}, and nobody said that it may go",
            remedy="Answer the question in a terminal, or add --yes.",
        )
    for kind in ("container", "network", "volume"):
        for each in others:
            if each.kind == kind:
                report.say(f"Removing the {kind} {each.name} of {_whose(each)}.")
                _remove(each)
    return len(others)


def _whose(each: Thing) -> str:
    folder = each.labels.get(FOLDER)
    return f"{folder} on {each.labels.get(HOST, '').partition('/')[0]}" if folder else "an earlier version"


def _remove(each: Thing) -> None:
    if each.kind == "container":
        engine.remove(each.id, name=each.name)
    elif each.kind == "volume":
        engine.drop_volume(each.name)
    else:
        with engine.speaking():
            network = engine.client().networks.get(each.id)
            empty_network(network, lambda _inside: False)
            network.remove()
