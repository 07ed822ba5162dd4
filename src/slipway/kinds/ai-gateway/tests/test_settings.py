"""What stands in ai/ is right, and what would be wrong is refused by file, key and remedy."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.files import ConfigError
from app.main import ROUTE, build
from app.settings import ADMIN_KEY, FOLDER, IN_MEMORY, load, needed_secrets
from app.upstream import check_models

SERVICE = tomllib.loads((FOLDER.parent / "service.toml").read_text(encoding="utf-8"))


def test_this_services_own_files_are_right() -> None:
    check_models(load())


def test_this_service_gets_the_secrets_that_its_files_name() -> None:
    urls = {f"{name.upper().replace('-', '_')}_URL" for name in SERVICE.get("needs", ())}
    given = {*SERVICE.get("secrets", ()), *SERVICE.get("generated", ()), *urls}
    missing = [
        f"{file.name}: {key}: name {name} in `{'needs' if key == 'counters' else 'secrets'}` of service.toml"
        for name, file, key in needed_secrets(load())
        if name not in given
    ]
    assert not missing, "\n".join(missing)


def test_this_service_counts_where_all_of_its_replicas_do() -> None:
    most = max(SERVICE.get("scale", {}).get(key, 1) for key in ("min", "max"))
    assert load().counters != IN_MEMORY or most == 1, 'several replicas need counters = "VALKEY_URL" in ai/tenants.toml'


def test_this_service_starts() -> None:
    with TestClient(
        build(read_secret=lambda name: "" if name == ADMIN_KEY else pytest.skip(f"needs {name}"))
    ) as client:
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get(f"{ROUTE}/v1/models").status_code == 401


MODELS = """
[models.chat]
providers = [{ model = "openai/gpt-4.1-mini", key = "OPENAI_API_KEY" }]
fallbacks = ["local"]
[models.local]
providers = [{ model = "openai/local", base-url = "http://llama:8080/v1", price = { input = 0 } }]
[models.vectors]
mode = "embedding"
providers = [{ model = "openai/text-embedding-3-small", key = "OPENAI_API_KEY" }]
"""
TENANTS = """
counters = "VALKEY_URL"
[tenants.shop]
models = ["chat"]
budget-per-day = 5
"""
PROMPT = """+++
model = "chat"
version = 1
+++
Say hello.
"""
SECRETS = {
    "OPENAI_API_KEY": "x" * 20,
    "TENANT_KEYS": f"shop sha256:{'0' * 64}",
    "VALKEY_URL": "redis://:x@127.0.0.1:1/0",
    "ADMIN_KEY": "y",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(FOLDER / "guards.toml", tmp_path)
    (tmp_path / "prompts").mkdir()
    for name, text in (("models.toml", MODELS), ("tenants.toml", TENANTS), ("prompts/hello.md", PROMPT)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def reader(secrets: dict[str, str]) -> Callable[[str], str]:
    def read(name: str) -> str:
        if name not in secrets:
            raise LookupError(name)
        return secrets[name]

    return read


def test_what_is_right_is_read(folder: Path) -> None:
    settings = load(folder)
    assert settings.chain("chat") == ["chat", "local"]
    build(settings, reader(SECRETS))


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("models.toml", "fallbacks", "fallback", "models.chat: there is no key 'fallback'; the keys are: providers"),
        ("models.toml", '["local"]', '["locale"]', "models.chat.fallbacks: there is no model 'locale'"),
        ("models.toml", '["local"]', '["vectors"]', "models.chat.fallbacks: vectors has another mode"),
        ("models.toml", ', key = "OPENAI_API_KEY" }]\nfall', " }]\nfall", "neither a key nor a base-url"),
        ("models.toml", '"OPENAI_API_KEY"', '"sk-plain"', "models.chat.providers.0.key"),
        ("models.toml", "openai/gpt", "opneai/gpt", "LiteLLM knows no provider 'opneai'"),
        ("models.toml", "gpt-4.1-mini", "gpt-99", "the price of openai/gpt-99 is not known"),
        ("models.toml", ", price = { input = 0 }", "", "models.local.providers.0.price"),
        ("models.toml", "price = { input = 0 }", "price = { input = -1 }", "models.local.providers.0.price.input"),
        ("models.toml", 'fallbacks = ["local"]', "timeout = true", "models.chat.timeout"),
        ("models.toml", "http://llama", "ftp://llama", "models.local.providers.0.base-url"),
        ("models.toml", "[models.chat]", "[models.Chat]", "models.Chat"),
        ("models.toml", "providers = [{", "providers = [{{", "not TOML"),
        ("tenants.toml", '["chat"]', '["chats"]', "tenants.shop.models: there is no model 'chats'"),
        ("tenants.toml", "budget-per-day", "budget", "there is no key 'budget'; the keys are: models, requests-per-"),
        ("tenants.toml", "= 5", "= nan", "tenants.shop.budget-per-day"),
        ("tenants.toml", '"VALKEY_URL"', '"memory"', "a budget cannot be kept in memory"),
        ("guards.toml", '"refuse"  ', '"drop"  ', "keys"),
        ("prompts/hello.md", '"chat"', '"chats"', "model: there is no model 'chats'"),
        ("prompts/hello.md", "1\n+", "1\nparameters.max-output = 2000\n+", "chat gives up to 1024 tokens"),
        ("prompts/hello.md", '"chat"', '"vectors"', "vectors does not chat"),
    ],
)
def test_what_is_wrong_is_refused(folder: Path, name: str, old: str, new: str, said: str) -> None:
    file = folder / name
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        build(load(folder), reader(SECRETS))
    assert file.name in str(error.value).split(": ")[0]
    assert said in str(error.value) and "\n  remedy  " in str(error.value)
    assert "sk-plain" not in str(error.value)


def test_a_file_that_is_missing_is_named(folder: Path) -> None:
    (folder / "guards.toml").unlink()
    with pytest.raises(ConfigError, match=r"guards.toml: it cannot be read"):
        load(folder)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "TENANT_KEYS", "VALKEY_URL"])
@pytest.mark.parametrize("value", [None, " \n"])
def test_a_secret_that_is_missing_stops_the_start(folder: Path, name: str, value: str | None) -> None:
    given = {key: text for key, text in SECRETS.items() if key != name} | ({} if value is None else {name: value})
    with pytest.raises(ConfigError, match=f"the secret {name} is (missing|empty)") as error:
        build(load(folder), reader(given))
    assert "service.toml" in str(error.value)


def test_keys_of_nobody_and_plain_keys_stop_the_start(folder: Path) -> None:
    for value, said in (("shop sk-plain", "line 1"), (f"ship sha256:{'0' * 64}", "has keys of: ship")):
        with pytest.raises(ConfigError, match=said) as error:
            build(load(folder), reader({**SECRETS, "TENANT_KEYS": value}))
        assert "sk-plain" not in str(error.value)
