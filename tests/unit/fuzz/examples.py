"""A good example of each text that Slipway reads."""

from __future__ import annotations

from slipway._internal.release import releases
from slipway._internal.run import oci

SHA = f"sha256:{'a' * 64}"
WORKSPACE = f"""\
name = "shop"
registry = "127.0.0.1:5000"

[gateway]
port = 8080
bind = "127.0.0.1"

[build]
platforms = ["linux/amd64", "linux/arm64"]
secrets.ca = {{ file = "~/ca.pem" }}
secrets.token = {{ env = "TOKEN" }}

[bases]
source = "auto"
official.python = "docker.io/library/python:3.14@{SHA}"

[scan]
refuse = ["CRITICAL", "HIGH"]
[[scan.exceptions]]
id = "CVE-2026-1"
until = 2026-12-31
reason = "not reached"
services = ["api"]

[signing]
password = {{ file = ".slipway/signing/password" }}

[retention]
keep = 10
days = 30
"""
SERVICE = """\
kind = "python-api"
route = "/api"
port = 8000
needs = ["web"]
health = "/health"
target = "run"
secrets = ["API_TOKEN"]

[env]
LOG = "info"

[resources]
memory = "256m"
cpus = 0.5

[scale]
min = 1
max = 3

[dev]
sync = ["app"]
"""
JOB = 'kind = "worker"\n[job]\nschedule = "*/5 3-4 * jan,feb mon"\n'
STACK = """\
config:
  slipway:images: external
  slipway:target: kubernetes
  slipway:protected: true
  slipway:port: "8090"
  slipway:registry: ghcr.io/acme
  slipway:namespace: shop
  slipway:gateway: envoy
  slipway:host: shop.example.com
  slipway:ingress-from: envoy-gateway-system, 10.0.0.0/8
  other:key: 2026-12-31
"""
PROJECT = "name: shop\nruntime: python\nbackend:\n  url: file://../.slipway/state\n"
BASES = {"source": "official", "bases": {"python": SHA}}
LOCK = {
    "stack": "dev",
    "version": 1,
    "services": {
        "api": {
            "ref": f"127.0.0.1:5000/shop/api@{SHA}",
            "content": "c" * 64,
            "commit": "f" * 40,
            "evidence": {"scan": SHA},
        }
    },
}
RECORD = {
    "what": "deploy",
    "began": 1790000000.0,
    "seconds": 3.5,
    "result": "done",
    "stack": "dev",
    "mode": "inline",
    "phases": [{"name": "Pulumi", "begin": 0.1, "end": 2.0}],
    "services": {
        "api": [
            {"name": "RUN pip install", "kind": "step", "begin": 0.1, "end": 1.0},
            {"name": "start", "kind": "container", "begin": 1.0, "end": 2.0, "state": "failed"},
        ]
    },
    "images": {"api": f"127.0.0.1:5000/shop/api@{SHA}"},
    "known": 2,
    "version": 1,
}
DOCKERFILE = """\
# syntax=docker/dockerfile:1
ARG PYTHON=python@sha256:1
FROM ${PYTHON} AS build
RUN --mount=type=cache,id=pip,target=/root --mount=type=secret,id=token pip install \\
    --user x
COPY --from=common --chown=1:1 ["a b", "/c"]
RUN <<END
echo hello
END
FROM build AS run
ENV A=b C="d e"
HEALTHCHECK --interval=5s --retries=3 CMD ["true"]
ONBUILD COPY . .
CMD ["python"]
"""
STATE = [
    {"type": "pulumi:pulumi:Stack", "urn": "urn:x", "outputs": {"images": {"api": f"shop/api@{SHA}"}}},
    {
        "type": releases.RELEASE_TYPE,
        "urn": "urn:y",
        "outputs": {
            "releases": [
                {
                    "id": "r-1",
                    "time": "2026-03-01T12:00:00Z",
                    "actor": "me",
                    "commit": "f" * 40,
                    "dirty": False,
                    "mode": "inline",
                    "digests": {"api": f"shop/api@{SHA}"},
                    "contents": {"api": "c" * 64},
                }
            ]
        },
    },
    {"type": releases.LIVE_TYPE, "outputs": {"live": "r-1", "good": []}},
    {"type": "slipway:docker:Service", "outputs": {"image": f"shop/api@{SHA}"}},
    {"type": "kubernetes:apps/v1:Deployment", "outputs": {"spec": {"containers": [{"image": f"shop/api@{SHA}"}]}}},
]
REPORT = {
    "SchemaVersion": 2,
    "ArtifactName": "api",
    "ArtifactType": "container_image",
    "Trivy": {"Version": "0.66.0"},
    "Metadata": {"OS": {"Family": "debian", "Name": "13"}, "ImageID": SHA, "ImageConfig": {}},
    "Results": [
        {
            "Target": "api (debian 13)",
            "Class": "os-pkgs",
            "Packages": [{"Name": "x"}],
            "Vulnerabilities": [
                {"VulnerabilityID": "CVE-2026-1", "PkgName": "x", "Severity": "HIGH", "FixedVersion": "2", "Title": "t"}
            ],
        },
        {
            "Target": "Dockerfile",
            "Class": "config",
            "MisconfSummary": {"Failures": 1},
            "Misconfigurations": [{"ID": "DS1", "Status": "FAIL", "CauseMetadata": {"StartLine": 1}, "Message": "m"}],
            "Secrets": [{"RuleID": "aws", "Severity": "CRITICAL", "StartLine": 3, "Title": "key"}],
        },
    ],
}
CYCLONEDX = {
    "bomFormat": "CycloneDX",
    "metadata": {"component": {"bom-ref": "a"}},
    "components": [{"bom-ref": "b"}],
    "dependencies": [{"ref": "a", "dependsOn": ["b"]}],
}
TRIVY = {"Version": 2, "UpdatedAt": "2026-03-01T00:00:00Z", "NextUpdate": "2026-03-02T00:00:00Z"}
METADATA = {
    "api": {
        "containerimage.digest": SHA,
        "buildx.build.provenance/linux/amd64": {"buildType": "https://mobyproject.org", "materials": [{"uri": "x"}]},
    }
}
_STEP = {"digest": SHA, "name": "[run 1/2] RUN x", "started": "2026-03-01T12:00:00Z"}
VERTICES = [
    {"vertexes": [_STEP]},
    {"logs": [{"vertex": SHA, "stream": 1, "data": "aGVsbG8K"}], "warnings": [{"vertex": SHA, "short": "dw=="}]},
    {"vertexes": [{**_STEP, "completed": "2026-03-01T12:00:01Z", "error": "boom"}]},
]
LISTS = [
    {"Reclaimable": True, "LastUsedAt": "3 weeks ago", "Size": "268.5MB"},
    {"created_at": "2026-03-01T12:00:00Z", "name": "services/api (run)", "ref": "a/b/c"},
]
INSTANCES = {"Driver": "remote", "Nodes": [{"Endpoint": "unix:///x"}]}
OCI_INDEX = {
    "manifests": [
        {
            "mediaType": oci.MANIFEST_TYPE,
            "digest": SHA,
            "size": 2,
            "platform": {"os": "linux", "architecture": "amd64"},
        }
    ]
}
OCI_MANIFEST = {
    "layers": [{"mediaType": "x.layer.", "digest": SHA, "size": 1}],
    "config": {"digest": SHA, "size": 1},
}
OBJECTS = {
    "kind": "List",
    "items": [
        {
            "kind": "Deployment",
            "metadata": {"name": "api", "creationTimestamp": "2026-03-01T12:00:00Z", "labels": {"a": "b"}},
            "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "api", "image": SHA}]}}},
            "status": {"readyReplicas": 1, "conditions": [{"type": "Progressing", "status": "False", "reason": "x"}]},
        },
        {
            "kind": "Pod",
            "metadata": {"name": "api-1", "creationTimestamp": "2026-03-01T12:00:00Z"},
            "spec": {"containers": [{"name": "api"}]},
            "status": {
                "phase": "Running",
                "containerStatuses": [
                    {"name": "api", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
                ],
            },
        },
        {
            "kind": "Event",
            "metadata": {"name": "e"},
            "reason": "Failed",
            "message": "m",
            "lastTimestamp": "2026-03-01T12:00:00Z",
        },
    ],
}
BUNDLE = {"dsseEnvelope": {"payload": "e30="}, "verificationMaterial": {"publicKey": {"hint": "x"}}}
DOCKER = {
    "auths": {"ghcr.io": {"auth": "dTpw"}},
    "proxies": {"default": {"httpProxy": "http://x"}},
    "credHelpers": {"x.example.com": "nothing"},
    "currentContext": "default",
}
PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/:/bin/false\n"
PEM = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"
IDENTITIES = '[[identity]]\nissuer = "https://token.actions.githubusercontent.com"\nsubject-regexp = "^https://x/.*$"\n'
WORDS = "*/5 3-4 * jan,feb mon\n@daily\nanywhere, 10.0.0.0/8\nfile://../x\n1m30s"
