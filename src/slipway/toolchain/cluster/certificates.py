"""The node's keys and certificates, made with openssl: one authority, and one certificate for each part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slipway.model.errors import SlipwayError
from slipway.run.process import run
from slipway.toolchain.cluster.layout import API_SERVICE, DOMAIN, GATEWAY, NODE

DAYS = 3650
AUTHORITY, ACCOUNTS = "ca", "accounts"
OPENSSL_SECONDS = 30.0


@dataclass(frozen=True)
class Certificate:
    """Who a certificate names, the groups' names in `organization`, and the addresses that it is good for."""

    file: str
    name: str
    organization: str = ""
    addresses: tuple[str, ...] = ()


CERTIFICATES = (
    Certificate(
        "apiserver",
        "kube-apiserver",
        addresses=(
            f"IP:{GATEWAY}",
            f"IP:{API_SERVICE}",
            "IP:127.0.0.1",
            "DNS:localhost",
            "DNS:kubernetes",
            "DNS:kubernetes.default",
            "DNS:kubernetes.default.svc",
            f"DNS:kubernetes.default.svc.{DOMAIN}",
        ),
    ),
    Certificate("etcd", "etcd", addresses=("IP:127.0.0.1",)),
    Certificate("etcd-client", "kube-apiserver-etcd"),
    Certificate("kubelet-client", "kube-apiserver-kubelet", "system:masters"),
    Certificate("kubelet", f"system:node:{NODE}", "system:nodes", (f"IP:{GATEWAY}", f"DNS:{NODE}")),
    Certificate("admin", "admin", "system:masters"),
    Certificate("kube-controller-manager", "system:kube-controller-manager"),
    Certificate("kube-scheduler", "system:kube-scheduler"),
    Certificate("kube-proxy", "system:kube-proxy"),
    Certificate("coredns", "system:coredns"),
)


def ensure(folder: Path) -> None:
    """Make every key and certificate that a folder lacks; keys are readable for their owner alone.

    Raises:
        SlipwayError: openssl is missing, or refused.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / f"{AUTHORITY}.crt").exists():
        _key(folder / f"{AUTHORITY}.key")
        _openssl(authority_command(folder))
    if not (folder / f"{ACCOUNTS}.key").exists():
        _key(folder / f"{ACCOUNTS}.key")
        _openssl(["pkey", "-in", folder / f"{ACCOUNTS}.key", "-pubout", "-out", folder / f"{ACCOUNTS}.pub"])
    for each in CERTIFICATES:
        if not (folder / f"{each.file}.crt").exists():
            _issue(folder, each)


def authority_command(folder: Path) -> list[str | Path]:
    """Return openssl's arguments for the authority's own certificate."""
    return [
        *("req", "-x509", "-new", "-sha256", "-days", str(DAYS), "-subj", "/CN=slipway-cluster"),
        *("-addext", "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign"),
        *("-key", folder / f"{AUTHORITY}.key", "-out", folder / f"{AUTHORITY}.crt"),
    ]


def subject(certificate: Certificate) -> str:
    """Return who a certificate names, as openssl has it."""
    group = f"/O={certificate.organization}" if certificate.organization else ""
    return f"{group}/CN={certificate.name}"


def extensions(certificate: Certificate) -> str:
    """Return the extensions of a certificate: good for both ends of a connection."""
    lines = [
        "basicConstraints=CA:FALSE",
        "keyUsage=critical,digitalSignature,keyEncipherment",
        "extendedKeyUsage=serverAuth,clientAuth",
    ]
    if certificate.addresses:
        lines.append(f"subjectAltName={','.join(certificate.addresses)}")
    return "\n".join(lines) + "\n"


def _issue(folder: Path, certificate: Certificate) -> None:
    key, request, wanted = (folder / f"{certificate.file}.{each}" for each in ("key", "csr", "ext"))
    _key(key)
    _openssl(["req", "-new", "-sha256", "-subj", subject(certificate), "-key", key, "-out", request])
    wanted.write_text(extensions(certificate), encoding="ascii")
    authority: list[str | Path] = ["-CA", folder / f"{AUTHORITY}.crt", "-CAkey", folder / f"{AUTHORITY}.key"]
    new = folder / f"{certificate.file}.new"
    files: list[str | Path] = ["-extfile", wanted, "-in", request, "-out", new]
    _openssl(["x509", "-req", "-sha256", "-days", str(DAYS), *authority, "-CAcreateserial", *files])
    new.rename(folder / f"{certificate.file}.crt")
    request.unlink()
    wanted.unlink()


def _key(path: Path) -> None:
    path.touch(mode=0o600)
    _openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path])


def _openssl(words: list[str | Path]) -> None:
    result = run(["openssl", *words], timeout=OPENSSL_SECONDS)
    if result.code:
        raise SlipwayError(f"openssl {words[0]} failed", remedy="Install openssl 1.1.1 or newer.", detail=result.tail())
