"""Refuses bad answers before cookiecutter writes a file: with the reason, and an example of a good answer."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cookiecutter.exceptions import FailedHookException
from jinja2 import Environment
from jinja2.ext import Extension

_FOLDER = Path(__file__).resolve().parent
# The rules are the engine's own; the module imports nothing, so it can be read where it stands.
_RULES = _FOLDER / "src" / "slipway" / "_internal" / "model" / "names.py"
_BUCKET = re.compile(r"(s3|gs|azblob)://[a-z0-9][a-z0-9._/-]*(\?[\w.=&:/%-]+)?")
_BACKENDS = {"local": "file://../.slipway/state", "service": "https://api.pulumi.com"}
_SHOWN = 60


class Answers(Extension):
    """Gives the template three filters (checks all answers; `state` answer → URL; answers → `.cruft.json`) and the
    folder that it is in."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.filters["refuse_bad_answers"] = refuse_bad_answers
        environment.filters["backend_url"] = backend_url
        environment.filters["template_record"] = template_record
        environment.globals["template_folder"] = _quoted(str(_FOLDER))


def refuse_bad_answers(answers: Mapping[str, Any]) -> str:
    """Return `yes` when every answer can be used.

    Raises:
        FailedHookException: one can't; cookiecutter shows its text, writes nothing and exits 1.
    """
    problems = [problem for question in answers if (problem := _problem(question, answers))]
    if problems:
        raise FailedHookException("\n".join(["Nothing was generated:", *problems]))
    return "yes"


def backend_url(state: str) -> str:
    """Return the address that Pulumi knows a `state` answer by."""
    return _BACKENDS.get(state, state)


def template_record(answers: Mapping[str, Any]) -> str:
    """Return the text of `.cruft.json`: which template, commit and answers a workspace comes from."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # the engine's sources go into the wheel
    sys.path.insert(0, str(_FOLDER / "src"))
    try:
        from slipway._internal.scaffold.template_record import generated_record
    finally:
        sys.path.remove(str(_FOLDER / "src"))
        sys.dont_write_bytecode = before
    return generated_record(answers, _FOLDER)


def _quoted(text: str) -> str:
    """Return a text as it stands between the double quotes of a Python literal."""
    return repr(text)[1:-1].replace('"', '\\"')


def _problem(question: str, answers: Mapping[str, Any]) -> str | None:
    """Return what is wrong with one answer, or None."""
    answer = answers[question]
    choices = answers["_choices"].get(question)
    shown = repr(answer if len(str(answer)) <= _SHOWN else f"{str(answer)[:_SHOWN]}…")
    names = _names()
    if choices and answer not in choices:
        return f"  {question}: {shown} is not one of {', '.join(choices)}; for example: {question}={choices[0]}"
    if question == "project_slug" and not names.DNS_LABEL.fullmatch(answer):
        rule = "lower-case letters, digits and dashes, a letter first, at most 40 characters"
        return f"  project_slug: {shown} can't name the workspace: {rule}; for example: team-shop"
    if question == "registry" and not names.REGISTRY.fullmatch(answer):
        rule = "host[:port][/path] in lower case, without scheme or spaces, port 1 to 65535"
        return f"  registry: {shown} is not a registry address: {rule}; for example: 127.0.0.1:5000 or ghcr.io/acme"
    if question == "gateway_port" and not (re.fullmatch(r"[0-9]{1,5}", answer) and 1 <= int(answer) <= 65535):
        return f"  gateway_port: {shown} is not a port: a whole number from 1 to 65535; for example: 8080"
    if question == "state" and answer not in _BACKENDS and not _BUCKET.fullmatch(answer):
        return f"  state: {shown} is neither local, service nor a bucket's URL; for example: s3://team-state"
    return None


def _names() -> Any:
    spec = importlib.util.spec_from_file_location("slipway_names", _RULES)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
