"""What matters of the text of a Pulumi command that failed."""

from __future__ import annotations

from slipway._internal.run.pulumi_command import extract_diagnosis

DIAGNOSTICS = """
 code: 255
 stdout: Updating (dev):
 +  slipway:docker:Container api creating (0s) error: it broke
Diagnostics:
  pulumi:pulumi:Stack (shop-dev):
    warning: using pulumi-resource-docker-build from $PATH at /x
    error: update failed

  slipway:docker:Container (api):
    error: service api failed
      its last lines

Resources:
    1 errored

 stderr:
"""


def test_an_error_is_cut_to_what_each_resource_said() -> None:
    assert extract_diagnosis(DIAGNOSTICS).splitlines() == [
        "slipway:docker:Container (api):",
        "  error: service api failed",
        "    its last lines",
    ]


def test_an_error_without_diagnostics_keeps_its_error_lines() -> None:
    text = " code: 255\n stderr: error: could not decrypt\nUsage: …"
    assert extract_diagnosis(text) == " stderr: error: could not decrypt"
