"""Failures inside Pulumi become one error: the resource, the lines that show why, the log, the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from slipway._internal.context.protection import PROTECTION_TYPE
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.release.resource_failures import IMAGE_TYPE, STACK_TYPE, ResourceFailures, failed_step_lines

LOG = """\
#7 [build 2/5] WORKDIR /app
#7 CACHED
#12 [build 4/5] RUN make
#12 0.1 splinter
#13 [build 1/2] RUN true
#12 ERROR: process "make" did not complete successfully: exit code: 3
------
"""


def failures(whole: str = "", errors: Mapping[str, SlipwayError] = MappingProxyType({})) -> ResourceFailures:
    return ResourceFailures(lambda _service: whole, errors.get)


def test_nothing_failed_is_no_error(tmp_path: Path) -> None:
    found = failures()
    found.add(STACK_TYPE, "demo-dev", "update failed", tmp_path / "none")
    assert found.combined_error() is None


def test_a_failed_build_shows_the_lines_of_its_step_alone(tmp_path: Path) -> None:
    assert failed_step_lines(LOG).splitlines()[0] == "[build 4/5] RUN make"
    assert "[build 1/2]" not in failed_step_lines(LOG)
    found = failures(LOG)
    found.add(IMAGE_TYPE, "api", "<{%reset%}>error: failed to solve", tmp_path / "api.build.log")
    error = found.combined_error()
    assert error and "api" in error.message and "splinter" in error.detail
    assert error.log and error.log.read_text(encoding="utf-8") == LOG
    assert "services/api/Dockerfile" in error.remedy


def test_a_protection_that_would_be_lost_is_a_question_of_configuration(tmp_path: Path) -> None:
    found = failures()
    found.add(PROTECTION_TYPE, "prod", "property protected value {false} has a problem: …", tmp_path / "none")
    error = found.combined_error()
    assert isinstance(error, ConfigError) and error.exit_code == 2
    assert "--unprotect" in error.remedy


def test_what_the_builder_passed_on_counts_where_there_is_no_more(tmp_path: Path) -> None:
    found = failures()
    found.add(IMAGE_TYPE, "api", "failed to solve: no space left on device", tmp_path / "api.build.log")
    error = found.combined_error()
    assert error and error.log is None and "no space left" in error.detail


URN = "urn:pulumi:prod::shop::kubernetes:core/v1:Service::api"


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (
            f'resource "{URN}" was not successfully created by the Kubernetes API server: services "api" is forbidden: '
            "exceeded quota",
            'the cluster refuses it: services "api" is forbidden: exceeded quota',
        ),
        (
            f'resource "{URN}" was successfully created, but the Kubernetes API server reported that it failed to '
            "fully initialize or become live: 'api' timed out waiting to be Ready",
            "it is there, but not ready: 'api' timed out waiting to be Ready",
        ),
        (
            '2 errors occurred:\n\t* the Kubernetes API server reported that "shop-prod/api" failed to fully '
            "initialize or become live: 'api' timed out waiting to be Ready\n\t* [MinimumReplicasUnavailable] no pod",
            "2 errors occurred:\n\t* 'api' timed out waiting to be Ready\n\t* [MinimumReplicasUnavailable] no pod",
        ),
        (
            f'creation of resource "{URN}" with kind gateway.networking.k8s.io/v1/HTTPRoute failed because the '
            "Kubernetes API server reported that the apiVersion for this resource does not exist.",
            "its creation with kind gateway.networking.k8s.io/v1/HTTPRoute failed because the Kubernetes API server "
            "reported that the apiVersion for this resource does not exist.",
        ),
        ("configured Kubernetes cluster is unreachable: no", "configured Kubernetes cluster is unreachable: no"),
    ],
)
def test_what_the_plugin_for_kubernetes_says_is_told_without_the_resource_s_long_name(
    text: str, detail: str, tmp_path: Path
) -> None:
    found = failures()
    found.add("kubernetes:core/v1:Service", "api", text, tmp_path / "none")
    error = found.combined_error()
    assert error and error.message == "api (kubernetes:core/v1:Service) failed"
    assert error.detail == detail


def test_a_container_s_own_error_comes_through_whole(tmp_path: Path) -> None:
    own = SlipwayError("api failed", detail="its last lines\n  boom", remedy="Mend it.", log=tmp_path / "api.log")
    found = failures(errors={"urn:api": own})
    found.add("slipway:docker:Container", "api", "whatever Pulumi shows of it", tmp_path / "none", "urn:api")
    found.add("slipway:docker:Container", "api", "something after it", tmp_path / "none", "urn:api")
    assert found.combined_error() is own
    assert (own.message, own.detail, own.remedy) == ("api failed", "its last lines\n  boom", "Mend it.")


def test_a_question_of_configuration_stays_one(tmp_path: Path) -> None:
    found = failures(errors={"urn:api": ConfigError("DOCKER_HOST is no address", remedy="Write one.")})
    found.add("slipway:docker:Container", "api", "DOCKER_HOST is no address\nremedy: Write one.", tmp_path, "urn:api")
    error = found.combined_error()
    assert isinstance(error, ConfigError) and error.exit_code == 2 and error.remedy == "Write one."


def test_further_failures_are_named_too(tmp_path: Path) -> None:
    found = failures()
    found.add("slipway:docker:Container", "api", "api failed", tmp_path / "none")
    found.add("slipway:docker:Container", "web", "web failed", tmp_path / "none")
    error = found.combined_error()
    assert error and error.message == "api (slipway:docker:Container) failed"
    assert "api failed" in error.detail and "Also: web (slipway:docker:Container) failed" in error.detail


def test_the_services_whose_rollout_failed_are_known_once_each(tmp_path: Path) -> None:
    found = failures()
    for kind, name in [
        ("kubernetes:apps/v1:Deployment", "api"),
        ("kubernetes:apps/v1:Deployment", "api"),
        ("kubernetes:core/v1:Service", "web"),
    ]:
        found.add(kind, name, "timed out waiting to be Ready", tmp_path / "none")
    assert found.failed_rollouts() == ["api"]
