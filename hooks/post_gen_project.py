"""Adds the engine's wheel, the first services, CI definition and CODEOWNERS; removes what tools left behind."""

import shutil
import sys
from pathlib import Path

TEMPLATE = Path("{{ template_folder }}")

sys.dont_write_bytecode = True
sys.path[:0] = [str(TEMPLATE / "src"), str(TEMPLATE)]

from wheel_builder import build_wheel, pin_wheel  # noqa: E402

from slipway._internal.run import streams  # noqa: E402
from slipway._internal.scaffold.service_creation import create_initial_services  # noqa: E402

PARTS = TEMPLATE / "hooks" / "ci"
CI = {"github": ".github/workflows/ci.yml", "gitlab": ".gitlab-ci.yml"}

OWNERS = {"github": ".github/CODEOWNERS", "gitlab": ".gitlab/CODEOWNERS", "none": "CODEOWNERS"}

requirements = Path("requirements.txt")
pinned = pin_wheel(requirements.read_text(encoding="utf-8"), build_wheel(TEMPLATE, Path("vendor")))
requirements.write_text(pinned, encoding="utf-8")
create_initial_services(Path.cwd(), "{{ cookiecutter.services }}")
if pipeline := CI.get("{{ cookiecutter.ci }}"):
    Path(pipeline).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PARTS / "{{ cookiecutter.ci }}.yml", pipeline)
owners = Path(OWNERS["{{ cookiecutter.ci }}"])
owners.parent.mkdir(parents=True, exist_ok=True)
shutil.copyfile(PARTS / "CODEOWNERS", owners)
for pattern in ("__pycache__", ".*_cache"):
    for left_behind in [*Path.cwd().rglob(pattern)]:
        shutil.rmtree(left_behind, ignore_errors=True)
streams.secure_streams()
print("\n✔ {{ cookiecutter.project_slug }} is there. Next: cd {{ cookiecutter.project_slug }} && invoke up")
streams.report_lost_output()  # what was generated is there all the same
