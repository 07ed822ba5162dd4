"""Writes the Dockerfile of a Java program that Maven builds: one jar, on a JRE of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from slipway._internal.adopt.dockerless_parts import USER, base_arguments, no_dockerfile
from slipway._internal.adopt.frameworks import Framework, read
from slipway._internal.adopt.plan import Draft
from slipway._internal.model.package_data import package_path
from slipway._internal.model.workspace import Workspace

JAVA = 21
"""The newest Java that the base java-build compiles for."""
TRUST = "adopted/Trust.java"
"""Where the program stands that makes Java's trust store of a bundle of certificates."""
_MAIN = re.compile(r"\bstatic\s+void\s+main\s*\(")
_PACKAGE = re.compile(r"^\s*package\s+([\w.]+)\s*;", re.MULTILINE)
_MAIN_CLASS = re.compile(r"<(?:mainClass|exec\.mainClass|start-class)>\s*([\w.$]+)\s*</")
_RELEASE = re.compile(r"<(?:maven\.compiler\.(?:release|source|target)|java\.version|release)>\s*(\d+)\s*</")
_COPY_LIBS = "org.apache.maven.plugins:maven-dependency-plugin:3.9.0:copy-dependencies"
_SUREFIRE = "org.apache.maven.plugins:maven-surefire-plugin:3.5.5:test"
_MOUNTS = """\
--mount=type=cache,id=maven,target=/tmp/.m2/repository,uid=65532,gid=65532,sharing=locked \\
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,mode=0444,required=false \\
    --mount=type=secret,id=maven-settings,target=/tmp/.m2/settings.xml,mode=0444,required=false \\
    java /tmp/Trust.java /etc/ssl/certs/ca-certificates.crt /tmp/trust.p12 \\
    && """
_TEMPLATE = """\
# Written by `invoke adopt` for {framework}. Stages: build (a JRE, the program), {test_note}run (what is shipped).
{bases}


FROM ${{JAVA_BUILD}} AS build
ENV MAVEN_OPTS="-Duser.home=/tmp -Djavax.net.ssl.trustStore=/tmp/trust.p12" MAVEN_ARGS="-B -ntp"
USER {user}
COPY --chmod=u=rwX,go=rX {trust} /tmp/
# The modules that programs commonly need; the JRE trusts whom the base trusts.
RUN jlink --output /tmp/jre --no-header-files --no-man-pages --strip-java-debug-attributes \\
        --add-modules java.se,jdk.charsets,jdk.crypto.ec,jdk.httpserver,jdk.management,jdk.net \\
        --add-modules jdk.unsupported,jdk.zipfs \\
    && java /tmp/Trust.java /etc/ssl/certs/ca-certificates.crt /tmp/jre/lib/security/cacerts \\
    && mkdir -p /tmp/app /tmp/lib
WORKDIR /tmp/app
COPY --chown={user} --chmod=u=rwX,go=rX . .
RUN {mounts}mvn package -Dmaven.test.skip=true{libs} \\
    && rm /tmp/trust.p12 \\
    && for jar in target/*.jar; do case "$jar" in \\
        *-sources.jar | *-javadoc.jar | *-tests.jar | */original-*) ;; \\
        *) mv "$jar" /tmp/program.jar ;; \\
    esac; done


{test}FROM ${{JAVA_RUN}} AS run
ENV PATH=/app/jre/bin:$PATH
WORKDIR /app
COPY --from=build /tmp/jre jre
COPY --from=build /tmp/lib lib
COPY --from=build /tmp/program.jar ./
USER {user}
{expose}ENTRYPOINT {command}
"""
_TEST = """\
FROM build AS test
RUN {mounts}mvn {goals} \\
    && for file in target/surefire-reports/TEST-*.xml; do cp "$file" "/tmp/junit-${{file##*/}}"; done


"""
_OPTIONS = ("/app/jre/bin/java", "-XX:MaxRAMPercentage=75", "-XX:+ExitOnOutOfMemoryError", "-XX:-UsePerfData")


def write_java(workspace: Workspace, draft: Draft, framework: Framework, names: Sequence[str]) -> None:
    """Give a Java program a Dockerfile that builds it by Maven.

    Raises:
        ConfigError: Maven does not build it, or not one jar that runs; or the workspace has no such base.
    """
    folder = draft.sources or Path()
    if "pom.xml" not in names:
        why = "Gradle builds it, which the base java-build does not have (Maven it has)"
        raise no_dockerfile(draft, framework, why)
    pom = read(folder, "pom.xml")
    if "<modules>" in pom:
        raise no_dockerfile(draft, framework, "its pom.xml has <modules>, of which one is to be a service")
    if found := re.search(r"<packaging>\s*(?!jar\s*<)([\w-]+)\s*</packaging>", pom):
        raise no_dockerfile(draft, framework, f"its pom.xml makes a {found[1]}, and no jar that runs")
    if "quarkus" in pom:
        raise no_dockerfile(draft, framework, "Quarkus makes more than one jar")
    newest = max((int(number) for number in _RELEASE.findall(pom)), default=0)
    if newest > JAVA:
        raise no_dockerfile(draft, framework, f"it needs Java {newest}; the base java-build has {JAVA}")
    is_boot = "spring-boot-maven-plugin" in pom
    has_tests = any(name.startswith("src/test/") for name in names)
    start = ["-jar", "/app/program.jar"]
    if not is_boot:
        start = ["-cp", "/app/program.jar:/app/lib/*", _main_class(draft, framework, folder, pom, names)]
    draft.dockerfile = _TEMPLATE.format(
        framework=framework.name,
        bases=base_arguments(workspace, draft, framework, "java-build", "java-run"),
        trust=TRUST,
        mounts=_MOUNTS,
        libs="" if is_boot else f" \\\n    && mvn {_COPY_LIBS} -DincludeScope=runtime -DoutputDirectory=/tmp/lib",
        test=_TEST.format(mounts=_MOUNTS, goals=_test_goals(pom)) if has_tests else "",
        test_note="test, " if has_tests else "",
        expose=f"EXPOSE {framework.port}\n" if framework.port else "",
        command=json.dumps([*_OPTIONS, *start]),
        user=USER,
    )
    draft.files[TRUST] = package_path("kinds") / "java-api" / "build" / "Trust.java"
    if not any(name.startswith(".mvn/checksums/") for name in names):
        draft.tell(
            "to do",
            str(folder / "pom.xml"),
            "dependencies",
            "Maven has no lock file: libraries are pinned by version, and not by their hashes",
            "The kind java-api has trusted checksums: its .mvn folder shows how.",
        )


def _test_goals(pom: str) -> str:
    """Return the goals that run the tests: Maven's own default is a Surefire that finds none of JUnit 5's."""
    names_surefire = "maven-surefire-plugin" in pom or "<parent>" in pom
    return "test" if names_surefire else f"test-compile {_SUREFIRE}"


def _main_class(draft: Draft, framework: Framework, folder: Path, pom: str, names: Sequence[str]) -> str:
    """Return the class that a program starts with: the one that pom.xml names, or the only one with a `main`."""
    if named := _MAIN_CLASS.search(pom):
        return named[1]
    found = []
    for name in names:
        if name.startswith("src/main/java/") and name.endswith(".java"):
            text = read(folder, name)
            if _MAIN.search(text):
                package = _PACKAGE.search(text)
                found.append(f"{package[1]}.{Path(name).stem}" if package else Path(name).stem)
    if len(found) != 1:
        listed = f": {', '.join(found)}" if found else ""
        raise no_dockerfile(
            draft, framework, f"it has {len(found)} main classes{listed}; <mainClass> in pom.xml says which one starts"
        )
    return found[0]
