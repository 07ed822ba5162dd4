"""A stack's settings live in its Pulumi file; the environment may override the mode for one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.model import stack
from slipway.model.errors import ConfigError


def write(root: Path, text: str, name: str = "dev") -> Path:
    path = root / "infra" / f"Pulumi.{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_settings_are_read_from_the_stack_file(tmp_path: Path) -> None:
    settings = "  slipway:images: hybrid\n  slipway:protected: true\n  slipway:port: 8081\n"
    write(tmp_path, f"config:\n{settings}  api:TOKEN:\n    secure: x\n")
    found = stack.load(tmp_path, "dev", {})
    assert (found.images, found.target, found.protected, found.port) == ("hybrid", "docker", True, 8081)


def test_an_empty_file_means_inline_on_docker(tmp_path: Path) -> None:
    write(tmp_path, "")
    assert stack.load(tmp_path, "dev", {}).images == "inline"


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
        ("slipway:port: 99999", "`slipway:port` is 99999"),
        ("slipway:context: prod", "Pulumi.dev.yaml:2: `slipway:context` is a setting of stacks on Kubernetes"),
        ("slipway:admission: false", "`slipway:admission` is a setting of stacks on Kubernetes"),
    ],
)
def test_a_wrong_setting_is_named_with_its_line_and_what_it_may_be(tmp_path: Path, line: str, said: str) -> None:
    write(tmp_path, f"config:\n  {line}\n")
    with pytest.raises(ConfigError) as caught:
        stack.load(tmp_path, "dev", {})
    assert said in caught.value.what
    assert caught.value.remedy


def test_an_unknown_stack_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    write(tmp_path, "", "prod")
    with pytest.raises(ConfigError) as caught:
        stack.load(tmp_path, "dev", {})
    assert "prod" in caught.value.remedy


def test_the_environment_overrides_the_mode_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, "config:\n  slipway:images: inline\n")
    found = stack.load(tmp_path, "dev", {"SLIPWAY_IMAGES": "external"})
    assert (found.images, found.overridden) == ("external", True)


def test_an_override_with_a_wrong_mode_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "")
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
        "config:\n  # why\n  slipway:images: inline # here\n  api:TOKEN:\n    secure: x\n",
        "encryptionsalt: v1:x\nconfig:\n  a:b: c\n",
        "encryptionsalt: v1:x\n",
        "",
    ],
)
def test_switching_the_mode_changes_one_line_and_keeps_the_rest(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    stack.write_mode(stack.load(tmp_path, "dev", {}), "external")
    after = path.read_text()
    assert stack.load(tmp_path, "dev", {}).images == "external"
    assert all(line in after for line in text.splitlines() if "slipway:images" not in line)


def kubernetes(root: Path, *lines: str) -> stack.Stack:
    write(root, "\n  ".join(["config:", "slipway:target: kubernetes", *lines, ""]))
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
    write(tmp_path, "config:\n  slipway:target: kubernetes\n", "Dev_1")
    with pytest.raises(ConfigError) as caught:
        stack.namespace_of("shop", stack.load(tmp_path, "Dev_1", {}))
    assert "'shop-Dev_1'" in caught.value.what
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
    assert said in caught.value.what
    assert caught.value.remedy


def test_who_may_talk_with_services_is_a_list(tmp_path: Path) -> None:
    found = kubernetes(tmp_path, "slipway:ingress-from: gateways, 10.1.0.0/16", "slipway:egress-to: nowhere")
    assert (found.ingress_from, found.egress_to) == (("gateways", "10.1.0.0/16"), ("nowhere",))
    assert (kubernetes(tmp_path).ingress_from, kubernetes(tmp_path).egress_to) == (("anywhere",), ("internet",))
