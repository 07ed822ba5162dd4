"""The node's keys and certificates, made with openssl: one authority, and one certificate for each part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run.process import run
from slipway._internal.toolchain.cluster.layout import API_SERVICE_ADDRESS, CLUSTER_DOMAIN, NODE_ADDRESS, NODE_NAME

VALIDITY_DAYS = 3650
AUTHORITY_FILE, ACCOUNTS_FILE = "ca", "accounts"
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
            f"IP:{NODE_ADDRESS}",
            f"IP:{API_SERVICE_ADDRESS}",
            "IP:127.0.0.1",
            "DNS:localhost",
            "DNS:kubernetes",
            "DNS:kubernetes.default",
            "DNS:kubernetes.default.svc",
            f"DNS:kubernetes.default.svc.{CLUSTER_DOMAIN}",
        ),
    ),
    Certificate("etcd", "etcd", addresses=("IP:127.0.0.1",)),
    Certificate("etcd-client", "kube-apiserver-etcd"),
    Certificate("kubelet-client", "kube-apiserver-kubelet", "system:masters"),
    Certificate("kubelet", f"system:node:{NODE_NAME}", "system:nodes", (f"IP:{NODE_ADDRESS}", f"DNS:{NODE_NAME}")),
    Certificate("admin", "admin", "system:masters"),
    Certificate("kube-controller-manager", "system:kube-controller-manager"),
    Certificate("kube-scheduler", "system:kube-scheduler"),
    Certificate("kube-proxy", "system:kube-proxy"),
    Certificate("coredns", "system:coredns"),
)


def ensure_certificates(folder: Path) -> None:
    """Make every key and certificate that a folder lacks; keys are readable for their owner alone.

    Raises:
        SlipwayError: openssl is missing, or refused.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / f"{AUTHORITY_FILE}.crt").exists():
        _make_key(folder / f"{AUTHORITY_FILE}.key")
        _run_openssl(authority_command(folder))
    if not (folder / f"{ACCOUNTS_FILE}.key").exists():
        _make_key(folder / f"{ACCOUNTS_FILE}.key")
        _run_openssl(
            ["pkey", "-in", folder / f"{ACCOUNTS_FILE}.key", "-pubout", "-out", folder / f"{ACCOUNTS_FILE}.pub"]
        )
    for certificate in CERTIFICATES:
        if not (folder / f"{certificate.file}.crt").exists():
            _issue_certificate(folder, certificate)


def authority_command(folder: Path) -> list[str | Path]:
    """Return openssl's arguments for the authority's own certificate."""
    return [
        *("req", "-x509", "-new", "-sha256", "-days", str(VALIDITY_DAYS), "-subj", "/CN=slipway-cluster"),
        *("-addext", "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign"),
        *("-key", folder / f"{AUTHORITY_FILE}.key", "-out", folder / f"{AUTHORITY_FILE}.crt"),
    ]


def subject_name(certificate: Certificate) -> str:
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


def _issue_certificate(folder: Path, certificate: Certificate) -> None:
    key, request, extension_file = (folder / f"{certificate.file}.{suffix}" for suffix in ("key", "csr", "ext"))
    _make_key(key)
    _run_openssl(["req", "-new", "-sha256", "-subj", subject_name(certificate), "-key", key, "-out", request])
    extension_file.write_text(extensions(certificate), encoding="ascii")
    authority: list[str | Path] = ["-CA", folder / f"{AUTHORITY_FILE}.crt", "-CAkey", folder / f"{AUTHORITY_FILE}.key"]
    new = folder / f"{certificate.file}.new"
    files: list[str | Path] = ["-extfile", extension_file, "-in", request, "-out", new]
    _run_openssl(["x509", "-req", "-sha256", "-days", str(VALIDITY_DAYS), *authority, "-CAcreateserial", *files])
    new.rename(folder / f"{certificate.file}.crt")
    request.unlink()
    extension_file.unlink()


def _make_key(path: Path) -> None:
    path.touch(mode=0o600)
    _run_openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path])


def _run_openssl(words: list[str | Path]) -> None:
    result = run(["openssl", *words], timeout=OPENSSL_SECONDS)
    if result.code:
        raise SlipwayError(f"openssl {words[0]} failed", remedy="Install openssl 1.1.1 or newer.", detail=result.tail())
