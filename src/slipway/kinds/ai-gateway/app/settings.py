"""What a team says in ai/: its models, tenants and guards, read and checked against each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from app.files import ConfigError, Name, Names, SecretName, Table, read_toml
from app.guards import Guards
from app.prompts import Prompt, read_prompts

FOLDER = Path(__file__).parents[1] / "ai"
MODELS, TENANTS, GUARDS = (FOLDER / name for name in ("models.toml", "tenants.toml", "guards.toml"))
IN_MEMORY = "memory"
TENANT_KEYS = "TENANT_KEYS"
"""The secret with the hashes of the tenants' keys: see app/keys.py."""
ADMIN_KEY = "ADMIN_KEY"
"""The secret that shows the usage. `generated` in service.toml brings it."""

_OWN_IDENTITY = ("bedrock/", "sagemaker/", "vertex_ai/")
"""Providers that know a caller by the cloud's own identity of the container, and need no key."""

Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""In dollars, as the providers' prices are."""


class Price(Table):
    """What a provider takes for a million tokens."""

    input: Money
    output: Money = 0


class Provider(Table):
    """One provider's model that answers for a name."""

    model: str = Field(pattern=r"^[a-z0-9_-]+/\S+$")
    key: SecretName | None = None
    base_url: str | None = Field(default=None, pattern=r"^https?://[^\s/?#@]+[^\s?#@]*$")
    weight: int = Field(default=1, ge=1, le=1000)
    price: Price | None = None


class Model(Table):
    """A name that callers use, and who answers for it."""

    providers: Annotated[tuple[Provider, ...], Field(strict=False, min_length=1)]
    mode: Literal["chat", "embedding"] = "chat"
    fallbacks: Names = ()
    timeout: float = Field(default=60, gt=0, le=3600)
    retries: int = Field(default=2, ge=0, le=10)
    max_output: int = Field(default=1024, ge=1, le=1_000_000)


class Models(Table):
    """models.toml."""

    models: dict[Name, Model]


class Tenant(Table):
    """Who may call which models, and how much."""

    models: Names
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    budget_per_day: Money | None = None
    budget_per_month: Money | None = None
    log_content: bool = False


class Tenants(Table):
    """tenants.toml."""

    counters: str = Field(default=IN_MEMORY, pattern=r"^(memory|[A-Z][A-Z0-9_]*_URL)$")
    tenants: dict[Name, Tenant] = {}


class Settings(NamedTuple):
    """All of ai/."""

    models: dict[str, Model]
    tenants: dict[str, Tenant]
    counters: str
    guards: Guards
    prompts: dict[str, Prompt]

    def chain(self, name: str) -> list[str]:
        """Return the models that may answer for a name: itself, then its fallbacks and theirs."""
        found = [name]
        for each in found:
            found.extend(other for other in self.models[each].fallbacks if other not in found)
        return found


def load(folder: Path = FOLDER) -> Settings:
    """Read and check all of ai/.

    Raises:
        ConfigError: at the first thing that is wrong.
    """
    tenants = read_toml(folder / TENANTS.name, Tenants)
    settings = Settings(
        read_toml(folder / MODELS.name, Models).models,
        tenants.tenants,
        tenants.counters,
        read_toml(folder / GUARDS.name, Guards),
        read_prompts(folder / "prompts"),
    )
    _check_models(settings, folder / MODELS.name)
    _check_tenants(settings, folder / TENANTS.name)
    for prompt in settings.prompts.values():
        _refuse_unknown_model(settings, folder / "prompts" / f"{prompt.name}.md", "model", prompt.model)
        if settings.models[prompt.model].mode != "chat":
            raise ConfigError(prompt.file, "model", f"{prompt.model} does not chat", "Name a model that does.")
        most = settings.models[prompt.model].max_output
        if (prompt.front.parameters.max_output or 0) > most:
            raise ConfigError(
                prompt.file, "parameters.max-output", f"the model {prompt.model} gives up to {most} tokens",
                "Ask for fewer, or raise max-output in models.toml.",
            )  # fmt: skip
    return settings


def _check_models(settings: Settings, file: Path) -> None:
    for name, model in settings.models.items():
        for number, provider in enumerate(model.providers):
            if not (provider.key or provider.base_url or provider.model.startswith(_OWN_IDENTITY)):
                raise ConfigError(
                    file, f"models.{name}.providers.{number}", "it has neither a key nor a base-url",
                    'Write key = "NAME", and that name in `secrets` of service.toml.',
                )  # fmt: skip
        for other in model.fallbacks:
            _refuse_unknown_model(settings, file, f"models.{name}.fallbacks", other)
            if settings.models[other].mode != model.mode:
                raise ConfigError(
                    file, f"models.{name}.fallbacks", f"{other} has another mode", f"Name models for {model.mode}."
                )


def _check_tenants(settings: Settings, file: Path) -> None:
    for name, tenant in settings.tenants.items():
        for model in tenant.models:
            _refuse_unknown_model(settings, file, f"tenants.{name}.models", model)
        budget = tenant.budget_per_day if tenant.budget_per_month is None else tenant.budget_per_month
        if budget is not None and settings.counters == IN_MEMORY:
            raise ConfigError(
                file, f"tenants.{name}", "a budget cannot be kept in memory: each restart would begin it anew",
                'Add a service of the kind valkey, name it in `needs`, and write counters = "VALKEY_URL".',
            )  # fmt: skip


def _refuse_unknown_model(settings: Settings, file: Path, key: str, name: str) -> None:
    if name not in settings.models:
        known = ", ".join(sorted(settings.models)) or "none"
        raise ConfigError(file, key, f"there is no model {name!r}", f"Name one of models.toml: {known}.")


def needed_secrets(settings: Settings) -> Iterator[tuple[str, Path, str]]:
    """Yield each secret that the files name, with the file and the key that do."""
    for name, model in settings.models.items():
        for number, provider in enumerate(model.providers):
            if provider.key:
                yield provider.key, MODELS, f"models.{name}.providers.{number}.key"
    if settings.guards.moderation and settings.guards.moderation.key:
        yield settings.guards.moderation.key, GUARDS, "moderation.key"
    if settings.tenants:
        yield TENANT_KEYS, TENANTS, "tenants"
    if settings.counters != IN_MEMORY:
        yield settings.counters, TENANTS, "counters"
