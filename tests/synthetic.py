"""A workspace of many services, and records of its builds and deploys, made up but of the shape of real ones."""

from __future__ import annotations

import json
import random
from pathlib import Path

from slipway._internal.model import run_record as records
from slipway._internal.model.run_record import Phase, RecordedStep, RunRecord

BASES = "python-build", "python-run"


def workspace(root: Path, count: int, env: str = "") -> Path:
    """Write a workspace of so many services; they use one of ten libs each. `env`: a line for the first's [env]."""
    (root / "infra").mkdir(parents=True)
    (root / "workspace.toml").write_text('name = "many"\nregistry = "127.0.0.1:1"\n', encoding="utf-8")
    (root / "infra" / "Pulumi.dev.yaml").write_text(
        "config:\n  slipway:images: inline\n  slipway:protected: false\n", encoding="utf-8"
    )
    for number in range(count):
        folder, lib = root / "services" / f"service-{number:03}", f"lib-{number % 10}"
        folder.mkdir(parents=True)
        (root / "libs" / lib).mkdir(parents=True, exist_ok=True)
        (folder / "Dockerfile").write_text("ARG PYTHON_RUN\nFROM ${PYTHON_RUN} AS run\n", encoding="utf-8")
        settings = f'kind = "python-api"\nroute = "/s{number}"\nport = {8000 + number}\nlibs = ["{lib}"]\n[env]\n'
        settings += f'NEXT = "http://gateway:8080/s{(number + 1) % count}/x"\n' if number % 7 == 0 else ""
        (folder / "service.toml").write_text(settings + (env if number == 0 else ""), encoding="utf-8")
    return root


def build(count: int, began: float, seed: int = 1, *, cached: float = 0.5, extra: str = "") -> RunRecord:
    """Return a build of so many services, eight at a time; `extra` is added to one step's name."""
    rng = random.Random(seed)
    free = [2.0] * 8
    services = {}
    for number in range(count):
        at = free.index(min(free))
        clock, steps = free[at], []
        for name in ("load build definition from Dockerfile", "load .dockerignore", "load build context"):
            steps.append(RecordedStep(name, "step", clock, clock + 0.02))
        for line in range(1, 13):
            took = rng.expovariate(1.2) + 0.01
            hit = rng.random() < cached
            text = f"[run {line}/12] RUN python3 -m step_{line} --of service-{number:03}{extra if line == 3 else ''}"
            steps.append(
                RecordedStep(
                    text, "step", round(clock, 3), round(clock + (0 if hit else took), 3), "cached" if hit else "done"
                )
            )
            clock += 0 if hit else took
        steps.append(RecordedStep("exporting to oci image format", "step", round(clock, 3), round(clock + 0.8, 3)))
        free[at] = clock + 0.9
        services[f"service-{number:03}"] = tuple(steps)
    end = max(free)
    phases = (
        Phase("Python starts", 0, 0.4),
        Phase("look what is there", 0.4, 1.1),
        Phase("plan", 1.1, 1.9),
        Phase("build", 1.9, end),
    )
    images = {name: f"sha256:{number:064}" for number, name in enumerate(services)}
    seconds = round(end + 0.2, 3)
    return RunRecord("build", began, seconds, "done", phases=phases, services=services, images=images, known=count)


def keep(root: Path, *made: RunRecord, made_by: str = "") -> None:
    """Write records, and what is known of their images; `made_by` is added to what made a layer."""
    for record in made:
        folder = records.save(root, record).parent / "images"
        folder.mkdir(exist_ok=True)
        for number, ref in enumerate(record.images.values()):
            layers = [
                {"digest": f"sha256:{layer:064}", "size": 3_000_000 * layer, "made_by": f"COPY {layer}{made_by}"}
                for layer in (9, 1, 1000 + number)
            ]
            layers[-1]["size"] = 20_000 + 1000 * number
            path = folder / f"{ref.replace(':', '-')}.json"
            path.write_text(json.dumps(layers), encoding="utf-8")
