"""A stack's settings live in its Pulumi file; the environment may override the mode for one run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from slipway._internal.model import stack
from slipway._internal.model.errors import ConfigError

PLAIN = "config:\n  slipway:images: inline\n  slipway:protected: false\n"


def write(root: Path, text: str = PLAIN, name: str = "dev") -> Path:
    path = root / "infra" / f"Pulumi.{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def refusal(root: Path, text: str) -> ConfigError:
    write(root, text)
    with pytest.raises(ConfigError) as caught:
        stack.load(root, "dev", {})
    assert caught.value.exit_code == 2
    assert caught.value.remedy
    return caught.value


def test_settings_are_read_from_the_stack_file(tmp_path: Path) -> None:
    settings = "  slipway:images: hybrid\n  slipway:protected: true\n  slipway:port: 8081\n"
    write(tmp_path, f"config:\n{settings}  api:TOKEN:\n    secure: x\n")
    found = stack.load(tmp_path, "dev", {})
    assert (found.mode, found.target, found.protected, found.port) == ("hybrid", "docker", True, 8081)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Pulumi.dev.yaml: `slipway:images` is not set"),
        ("# nothing\n", "`slipway:images` is not set"),
        ("config:\n", "`slipway:images` is not set"),
        ("config: ~\n", "`slipway:images` is not set"),
        ("config: {}\n", "`slipway:images` is not set"),
        ("config:\n  slipway:images: external\n", "`slipway:protected` is not set"),
        ("config:\n  slipway:protected: true\n", "`slipway:images` is not set"),
        ("confg:\n  slipway:protected: true\n", "Pulumi.dev.yaml:1: unknown key `confg`"),
        (f"{PLAIN}Config:\n  slipway:protected: true\n", "Pulumi.dev.yaml:4: unknown key `Config`"),
        ("config: abc\n", "Pulumi.dev.yaml:1: `config` is not a table"),
        ("config: [1]\n", "`config` is not a table"),
        ('config: ""\n', "`config` is not a table"),
        ("[1]\n", "Pulumi.dev.yaml:1: this is not a table"),
        ("abc\n", "this is not a table"),
        (f"{PLAIN}  slipway:protected: true\n", "4: `slipway:protected` is written twice, first on line 3"),
        (f"{PLAIN}config:\n  slipway:protected: true\n", "4: `config` is written twice"),
        (f"a: &b 1\n{PLAIN}", "Pulumi.dev.yaml:1: an anchor or alias"),
        ("config: &c\n  slipway:images: external\n", "Pulumi.dev.yaml:1: an anchor or alias"),
        ("config:\n  x:y: &no false\n  slipway:protected: *no\n", "Pulumi.dev.yaml:2: an anchor or alias"),
        ("config:\n  <<: {slipway:protected: false}\n", "Pulumi.dev.yaml:2: this key is not a plain name"),
        ("config:\n  ? [a]\n  : b\n", "this key is not a plain name"),
        ("config:\n  slipway:protected: !!bool true\n", "Pulumi.dev.yaml:2: the tag `tag:yaml.org,2002:bool`"),
        ("config:\n\tslipway:protected: true\n", "Pulumi.dev.yaml:2: this is not valid YAML"),
        (f"{PLAIN}---\nconfig:\n  slipway:protected: true\n", "Pulumi.dev.yaml:4: this is not valid YAML"),
        ("config: {", "this is not valid YAML"),
        (f"config: {'[' * 5000}", "nested too deeply"),
        ("config:\n  slipway:protected: tr\x07ue\n", "this is not valid YAML"),
        ("config:\n  slipway:\n    protected: true\n", "Pulumi.dev.yaml:2: unknown key `slipway`"),
        ("config:\n  slipway: {protected: true}\n", "unknown key `slipway`"),
        ("config:\n  protected: true\n", "unknown key `protected`"),
        ("config:\n  slipwya:protected: true\n", "unknown key `slipwya:protected`"),
        ("config:\n  Slipway:protected: true\n", "unknown key `Slipway:protected`"),
        ("config:\n  SLIPWAY:protected: true\n", "unknown key `SLIPWAY:protected`"),
        ("config:\n  slip-way:protected: true\n", "unknown key `slip-way:protected`"),
        ('config:\n  " slipway:protected": true\n', "unknown key ` slipway:protected`"),
        ("config:\n  slipway:config:protected: true\n", "unknown key `slipway:config:protected`"),
        ("config:\n  slipway:Protected: true\n", "unknown key `slipway:Protected`"),
        ("config:\n  slipway:protected:\n    secure: x\n", "`slipway:protected` is not a single word"),
        ("config:\n  slipway:protected: |\n    true\n", "`slipway:protected` is not a single word"),
        *[
            (f"config:\n  slipway:protected: {value}\n", f"Pulumi.dev.yaml:2: `slipway:protected` is {shown}")
            for value, shown in (
                ("yes", "'yes'"),
                ("on", "'on'"),
                ("True", "'True'"),
                ('"True"', "'True'"),
                ("TRUE", "'TRUE'"),
                ("1", "'1'"),
                ("0", "'0'"),
                ("", "''"),
                ("~", "'~'"),
                ('"true "', "'true '"),
                ("fa", "'fa'"),
            )
        ],
        ("config:\n  slipway:port: true\n", "`slipway:port` is 'true'"),
        ("config:\n  slipway:port: 0o17\n", "`slipway:port` is '0o17'"),
        ("config:\n  slipway:port: 8_080\n", "`slipway:port` is '8_080'"),
        (f"config:\n  slipway:port: {'9' * 5000}\n", "(5000 letters)"),
    ],
)
def test_a_file_that_could_mean_something_else_is_refused_and_never_not_protected(
    tmp_path: Path, text: str, said: str
) -> None:
    assert said in refusal(tmp_path, text).message


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("confg:\n", "`config`"),
        ("config:\n  slipwya:protcted: true\n", "`slipway:protected`"),
        ("config:\n  images: inline\n", "`slipway:images`"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_nearest_that_is_known(tmp_path: Path, text: str, near: str) -> None:
    assert f"Did you mean {near}?" in refusal(tmp_path, text).remedy


def test_what_pulumi_itself_writes_is_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        "secretsprovider: passphrase\nencryptionsalt: v1:x=:v1:y:z==\nencryptedkey: abc=\nenvironment:\n  - shop/prod\n"
        'config:\n  slipway:images: external\n  slipway:protected: "true"\n  aws:region: eu-west-1\n'
        "  api:TOKEN:\n    secure: v1:x\n  build:pip:\n    secure: v1:y\n  demo:list:\n    - a\n    - b: c\n",
    )
    found = stack.load(tmp_path, "dev", {})
    assert (found.mode, found.protected) == ("external", True)


def test_a_services_secrets_stay_its_own_however_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "services" / "slipways").mkdir(parents=True)
    write(tmp_path, f"{PLAIN}  slipways:TOKEN:\n    secure: x\n")
    assert stack.load(tmp_path, "dev", {}).protected is False


@pytest.mark.parametrize("letter", ["\x85", "\u2028", "\u2029", "\u202e", "\u2066"])
def test_a_setting_that_looks_like_a_comment_is_refused(tmp_path: Path, letter: str) -> None:
    text = f"config:\n  slipway:images: inline\n  # Protected:{letter}  slipway:protected: false\n"
    assert ":3: " in refusal(tmp_path, text).message


def test_a_name_that_no_file_can_have_is_no_stack(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ConfigError) as caught:
        stack.load(tmp_path, "x" * 5000, {})
    assert len(caught.value.message) < 200


def test_a_link_to_another_stacks_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "infra" / "Pulumi.prod.yaml").symlink_to("Pulumi.dev.yaml")
    with pytest.raises(ConfigError, match=r"is a link to Pulumi\.dev\.yaml"):
        stack.load(tmp_path, "prod", {})


@pytest.mark.parametrize("suffix", [".yml", ".json"])
def test_a_second_file_of_a_stack_is_refused(tmp_path: Path, suffix: str) -> None:
    write(tmp_path).with_suffix(suffix).write_text(PLAIN)
    with pytest.raises(ConfigError, match=rf"two files: .*Pulumi\.dev\.yaml and Pulumi\.dev\{suffix}"):
        stack.load(tmp_path, "dev", {})


def test_a_file_that_pulumi_does_not_read_is_no_stacks(tmp_path: Path) -> None:
    write(tmp_path).rename(tmp_path / "infra" / "Pulumi.dev.yml")
    with pytest.raises(ConfigError, match=r"there is no stack `dev`.*\(Pulumi.dev.yml is not read\)"):
        stack.load(tmp_path, "dev", {})


@pytest.mark.parametrize("name", ["Prod", "PROD", "../infra/prod", "", "."])
def test_a_stack_is_named_as_its_file_is(tmp_path: Path, name: str) -> None:
    write(tmp_path, name="prod")
    with pytest.raises(ConfigError, match="there is no stack") as caught:
        stack.load(tmp_path, name, {})
    assert "prod" in caught.value.remedy


def test_a_stacks_name_may_have_dots(tmp_path: Path) -> None:
    write(tmp_path, name="prod.eu")
    assert stack.names(tmp_path) == ("prod.eu",)
    assert stack.load(tmp_path, "prod.eu", {}).name == "prod.eu"


def test_values_that_pulumi_wrote_as_strings_are_understood(tmp_path: Path) -> None:
    write(tmp_path, 'config:\n  slipway:images: external\n  slipway:protected: "true"\n  slipway:port: "8081"\n')
    found = stack.load(tmp_path, "dev", {})
    assert found.protected is True
    assert found.port == 8081


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("slipway:imags: inline", "Pulumi.dev.yaml:2: unknown key `slipway:imags`"),
        ("slipway:images: outline", "Pulumi.dev.yaml:2: `slipway:images` is 'outline'"),
        ("slipway:target: moon", "`slipway:target` is 'moon'"),
        ("slipway:port: 99999", "`slipway:port` is '99999'"),
        ("slipway:context: prod", "Pulumi.dev.yaml:2: `slipway:context` is a setting of stacks on Kubernetes"),
        ("slipway:admission: false", "`slipway:admission` is a setting of stacks on Kubernetes"),
    ],
)
def test_a_wrong_setting_is_named_with_its_line_and_what_it_may_be(tmp_path: Path, line: str, said: str) -> None:
    write(tmp_path, f"config:\n  {line}\n")
    with pytest.raises(ConfigError) as caught:
        stack.load(tmp_path, "dev", {})
    assert said in caught.value.message
    assert caught.value.remedy


def test_an_unknown_stack_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    write(tmp_path, name="prod")
    with pytest.raises(ConfigError) as caught:
        stack.load(tmp_path, "dev", {})
    assert "prod" in caught.value.remedy


def test_the_environment_overrides_the_mode_and_says_so(tmp_path: Path) -> None:
    write(tmp_path)
    found = stack.load(tmp_path, "dev", {"SLIPWAY_IMAGES": "external"})
    assert (found.mode, found.overridden) == ("external", True)


def test_an_override_with_a_wrong_mode_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ConfigError, match="SLIPWAY_IMAGES"):
        stack.load(tmp_path, "dev", {"SLIPWAY_IMAGES": "sideways"})


@pytest.mark.parametrize(("text", "environment"), [("inline", {}), ("external", {"SLIPWAY_IMAGES": "inline"})])
def test_a_protected_stack_refuses_inline_from_wherever_it_comes(
    tmp_path: Path, text: str, environment: dict[str, str]
) -> None:
    write(tmp_path, f"config:\n  slipway:images: {text}\n  slipway:protected: true\n")
    with pytest.raises(ConfigError, match="protected"):
        stack.load(tmp_path, "dev", environment)


@pytest.mark.parametrize(
    "text",
    [
        "config:\n  # why\n  slipway:images: inline # here\n  api:TOKEN:\n    secure: x\n  slipway:protected: false\n",
        'encryptionsalt: v1:x\nconfig:\n  "slipway:images": "inline"\n  slipway:protected: "false"\n',
        "config: {slipway:protected: false, slipway:images: inline}\n",
    ],
)
def test_switching_the_mode_changes_one_line_and_keeps_the_rest(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    stack.write_mode(stack.load(tmp_path, "dev", {}), "external")
    after = path.read_text()
    assert stack.load(tmp_path, "dev", {}).mode == "external"
    assert after == re.sub(r"(\"?)inline\1", "external", text)


def kubernetes(root: Path, *lines: str) -> stack.Stack:
    given = ["config:", "slipway:target: kubernetes", *lines, "slipway:images: inline", "slipway:protected: false", ""]
    write(root, "\n  ".join(given))
    return stack.load(root, "dev", {})


def test_a_stack_on_kubernetes_has_settings_of_its_own(tmp_path: Path) -> None:
    found = kubernetes(
        tmp_path,
        "slipway:kubeconfig: ci/kube.yaml",
        'slipway:context: "007"',
        "slipway:namespace: shop",
        "slipway:gateway: nginx",
        "slipway:host: shop.example.com",
        "slipway:tls: shop-tls",
        "slipway:admission: false",
    )
    assert (found.target, found.context, found.namespace) == ("kubernetes", "007", "shop")
    assert found.kubeconfig == str(tmp_path / "ci" / "kube.yaml")
    assert (found.gateway, found.host, found.tls, found.admission) == ("nginx", "shop.example.com", "shop-tls", False)
    assert (found.parent, found.ingress) == (None, None)


def test_the_kubeconfig_may_be_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert kubernetes(tmp_path, "slipway:kubeconfig: ~/.kube/prod").kubeconfig == "/home/me/.kube/prod"


def test_without_settings_a_stack_on_kubernetes_exposes_nothing_and_keeps_its_admission_policy(tmp_path: Path) -> None:
    found = kubernetes(tmp_path)
    assert (found.kubeconfig, found.context, found.gateway, found.parent, found.ingress) == (None,) * 5
    assert found.admission is True


def test_a_namespace_is_named_after_workspace_and_stack_or_as_the_stack_says(tmp_path: Path) -> None:
    assert stack.namespace_of("shop", kubernetes(tmp_path)) == "shop-dev"
    assert stack.namespace_of("shop", kubernetes(tmp_path, "slipway:namespace: other")) == "other"


def test_a_stack_whose_name_gives_no_namespace_is_told_to_name_one(tmp_path: Path) -> None:
    write(tmp_path, f"{PLAIN}  slipway:target: kubernetes\n", "Dev_1")
    with pytest.raises(ConfigError) as caught:
        stack.namespace_of("shop", stack.load(tmp_path, "Dev_1", {}))
    assert "'shop-Dev_1'" in caught.value.message
    assert "slipway:namespace" in caught.value.remedy


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["slipway:namespace: Shop"], "Pulumi.dev.yaml:3: `slipway:namespace` is 'Shop'"),
        ([f"slipway:namespace: {'a' * 64}"], "`slipway:namespace` is"),
        (["slipway:parent: public"], "`slipway:parent` is 'public'"),
        (["slipway:parent: a/b/c"], "`slipway:parent` is"),
        (["slipway:gateway: My Class"], "`slipway:gateway` is"),
        (["slipway:gateway: g", "slipway:host: https://shop.example"], "4: `slipway:host` is"),
        (["slipway:gateway: g", "slipway:host: 10.0.0.1"], "`slipway:host` is"),
        (["slipway:gateway: g", "slipway:ingress: i"], "4: `slipway:gateway` and `slipway:ingress` are both set"),
        (["slipway:gateway: g", "slipway:parent: a/b"], "`slipway:gateway` and `slipway:parent` are both set"),
        (["slipway:host: shop.example"], "3: `slipway:host` is set, but nothing is exposed under it"),
        (["slipway:tls: cert"], "`slipway:tls` is set, but nothing is exposed"),
        (["slipway:ingress-from: internet"], "`slipway:ingress-from` is 'internet'"),
        (["slipway:egress-to: 10.0.0.1/8"], "`slipway:egress-to` is '10.0.0.1/8'"),
        (['slipway:egress-to: ","'], "`slipway:egress-to` is ','"),
        (["slipway:admission: maybe"], "`slipway:admission` is 'maybe'"),
    ],
)
def test_a_wrong_setting_of_kubernetes_is_named_with_its_line(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        kubernetes(tmp_path, *lines)
    assert said in caught.value.message
    assert caught.value.remedy


def test_who_may_talk_with_services_is_a_list(tmp_path: Path) -> None:
    found = kubernetes(tmp_path, "slipway:ingress-from: gateways, 10.1.0.0/16", "slipway:egress-to: nowhere")
    assert (found.ingress_from, found.egress_to) == (("gateways", "10.1.0.0/16"), ("nowhere",))
    assert (kubernetes(tmp_path).ingress_from, kubernetes(tmp_path).egress_to) == (("anywhere",), ("internet",))
