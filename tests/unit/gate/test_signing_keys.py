"""A key pair is made once, whole or not at all; what signs is trusted, and its password is nowhere to be read."""

from __future__ import annotations

import base64
import hashlib
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import admission, signing_keys
from slipway._internal.gate.signing_keys import Signer, ensure_key_pair, is_first_pair_due, load_signer
from slipway._internal.model import trust
from slipway._internal.model.errors import ConfigError, EvidenceError, GateRefused, SlipwayError
from slipway._internal.model.workspace import load_workspace
from slipway._internal.run.process import ProcessResult

IDENTITY = """\
[[identity]]
issuer = "https://token.actions.githubusercontent.com"
subject = "https://github.com/acme/shop/.github/workflows/ship.yaml@refs/heads/main"
"""


def pem(der: bytes) -> str:
    return f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(der).decode()}\n-----END PUBLIC KEY-----\n"


class Cosign:
    """A cosign whose private keys are texts with their password: it opens one with that alone."""

    def __init__(self) -> None:
        self.ran: list[tuple[Sequence[str], Mapping[str, str | None], str | None]] = []
        self.made = 0
        self.fails = False

    def run(self, argv: Sequence[str], *, env: Mapping[str, str | None], stdin: str | None, **_: Any) -> ProcessResult:
        self.ran.append((argv, env, stdin))
        if self.fails:
            return ProcessResult(1, "cosign broke\n", "")
        if "generate-key-pair" in argv:
            self.made += 1
            prefix = Path(argv[-1])
            der = bytes([0x30, 3, 2, 1, self.made])
            prefix.with_suffix(".key").write_text(f"{stdin}\n{pem(der)}")
            prefix.with_suffix(".pub").write_text(pem(der))
            return ProcessResult(0, "", "")
        key = argv[-1]
        if "://" in key:
            return ProcessResult(0, pem(bytes([0x30, 3, 2, 1, 99])), "")
        password, _, public = Path(key).read_text().partition("\n")
        if password != stdin:
            return ProcessResult(1, "Error: decrypt: wrong password\n", "")
        return ProcessResult(0, public, "")


@pytest.fixture
def cosign(monkeypatch: pytest.MonkeyPatch) -> Cosign:
    found = Cosign()
    monkeypatch.setattr(signing_keys, "run", found.run)
    return found


def shop(root: Path, signing: str = "") -> RunContext:
    root.joinpath("workspace.toml").write_text(f'name = "shop"\nregistry = "127.0.0.1:5000"\n{signing}')
    return RunContext(load_workspace(root), root / "bin", {"COSIGN_PASSWORD": "the user's"})


def signer_of(context: RunContext, environment: Mapping[str, str] | None = None) -> Signer:
    return load_signer(context, trust.load(context.workspace.root), environment or {})


def private_files(root: Path) -> dict[str, int]:
    folder = root / ".slipway" / "signing"
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_a_pair_is_made_once_with_a_password_of_its_own_and_is_trusted(tmp_path: Path, cosign: Cosign) -> None:
    context = shop(tmp_path)
    files = ensure_key_pair(context, {})
    assert files and files.private == tmp_path / ".slipway" / "signing" / "cosign.key"
    assert private_files(tmp_path) == {"cosign.key": 0o600, "password": 0o600}
    der = base64.b64decode(files.public.read_text().splitlines()[1])
    assert files.public.name == f"shop-{hashlib.sha256(der).hexdigest()[:8]}.pub"
    before = files.private.read_bytes()
    assert ensure_key_pair(context, {}) is None and files.private.read_bytes() == before
    signer = signer_of(context)
    assert signer.key == str(files.private) and len(str(signer.password)) > 32
    assert str(signer.password) not in repr(signer)


def test_passwords_come_by_standard_input_and_the_users_own_settings_do_not_count(
    tmp_path: Path, cosign: Cosign
) -> None:
    context = shop(tmp_path)
    ensure_key_pair(context, {})
    password = signer_of(context).password
    for argv, env, stdin in cosign.ran:
        assert stdin == password and str(password) not in " ".join(map(str, argv))
        assert env["COSIGN_PASSWORD"] is None and env["COSIGN_REPOSITORY"] is None


def test_a_run_that_was_killed_with_a_whole_pair_is_continued_with_that_pair(
    tmp_path: Path, cosign: Cosign, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = shop(tmp_path)

    def killed(_workspace: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(signing_keys, "_install_pair", killed)
        with pytest.raises(KeyboardInterrupt):
            ensure_key_pair(context, {})
    assert is_first_pair_due(context.workspace, trust.load(tmp_path), {})
    assert ensure_key_pair(context, {}) and cosign.made == 1
    assert signer_of(context).password


def test_a_cosign_that_fails_leaves_no_key(tmp_path: Path, cosign: Cosign) -> None:
    cosign.fails = True
    with pytest.raises(SlipwayError, match="cosign made no key pair") as failed:
        ensure_key_pair(shop(tmp_path), {})
    assert "cosign broke" in failed.value.detail
    assert not (tmp_path / ".slipway" / "signing").exists() and not (tmp_path / "policy").exists()


def test_a_key_that_is_not_trusted_signs_nothing_until_it_is(tmp_path: Path, cosign: Cosign) -> None:
    context = shop(tmp_path)
    files = ensure_key_pair(context, {})
    assert files
    files.public.unlink()
    with pytest.raises(GateRefused, match="is not among policy/keys") as refused:
        signer_of(context)
    assert "invoke keys" in refused.value.remedy
    again = ensure_key_pair(context, {})
    assert again and again.private is None and again.public == files.public


def test_a_wrong_a_missing_and_an_absent_key_are_told_apart(tmp_path: Path, cosign: Cosign) -> None:
    context = shop(tmp_path)
    with pytest.raises(GateRefused, match=r"cosign\.key is missing"):
        signer_of(context)
    ensure_key_pair(context, {})
    password = tmp_path / ".slipway" / "signing" / "password"
    password.write_text("hunter22")
    with pytest.raises(GateRefused, match="its password is another one") as refused:
        signer_of(context)
    assert str(password) in refused.value.remedy
    password.unlink()
    with pytest.raises(GateRefused, match=r"the password of .* is missing") as refused:
        signer_of(context)
    assert "cannot be recovered" in refused.value.remedy


def test_the_variable_comes_before_the_file(tmp_path: Path, cosign: Cosign) -> None:
    context = shop(tmp_path, '[signing]\npassword = { env = "KEY_PASSWORD", file = "secret" }\n')
    ensure_key_pair(context, {"KEY_PASSWORD": "of the variable"})
    assert not (tmp_path / "secret").exists()
    (tmp_path / "secret").write_text("of the file\n")
    assert signer_of(context, {"KEY_PASSWORD": "of the variable"}).password == "of the variable"
    with pytest.raises(GateRefused, match="another one"):
        signer_of(context)


def test_without_a_place_for_a_password_no_key_is_made(tmp_path: Path, cosign: Cosign) -> None:
    with pytest.raises(GateRefused, match="no password for the new key: the environment variable KEY_PASSWORD"):
        ensure_key_pair(shop(tmp_path, '[signing]\npassword = { env = "KEY_PASSWORD" }\n'), {})
    assert cosign.made == 0


def test_a_key_that_is_kept_elsewhere_is_trusted_and_takes_no_password(tmp_path: Path, cosign: Cosign) -> None:
    context = shop(tmp_path, '[signing]\nkey = "awskms:///alias/ship"\n')
    files = ensure_key_pair(context, {})
    assert files and files.private is None and cosign.made == 0
    assert signer_of(context) == Signer("awskms:///alias/ship")
    assert ensure_key_pair(context, {}) is None


def test_keyless_needs_a_trusted_identity_and_has_no_pair(tmp_path: Path, cosign: Cosign) -> None:
    context = shop(tmp_path, '[signing]\nmode = "keyless"\n')
    with pytest.raises(ConfigError, match="which has no keys"):
        ensure_key_pair(context, {})
    with pytest.raises(GateRefused, match="policy/ trusts no identity"):
        signer_of(context)
    path = trust.identities_path(tmp_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(IDENTITY)
    assert signer_of(context) == Signer(None)
    assert cosign.ran == []


def test_ship_makes_the_first_pair_for_a_person_and_never_in_ci_or_beside_another(
    tmp_path: Path, cosign: Cosign
) -> None:
    context = shop(tmp_path)
    nobody = trust.load(tmp_path)
    assert is_first_pair_due(context.workspace, nobody, {})
    assert not is_first_pair_due(context.workspace, nobody, {"CI": "true"})
    remote = shop(tmp_path, '[signing]\nkey = "awskms:///alias/ship"\n')
    assert not is_first_pair_due(remote.workspace, nobody, {})
    context = shop(tmp_path)
    ensure_key_pair(context, {})
    assert not is_first_pair_due(context.workspace, nobody, {}), "a key is there that nobody trusts: that is looked at"
    assert not is_first_pair_due(context.workspace, trust.load(tmp_path), {})


# What a cluster is to ask, which is made of the same trust


@pytest.fixture
def trusted(tmp_path: Path, cosign: Cosign) -> RunContext:
    context = shop(tmp_path)
    ensure_key_pair(context, {})
    infra = tmp_path / "infra"
    infra.mkdir()
    own = "  slipway:registry: ghcr.io/acme\n"
    for name, target, more in (("dev", "docker", ""), ("prod", "kubernetes", own)):
        (infra / f"Pulumi.{name}.yaml").write_text(
            f"config:\n  slipway:images: external\n  slipway:target: {target}\n  slipway:protected: false\n{more}"
        )
    return context


def test_policies_are_written_once_and_again_when_trust_or_a_file_changes(trusted: RunContext) -> None:
    workspace = trusted.workspace
    written = admission.write_policies(workspace)
    assert {path.name for path in written} == {
        "policy-controller.yaml",
        "kyverno.yaml",
        "validating-admission-policy.yaml",
    }
    assert admission.write_policies(workspace) == [] and admission.stale_policies(workspace) == []
    written[0].write_text("# edited by hand\n")
    written[1].unlink()
    assert {*admission.stale_policies(workspace)} == {*written[:2]}
    for key in trust.keys_folder(workspace.root).glob("*.pub"):
        key.write_text(pem(bytes([0x30, 3, 2, 1, 77])))
    assert len(admission.write_policies(workspace)) >= 2


def test_policies_name_the_keys_and_the_images_of_every_registry(trusted: RunContext) -> None:
    from slipway._internal.model.structured_files import read_yaml

    admission.write_policies(trusted.workspace)
    found = read_yaml(admission.policies_folder(trusted.workspace) / "policy-controller.yaml")
    (key,) = trust.load(trusted.workspace.root).keys
    assert [each["glob"] for each in found["spec"]["images"]] == admission.image_patterns(trusted.workspace)
    assert any(pattern.startswith("ghcr.io/acme/") for pattern in admission.image_patterns(trusted.workspace))
    assert [each["key"]["data"] for each in found["spec"]["authorities"]] == [key.pem]


def test_without_anybody_who_is_trusted_no_policy_is_made(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="trusts nobody") as refused:
        admission.write_policies(shop(tmp_path).workspace)
    assert "invoke keys" in refused.value.remedy and not (tmp_path / "policy").exists()
