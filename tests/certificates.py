"""Certificates for tests, made by OpenSSL: an authority, and what it issues."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slipway._internal.run.process import run

AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign"


@dataclass(frozen=True)
class Issued:
    """A certificate with its chain, and its private key."""

    chain: str
    key: str


class Authority:
    """An authority of its own, with one between it and what it issues."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._number = folder, 0
        self._request("root", "Test Root")
        self._sign("root", "", AUTHORITY, 99)
        self._request("issuer", "Test Issuer")
        self._sign("issuer", "root", AUTHORITY, 99)

    @property
    def root(self) -> Path:
        """What clients trust."""
        return self._folder / "root.crt"

    def issue(self, *names: str, days: int = 90, rsa: bool = False) -> Issued:
        """Return a new certificate for hosts; with negative days it has expired."""
        self._number += 1
        name = f"leaf{self._number}"
        self._request(name, names[0], rsa=rsa)
        self._sign(name, "issuer", f"subjectAltName={','.join(f'DNS:{each}' for each in names)}", days)
        leaf, issuer = ((self._folder / f"{each}.crt").read_text() for each in (name, "issuer"))
        return Issued(leaf + issuer, (self._folder / f"{name}.key").read_text())

    def _request(self, name: str, subject: str, rsa: bool = False) -> None:
        kind = ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"] if rsa else ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        self._openssl("genpkey", "-algorithm", *kind, "-out", f"{name}.key")
        self._openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={subject}", "-out", f"{name}.csr")

    def _sign(self, name: str, issuer: str, extensions: str, days: int) -> None:
        (self._folder / f"{name}.ext").write_text(f"{extensions}\n")
        words = ["x509", "-req", "-in", f"{name}.csr"]
        words += ["-CA", f"{issuer}.crt", "-CAkey", f"{issuer}.key"] if issuer else ["-signkey", f"{name}.key"]
        words += [
            *(["-CAcreateserial"] if issuer else []),
            "-extfile",
            f"{name}.ext",
            "-days",
            str(days),
            "-out",
            f"{name}.crt",
        ]
        self._openssl(*words)

    def _openssl(self, *words: str) -> None:
        done = run(["openssl", *words], cwd=self._folder)
        assert done.code == 0, done.output
