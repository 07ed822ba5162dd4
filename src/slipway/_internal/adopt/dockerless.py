"""Writes a Dockerfile around sources that have none, where it is plain how they run; refuses the others clearly."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from slipway._internal.adopt.dockerless_java import write_java
from slipway._internal.adopt.dockerless_parts import NPM_MOUNTS, USER, base_arguments, no_dockerfile, require_npm_lock
from slipway._internal.adopt.dockerless_static import NODE_TEST, write_static
from slipway._internal.adopt.frameworks import (
    Framework,
    has_npm_tests,
    npm_scripts,
    package_json,
    python_packages,
    read,
)
from slipway._internal.adopt.plan import Draft
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import Workspace

BASES = {
    "python": ("python-build", "python-run"),
    "node": ("node-build", "node-run"),
    "go": ("go-build", "static-run"),
}
"""Language → the bases that its Dockerfile starts from."""
_PROGRAM = re.compile(r"^package main\b", re.MULTILINE)
_PYTHON_TEMPLATE = """\
# Written by `invoke adopt` for {framework}. Stages: build (dependencies), {test_note}run (what is shipped).
{bases}


FROM ${{PYTHON_BUILD}} AS build
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
RUN ["python3", "-m", "venv", "--without-pip", ".venv"]
COPY requirements.txt ./
RUN --mount=type=cache,id=pip,target=/root/.cache/pip,sharing=locked \\
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,required=false \\
    --mount=type=secret,id=pip-conf,target=/etc/pip.conf,required=false \\
    python3 -m pip --python .venv/bin/python install --requirement requirements.txt


{test}FROM ${{PYTHON_RUN}} AS run
ENV PATH=/app/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /app
COPY --from=build /app/.venv .venv
COPY --chmod=u=rwX,go=rX . .
USER {user}
{expose}ENTRYPOINT {command}
"""
_PYTHON_TEST = """\
FROM build AS test
COPY --chmod=u=rwX,go=rX . .
USER {user}
RUN [".venv/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=/tmp/junit.xml"]


"""
_NODE_TEMPLATE = """\
# Written by `invoke adopt` for {framework}. Stages: build (dependencies), {test_note}run (what is shipped).
{bases}


FROM ${{NODE_BUILD}} AS build
ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt NO_UPDATE_NOTIFIER=1
WORKDIR /app
COPY --chmod=u=rwX,go=rX package.json package-lock.json ./
RUN {mounts}npm ci --no-audit --no-fund
COPY --chmod=u=rwX,go=rX . .
{build}

{test}FROM build AS packed
RUN npm prune --omit=dev --no-audit --no-fund


FROM ${{NODE_RUN}} AS run
ENV NODE_ENV=production
WORKDIR /app
COPY --from=packed /app ./
USER {user}
{expose}ENTRYPOINT {command}
"""
_GO_TEMPLATE = """\
# Written by `invoke adopt` for Go. Stages: build (the program), run (what is shipped).
{bases}


FROM ${{GO_BUILD}} AS build
ENV CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false -mod=readonly" HOME=/tmp GOPATH=/tmp/go GOCACHE=/tmp/go/build
WORKDIR /app
COPY --chmod=u=rwX,go=rX . .
USER {user}
RUN --mount=type=cache,id=go,target=/tmp/go,uid=65532,gid=65532 \\
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,mode=0444,required=false \\
    --mount=type=secret,id=go-env,target=/tmp/.config/go/env,mode=0444,required=false \\
    go build -ldflags="-s -w -buildid=" -o /tmp/app {main}


FROM ${{STATIC_RUN}} AS run
WORKDIR /app
COPY --from=build /tmp/app ./
USER {user}
EXPOSE {port}
ENTRYPOINT ["/app/app"]
"""


def write_around(workspace: Workspace, draft: Draft, framework: Framework | None, names: Sequence[str]) -> None:
    """Give a service without a Dockerfile one that fits its sources.

    Raises:
        ConfigError: it is not known what the sources are, or how they run; the remedy says what to write.
    """
    folder = draft.sources or Path()
    if framework is None:
        raise ConfigError(
            f"{folder} has no Dockerfile, and nothing there says how its sources run",
            remedy="Write a Dockerfile there that runs the service; `invoke new NAME --kind KIND` writes one.",
        )
    if framework.language == "python":
        _write_python(workspace, draft, framework, folder, names)
    elif framework.language == "node":
        _write_node(workspace, draft, framework, folder, names)
    elif framework.language == "go":
        _write_go(workspace, draft, framework, folder, names)
    elif framework.language == "java":
        write_java(workspace, draft, framework, names)
    elif framework.language == "static":
        write_static(workspace, draft, framework, names)
    else:
        raise no_dockerfile(draft, framework, f"the workspace has no base for {framework.language.capitalize()}")
    if framework.language == "static":
        draft.settings["port"] = framework.port
    elif framework.port:
        draft.settings["port"] = framework.port
        draft.tell("to do", str(folder), "port", f"the port {framework.port} is a guess: it is {framework.name}'s own")
    if framework.health:
        draft.settings["health"] = framework.health
        draft.comments["health"] = "Found in the sources."
    draft.settings["target"] = "run"
    draft.tell("carried over", str(folder), "sources", f"a Dockerfile for {framework.name} is written around them")


def _write_go(workspace: Workspace, draft: Draft, framework: Framework, folder: Path, names: Sequence[str]) -> None:
    """Build the one program of a Go module, for a base that holds nothing else."""
    programs = {
        str(Path(name).parent) for name in names if name.endswith(".go") and _PROGRAM.search(read(folder, name))
    }
    likely = [program for program in sorted(programs) if program == "." or re.fullmatch(r"cmd/[^/]+", program)]
    if "." not in likely and len(likely) != 1:
        raise no_dockerfile(draft, framework, f"it has {len(likely)} programs in . and cmd/, of which one is needed")
    main = "." if "." in likely else f"./{likely[0]}"
    draft.dockerfile = _GO_TEMPLATE.format(
        main=main,
        port=framework.port,
        user=USER,
        bases=base_arguments(workspace, draft, framework, *BASES[framework.language]),
    )


def _write_python(workspace: Workspace, draft: Draft, framework: Framework, folder: Path, names: Sequence[str]) -> None:
    if "requirements.txt" not in names:
        raise no_dockerfile(draft, framework, "there is no requirements.txt to install from")
    command = _python_command(draft, framework, folder, names)
    has_tests = "pytest" in python_packages(folder) and any(re.search(r"(^|/)test_[^/]*\.py$", name) for name in names)
    draft.dockerfile = _PYTHON_TEMPLATE.format(
        framework=framework.name,
        bases=base_arguments(workspace, draft, framework, *BASES[framework.language]),
        test=_PYTHON_TEST.format(user=USER) if has_tests else "",
        test_note="test, " if has_tests else "",
        expose=f"EXPOSE {framework.port}\n" if framework.port else "",
        command=json.dumps(command),
        user=USER,
    )
    if "--hash=" not in read(folder, "requirements.txt"):
        draft.tell(
            "to do",
            str(folder / "requirements.txt"),
            "requirements",
            "packages are not pinned by their hashes: two builds may differ",
            "uv pip compile --generate-hashes",
        )


def _python_command(draft: Draft, framework: Framework, folder: Path, names: Sequence[str]) -> list[str]:
    """Return how a Python service is started."""
    python, port = "/app/.venv/bin/python", str(framework.port)
    packages = python_packages(folder)
    if framework.name == "FastAPI":
        module = _find_object(folder, names, "FastAPI")
        if module and "uvicorn" in packages | (
            {"uvicorn"} if "fastapi[standard]" in read(folder, "requirements.txt") else set()
        ):
            return [python, "-m", "uvicorn", module, "--host", "0.0.0.0", "--port", port]  # noqa: S104 - a container's
        raise no_dockerfile(draft, framework, "`app = FastAPI()` or the package uvicorn was not found")
    if framework.name == "Flask":
        module = _find_object(folder, names, "Flask")
        if module and "gunicorn" in packages:
            return [python, "-m", "gunicorn", "--bind", f"0.0.0.0:{port}", "--worker-tmp-dir", "/tmp", module]  # noqa: S108
        raise no_dockerfile(
            draft, framework, "`app = Flask(…)` or the package gunicorn, which serves it, was not found"
        )
    if framework.name == "Django":
        wsgi = next((name for name in names if re.fullmatch(r"[^/]+/wsgi\.py", name)), None)
        if wsgi and "gunicorn" in packages:
            module = f"{wsgi.partition('/')[0]}.wsgi:application"
            return [python, "-m", "gunicorn", "--bind", f"0.0.0.0:{port}", "--worker-tmp-dir", "/tmp", module]  # noqa: S108
        raise no_dockerfile(draft, framework, "a wsgi.py or the package gunicorn, which serves it, was not found")
    package = next((name.partition("/")[0] for name in names if re.fullmatch(r"[A-Za-z_]\w*/__main__\.py", name)), None)
    if package:
        return [python, "-m", package]
    script = next((name for name in ("main.py", "app.py", "__main__.py") if name in names), None)
    if script:
        return [python, script]
    raise no_dockerfile(draft, framework, "no main.py, app.py or PACKAGE/__main__.py was found")


def _find_object(folder: Path, names: Sequence[str], constructor: str) -> str | None:
    """Return `module:name` of an application that a module makes; None where none does."""
    pattern = re.compile(rf"^([A-Za-z_]\w*)(?:\s*:\s*\w+)?\s*=\s*(?:\w+\.)?{constructor}\(", re.MULTILINE)
    for name in sorted(names, key=lambda name: (name.count("/"), name)):
        if name.endswith(".py") and (found := pattern.search(read(folder, name))):
            module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            return f"{module}:{found[1]}"
    return None


def _write_node(workspace: Workspace, draft: Draft, framework: Framework, folder: Path, names: Sequence[str]) -> None:
    require_npm_lock(draft, framework, names)
    package, scripts = package_json(folder), npm_scripts(folder)
    draft.dockerfile = _NODE_TEMPLATE.format(
        framework=framework.name,
        bases=base_arguments(workspace, draft, framework, *BASES[framework.language]),
        mounts=NPM_MOUNTS,
        build="RUN npm run build\n" if "build" in scripts else "",
        test=NODE_TEST if has_npm_tests(scripts) else "",
        test_note="test, " if has_npm_tests(scripts) else "",
        expose=f"EXPOSE {framework.port}\n" if framework.port else "",
        command=json.dumps(_node_command(draft, framework, scripts, package, names)),
        user=USER,
    )


def _node_command(
    draft: Draft, framework: Framework, scripts: dict[str, str], package: dict[str, object], names: Sequence[str]
) -> list[str]:
    """Return how a Node.js service is started; the base that is shipped has no npm and no shell."""
    if framework.name == "Next.js":
        return ["node", "node_modules/next/dist/bin/next", "start"]
    if framework.name == "Nest":
        return ["node", "dist/main.js"]
    start = shlex.split(scripts.get("start", "")) if "'" not in scripts.get("start", "") else []
    if len(start) >= 2 and start[0] == "node" and not re.search(r"[;&|$<>]", scripts["start"]):
        return start
    main = package.get("main")
    for name in [str(main)] if main else ["server.js", "index.js", "app.js"]:
        if not start and name.removeprefix("./") in names:
            return ["node", name]
    raise no_dockerfile(draft, framework, "its `start` script is not `node FILE`, and no main file was found")
