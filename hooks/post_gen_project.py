"""Adds the first services, CI definition and CODEOWNERS; removes what tools left behind in the template."""

import shutil
import sys
from pathlib import Path

sys.dont_write_bytecode = True
TEMPLATE = Path(r"{{ template_folder }}")
ENGINE = TEMPLATE / "src" / "slipway"
sys.path.insert(0, str(ENGINE.parent))

from slipway.flows.new import populate  # noqa: E402
from slipway.run import streams  # noqa: E402

CI = {"github": ".github/workflows/ci.yml", "gitlab": ".gitlab-ci.yml"}

OWNERS = {"github": ".github/CODEOWNERS", "gitlab": ".gitlab/CODEOWNERS", "none": "CODEOWNERS"}

populate(Path.cwd(), "{{ cookiecutter.services }}")
if place := CI.get("{{ cookiecutter.ci }}"):
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ENGINE / "ci" / "{{ cookiecutter.ci }}.yml", place)
owners = Path(OWNERS["{{ cookiecutter.ci }}"])
owners.parent.mkdir(parents=True, exist_ok=True)
shutil.copyfile(ENGINE / "ci" / "CODEOWNERS", owners)
for pattern in ("__pycache__", ".*_cache"):
    for left_behind in [*Path.cwd().rglob(pattern)]:
        shutil.rmtree(left_behind, ignore_errors=True)
streams.secure()
print("\n✔ {{ cookiecutter.project_slug }} is there. Next: cd {{ cookiecutter.project_slug }} && invoke up")
streams.report_lost()  # what was generated is there all the same
