"""An issuer of JWTs for tests: keys and signatures by openssl, so that no package is needed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway._internal.run.process import run

ISSUER, AUDIENCE = "https://issuer.example", "orders"


def encoded(data: bytes | dict[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def openssl(*words: object) -> str:
    result = run(["openssl", *words])
    assert result.code == 0, result.output
    return result.output


@dataclass(frozen=True)
class Issuer:
    """Signs with a key of its own: `rsa`, `ec` or `ed25519`."""

    key: Path
    kind: str = "rsa"
    kid: str = "one"

    @classmethod
    def made(cls, folder: Path, kind: str = "rsa", kid: str = "one") -> Issuer:
        key = folder / f"{kind}-{kid}.pem"
        options = {
            "rsa": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            "ec": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "ed25519": ["ed25519"],
        }
        openssl("genpkey", "-algorithm", *options[kind], "-out", key)
        return cls(key, kind, kid)

    @property
    def algorithm(self) -> str:
        return {"rsa": "RS256", "ec": "ES256", "ed25519": "EdDSA"}[self.kind]

    @property
    def public_pem(self) -> str:
        return openssl("pkey", "-in", self.key, "-pubout")

    def jwk(self) -> dict[str, str]:
        """Return the public key as an issuer publishes it."""
        common = {"kid": self.kid, "alg": self.algorithm, "use": "sig"}
        if self.kind == "rsa":
            shown = openssl("rsa", "-in", self.key, "-noout", "-modulus")
            modulus = bytes.fromhex(re.search("Modulus=([0-9A-F]+)", shown)[1])  # type: ignore[index]
            return {"kty": "RSA", "n": encoded(modulus), "e": "AQAB", **common}
        shown = openssl("pkey", "-in", self.key, "-noout", "-text_pub")
        public = bytes.fromhex(re.sub("[^0-9a-f]", "", shown.split("pub:")[1].split("ASN1")[0]))
        if self.kind == "ec":
            return {"kty": "EC", "crv": "P-256", "x": encoded(public[1:33]), "y": encoded(public[33:65]), **common}
        return {"kty": "OKP", "crv": "Ed25519", "x": encoded(public), **common}

    def jwks(self) -> str:
        return json.dumps({"keys": [self.jwk()]})

    def token(self, header: dict[str, Any] | None = None, /, **claims: Any) -> str:
        """Return a token that is good, but for what is given otherwise; None leaves a claim out."""
        now = int(time.time())
        base = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 600}
        named = {name.replace("__", ":"): value for name, value in {**base, **claims}.items() if value is not None}
        head = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid, **(header or {})}
        signed = f"{encoded({k: v for k, v in head.items() if v is not None})}.{encoded(named)}"
        return f"{signed}.{encoded(self.signature(signed.encode()))}"

    def signature(self, data: bytes) -> bytes:
        file, out = self.key.with_suffix(".data"), self.key.with_suffix(".signature")
        file.write_bytes(data)
        if self.kind == "ed25519":
            openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.key, "-in", file, "-out", out)
            return out.read_bytes()
        openssl("dgst", "-sha256", "-sign", self.key, "-out", out, file)
        return out.read_bytes() if self.kind == "rsa" else _joined(out.read_bytes())


def with_secret(secret: bytes, algorithm: str = "HS256", **claims: Any) -> str:
    """Return a token that is signed with a secret, as who confuses kinds of keys would have it."""
    now = int(time.time())
    payload = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": now + 600, **claims}
    signed = f"{encoded({'alg': algorithm, 'typ': 'JWT', 'kid': 'one'})}.{encoded(payload)}"
    return f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def _joined(der: bytes) -> bytes:
    """Return the two numbers of an ECDSA signature, one after the other."""
    found, rest = b"", der[2:]
    for _ in range(2):
        length = rest[1]
        found += rest[2 : 2 + length].lstrip(b"\0").rjust(32, b"\0")
        rest = rest[2 + length :]
    return found
