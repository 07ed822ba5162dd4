"""Adds the workspace's first services, the way `invoke new` does, and its CI definition."""

import shutil
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path.cwd()))

from slipway.flows.new import populate  # noqa: E402

CI = {"github": ".github/workflows/ci.yml", "gitlab": ".gitlab-ci.yml"}

populate(Path.cwd(), "{{ cookiecutter.services }}")
if place := CI.get("{{ cookiecutter.ci }}"):
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile("slipway/ci/{{ cookiecutter.ci }}.yml", place)
print("\n✔ {{ cookiecutter.project_slug }} is there. Next: cd {{ cookiecutter.project_slug }} && invoke up")
