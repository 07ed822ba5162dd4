"""Writes the Dockerfile of a web page of static files, as they are or built by npm, for NGINX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from slipway._internal.adopt.dockerless_parts import NPM_MOUNTS, USER, base_arguments, require_npm_lock
from slipway._internal.adopt.frameworks import Framework, has_npm_tests, npm_scripts, read
from slipway._internal.adopt.plan import Draft
from slipway._internal.model.workspace import Workspace

ROUTE = "ROUTE"
"""The build argument that says below which path of the gateway the files are asked for."""
_UNSERVED = ("Dockerfile*", "service.toml", "compose*.y*ml", "docker-compose*.y*ml", "README*", ".*", "adopted")
"""What stands beside a page's files and is nobody's to fetch."""
_VITE_BUILD = re.compile(r"\bvite build\s*$")
NODE_TEST = """\
FROM build AS test
RUN ["npm", "test"]


"""
_BUILD = """\
FROM ${{NODE_BUILD}} AS build
ARG ROUTE=/
ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt NO_UPDATE_NOTIFIER=1
WORKDIR /app
COPY --chmod=u=rwX,go=rX package.json package-lock.json ./
RUN {mounts}npm ci --no-audit --no-fund
COPY --chmod=u=rwX,go=rX . .
# Each bundler has a folder of its own for what it builds.
RUN {build} \\
    && for folder in dist build out; do \\
        if [ -f "$folder/index.html" ]; then mv "$folder" /tmp/site; exit 0; fi; \\
    done; \\
    echo "npm run build has left no index.html in dist, build or out" >&2; exit 1


{test}"""
_RUN = """\
# Written by `invoke adopt` for {framework}. Stages: {stages}run (what is shipped, by NGINX).
{bases}


{build}FROM ${{NGINX}} AS run
ARG ROUTE=/
WORKDIR /app
# All files of an image have one time, by which NGINX cannot tell two versions apart: it must not say "not modified".
COPY <<EOF /etc/nginx/conf.d/default.conf
server {{
    listen 8080;
    root /app/www;
    absolute_redirect off;
    etag off;
    if_modified_since off;
    add_header Last-Modified "";
    add_header Cache-Control no-cache always;
    add_header X-Content-Type-Options nosniff always;
    gzip on;
    gzip_types text/css application/javascript application/json image/svg+xml;

    location / {{
        try_files \\$uri \\$uri/ {otherwise};
    }}
}}
EOF
COPY --chmod=u=rwX,go=rX {files} www${{ROUTE}}
USER {user}
EXPOSE 8080
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["nc", "-z", "-w", "2", "127.0.0.1", "8080"]
ENTRYPOINT ["nginx", "-e", "stderr", "-g", "daemon off;"]
"""


def write_static(workspace: Workspace, draft: Draft, framework: Framework, names: Sequence[str]) -> None:
    """Give a web page a Dockerfile: its files as they are, or what `npm run build` makes of them.

    Raises:
        ConfigError: nothing locks what npm installs, or the workspace has no such base.
    """
    folder = draft.sources or Path()
    built = "package.json" in names
    draft.is_built_for_route = True
    draft.settings |= {"args": {ROUTE: "/"}, "resources": {"memory": "64m", "cpus": 0.5}}
    draft.comments[f"args.{ROUTE}"] = "The page is built for the route: the same as `route` above."
    build, stages, test = "", "", ""
    if built:
        require_npm_lock(draft, framework, names)
        scripts = npm_scripts(folder)
        takes_base = bool(_VITE_BUILD.search(scripts["build"]))
        test = NODE_TEST if has_npm_tests(scripts) else ""
        stages = f"build (the files), {'test, ' * bool(test)}"
        command = 'npm run build -- --base "${ROUTE%/}/"' if takes_base else "npm run build"
        build = _BUILD.format(mounts=NPM_MOUNTS, build=command, test=test)
        if not takes_base:
            draft.tell(
                "to do",
                str(folder / "package.json"),
                "build",
                "below a route such as /shop, the page finds its files only by relative addresses",
                "Have the build write them for the route (`homepage`, `publicPath`), or adopt it with --route /.",
            )
    elif re.search(r"(?:src|href)=[\"']?/(?!/)", read(folder, "index.html")):
        draft.tell(
            "to do",
            str(folder / "index.html"),
            "index.html",
            "it names addresses that begin with /: below a route such as /shop they are another service's",
            "Write them relative (style.css, not /style.css), or adopt it with --route /.",
        )
    bases = base_arguments(workspace, draft, framework, *(["node-build"] if built else []), "nginx")
    draft.dockerfile = _RUN.format(
        framework=framework.name,
        stages=stages,
        bases=bases,
        build=build,
        otherwise="${ROUTE}/index.html" if built else "=404",
        files="--from=build /tmp/site" if built else ".",
        user=USER,
    )
    if not built:
        own = read(folder, ".dockerignore").splitlines()
        lines = [*own, "# What is no part of the page:", *_UNSERVED, "!.well-known"]
        draft.texts[".dockerignore"] = "".join(f"{line}\n" for line in lines)
