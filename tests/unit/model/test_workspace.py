"""Everything that can be wrong in a workspace's files is found when they are read, by file, line, key and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.model import workspace
from slipway._internal.model.errors import ConfigError

WORKSPACE = 'name = "shop"\nregistry = "127.0.0.1:5000"\n'
SERVICE = 'kind = "python-api"\nroute = "/api"\nport = 8000\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "workspace.toml").write_text(WORKSPACE)
    add_service(tmp_path, "api", SERVICE)
    return tmp_path


def add_service(root: Path, name: str, text: str) -> Path:
    folder = root / "services" / name
    folder.mkdir(parents=True)
    (folder / "service.toml").write_text(text)
    (folder / "Dockerfile").write_text("FROM scratch\n")
    return folder


def refusal(root: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        workspace.load_workspace(root)
    assert caught.value.exit_code == 2
    assert caught.value.remedy
    return caught.value


def test_a_good_workspace_is_read_whole(root: Path) -> None:
    found = workspace.load_workspace(root)
    assert found.name == "shop"
    assert [service.name for service in found.services] == ["api"]
    assert found.repository("api") == "127.0.0.1:5000/shop/api"
    assert found.local_registry


def test_services_are_found_by_their_folders_in_order_of_name(root: Path) -> None:
    add_service(root, "zoo", 'kind = "worker"\n')
    add_service(root, "aaa", 'kind = "worker"\n')
    assert [service.name for service in workspace.load_workspace(root).services] == ["aaa", "api", "zoo"]


def test_a_mistyped_key_is_named_with_its_line_and_the_known_keys(root: Path) -> None:
    (root / "workspace.toml").write_text(WORKSPACE + "\n[gateway]\nprot = 8080\n")
    error = refusal(root)
    assert "workspace.toml:5: unknown key `prot` in [gateway]" in error.message
    assert "Did you mean `port`?" in error.remedy
    known = "allow, bind, body, cache, compression, cors, deny, hsts, limit, metrics-port, port, retries, timeouts"
    assert f"{known}, tls-port, websockets" in error.remedy


def test_a_mistyped_key_of_a_service_is_named_with_its_line(root: Path) -> None:
    (root / "services/api/service.toml").write_text('kind = "worker"\nruote = "/api"\n')
    error = refusal(root)
    assert "service.toml:2: unknown key `ruote`" in error.message
    assert "Did you mean `route`?" in error.remedy


def test_an_unknown_key_inside_a_named_secret_is_found(root: Path) -> None:
    (root / "workspace.toml").write_text(WORKSPACE + '[build.secrets]\nca = { fiel = "/x" }\n')
    assert "unknown key `fiel` in [build.secrets.ca]" in refusal(root).message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('port = "8000"\nkind = "worker"', "service.toml:1: `port`: expected a whole number, got a text"),
        ('kind = "worker"\nport = 70000', "service.toml:2: `port`"),
        ('kind = "worker"\nroute = "api"\nport = 1', "service.toml:2: `route` is 'api'"),
        ('kind = "worker"\nroute = "/api"', "service.toml:2: a service with a route needs a `port`"),
        ('kind = "worker"\nlibs = ["nope"]', "service.toml:2: there is no lib `nope`"),
        ('kind = "worker"\n[resources]\nmemory = "lots"', "service.toml:3: `memory` is 'lots'"),
        ('kind = "worker"\n[resources]\nmemory = ""', "service.toml:3: `memory` is ''"),
        ('kind = "worker"\n[tmp]\nsize = "64 MB"', "service.toml:3: `size` is '64 MB'"),
        ('kind = "worker"\n[tmp]\nsize = ""', "service.toml:3: `size` is ''"),
        ('kind = "worker"\n[tmp]\nexec = "yes"', "service.toml:3: `tmp.exec`"),
        ('kind = "worker"\ndrain = 0', "service.toml:2: `drain`"),
        ('kind = "worker"\ndrain = "30s"', "service.toml:2: `drain`"),
        ('kind = "worker"\nstart-timeout = 3601', "service.toml:2: `start-timeout`"),
        ('kind = "worker"\nstart_timeout = 60', "service.toml:2: unknown key `start_timeout`"),
        ("kind = ", "not valid TOML"),
        ('port = 1\nroute = "/x"', "missing key"),
        ('kind = "worker"\nsecrets = ["a b"]', "`a b` is not a variable name"),
        ('kind = "worker"\n[resources]\ngpu = 0', "service.toml:3: `resources.gpu`"),
        ('kind = "worker"\n[scale]\nmin = 3\nmax = 2', "service.toml:4: `max` is 2, less than `min`, which is 3"),
        ('kind = "worker"\n[scale]\nmin = 3\nmax = 2', "service.toml:4: `max` is 2"),
        ('kind = "worker"\n[scale]\ncpu = 0', "service.toml:3: `scale.cpu`"),
        ('kind = "worker"\n[job]\n', "service.toml:2: `job`: missing key `schedule`"),
        ('kind = "worker"\n[job]\nschedule = "soon"', "service.toml:3: `schedule` is 'soon': it has 1 fields"),
        ('kind = "worker"\nport = 1\n[job]\nschedule = "@daily"', "service.toml:2: a job takes no requests"),
        (
            'kind = "worker"\nport = 1\nroute = "/x"\n[job]\nschedule = "@daily"',
            "service.toml:3: a job takes no requests, so it has no `route`",
        ),
        ('kind = "worker"\n[scale]\nmax = 2\n[job]\nschedule = "@daily"', "service.toml:2: a job has no [scale]"),
        ('kind = "worker"\nhealth = "/health"', "service.toml:2: `health` is '/health', and there is no `port`"),
        ('kind = "worker"\nport = 80\nhealth = "health"', "service.toml:3: `health` is 'health'"),
        (
            'kind = "worker"\nport = 80\nroute = "/api"\nopenapi = "/openapi.json"',
            "service.toml:4: `openapi` is '/openapi.json', which no route of the service answers",
        ),
        (
            'kind = "worker"\nport = 80\nopenapi = "/openapi.json"',
            "service.toml:3: `openapi` is '/openapi.json', which",
        ),
        ('kind = "worker"\nport = 80\nroute = "/"\nopenapi = "//a"', "service.toml:4: `openapi` is '//a', which"),
        ('kind = "worker"\nneeds = ["nope"]', "service.toml:2: `needs` names 'nope', and there is no such service"),
        ('kind = "worker"\nneeds = ["api"]', "service.toml:2: `needs` names 'api', which is the service itself"),
    ],
)
def test_a_wrong_value_is_named_with_its_file_and_line(root: Path, text: str, said: str) -> None:
    (root / "services/api/service.toml").write_text(text + "\n")
    assert said in refusal(root).message


def test_two_services_on_one_route_are_both_named(root: Path) -> None:
    add_service(root, "b", 'kind = "worker"\nroute = "/api"\nport = 9000\n')
    error = refusal(root)
    assert "`route` /api is taken by the service `api`" in error.message
    assert "services/b/service.toml" in error.message


def test_two_services_may_listen_on_the_same_port_each_in_its_own_container(root: Path) -> None:
    add_service(root, "b", 'kind = "worker"\nroute = "/b"\nport = 8000\n')
    assert {each.settings.port for each in workspace.load_workspace(root).services} == {8000}


def test_what_a_service_says_of_its_start_its_end_and_its_tmp_is_read(root: Path) -> None:
    add_service(root, "b", 'kind = "x"\nstart-timeout = 300\ndrain = 90\n[tmp]\nexec = true\nsize = "64m"\n')
    api, b = (workspace.load_workspace(root).service(name).settings for name in ("api", "b"))
    assert (api.start_timeout, api.drain, api.tmp) == (None, 30, workspace.TmpSettings())
    assert (b.start_timeout, b.drain, b.tmp) == (300, 90, workspace.TmpSettings(exec=True, size="64m"))


def test_a_missing_dockerfile_is_named(root: Path) -> None:
    (root / "services/api/Dockerfile").unlink()
    assert "services/api/Dockerfile is missing" in refusal(root).message


def test_a_folder_without_service_toml_is_named(root: Path) -> None:
    (root / "services/api/service.toml").unlink()
    error = refusal(root)
    assert "services/api/service.toml is missing" in error.message
    assert "git checkout -- services/api/service.toml" in error.remedy
    assert "remove the folder" in error.remedy


@pytest.mark.parametrize("file", ["app/__pycache__/main.pyc", "node_modules/x/index.js", "debug.log", ".env", "app/"])
def test_a_folder_that_a_change_of_branches_left_is_passed_over(root: Path, file: str) -> None:
    (root / ".gitignore").write_text("__pycache__/\nnode_modules/\n.env\n*.log\n")
    left = root / "services" / "old" / file
    (left if file.endswith("/") else left.parent).mkdir(parents=True)
    if not file.endswith("/"):
        left.write_text("x")
    assert [service.name for service in workspace.load_workspace(root).services] == ["api"]
    (root / "services" / "old" / "main.py").write_text("x")
    assert "services/old/service.toml is missing" in refusal(root).message


def test_a_lib_that_a_change_of_branches_left_is_none(root: Path) -> None:
    (root / "libs" / "common" / "__pycache__").mkdir(parents=True)
    (root / "libs" / "common" / "__pycache__" / "a.pyc").write_text("x")
    (root / "services" / "api" / "service.toml").write_text(f'{SERVICE}libs = ["common"]\n')
    assert "there is no lib `common`" in refusal(root).message
    (root / "libs" / "common" / "common.py").write_text("x")
    workspace.load_workspace(root)


def test_a_workspace_in_a_folder_whose_name_is_misread_is_refused(root: Path) -> None:
    odd = root / "a%20b"
    odd.mkdir()
    assert "% in a path does not work" in refusal(odd).message


def test_a_folder_that_is_no_dns_label_is_refused(root: Path) -> None:
    add_service(root, "My_Api", 'kind = "worker"\n')
    assert "`My_Api` is not a DNS label" in refusal(root).message


@pytest.mark.parametrize("name", ["gateway", "base-node"])
def test_a_service_may_not_take_a_name_that_slipway_uses(root: Path, name: str) -> None:
    add_service(root, name, 'kind = "worker"\n')
    assert f"`{name}` is a name that Slipway uses itself" in refusal(root).message


@pytest.mark.parametrize("registry", ["https://ghcr.io", "a b", "UPPER.io/x", "host:99999", "host:0", ""])
def test_a_bad_registry_is_refused(root: Path, registry: str) -> None:
    (root / "workspace.toml").write_text(f'name = "shop"\nregistry = "{registry}"\n')
    assert "workspace.toml:2: `registry`" in refusal(root).message


@pytest.mark.parametrize(
    ("registry", "local"),
    [
        ("127.0.0.1:5000", True),
        ("localhost:5000/x", True),
        ("[::1]:5000", True),
        ("ghcr.io/acme", False),
        ("localhost.io", False),
    ],
)
def test_a_loopback_registry_is_one_that_slipway_runs(root: Path, registry: str, local: bool) -> None:
    (root / "workspace.toml").write_text(f'name = "shop"\nregistry = "{registry}"\n')
    assert workspace.load_workspace(root).local_registry is local


def test_an_official_base_without_a_digest_is_refused(root: Path) -> None:
    (root / "workspace.toml").write_text(WORKSPACE + '[bases.official]\npython-run = "python:3.13"\n')
    assert "workspace.toml:4: base `python-run` is not pinned by digest" in refusal(root).message


def test_a_secret_with_two_sources_is_refused(root: Path) -> None:
    (root / "workspace.toml").write_text(WORKSPACE + '[build.secrets]\nca = { file = "/x", env = "X" }\n')
    assert "`ca` needs exactly one" in refusal(root).message


def test_only_secrets_that_have_a_value_are_passed_to_builds(root: Path, tmp_path: Path) -> None:
    there = tmp_path / "token"
    there.write_text("t")
    sources = [f'a = {{ file = "{there}" }}', 'b = { file = "/nowhere" }', 'c = { env = "C" }', 'd = { env = "D" }']
    (root / "workspace.toml").write_text("\n".join([WORKSPACE, "[build.secrets]", *sources, ""]))
    found = workspace.load_workspace(root).build_secrets({"C": "value", "D": ""})
    assert sorted(found) == ["a", "c"]
    assert workspace.read_build_secret(found["a"], {}) == "t"


def test_a_file_that_is_not_utf8_is_refused(root: Path) -> None:
    (root / "workspace.toml").write_bytes(b'name = "\xff"')
    assert "is not UTF-8" in refusal(root).message


def test_an_unknown_service_is_refused_with_those_that_exist(root: Path) -> None:
    with pytest.raises(ConfigError, match="no service `web`") as caught:
        workspace.load_workspace(root).service("web")
    assert "api" in caught.value.remedy


def test_the_root_is_found_from_any_folder_below(root: Path) -> None:
    assert workspace.find_root(root / "services" / "api") == root.resolve()


def test_outside_a_workspace_the_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no workspace\.toml"):
        workspace.find_root(tmp_path)


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ("[[scan.exceptions]]\nid = 'A'\nuntil = 2026-01-01\n", "3: `scan.exceptions`: missing key `reason`", ""),
        (
            "[[scan.exceptions]]\nid = 'A'\nuntil = 2026-01-01\nreason = 'r'\n"
            "[[scan.exceptions]]\nid = 'B'\nuntil = 'soon'\nreason = 'r'\n",
            "9: `scan.exceptions.until`: ",
            "",
        ),
        (
            "[[scan.exceptions]] # one\nid = 'A'\nuntil = 7\nreason = 'r'\n",
            "5: `scan.exceptions.until`: expected a date such as 2026-12-31",
            "",
        ),
        ("[[scan.exceptions]]\nid = 'A'\nuntil = 2026-01-01\nreason = ''\n", "6: `scan.exceptions.reason`", ""),
        (
            "[scan]\nignore-unfixed = true\n[[scan.exceptions]]\nid = 'A'\nuntill = 2026-01-01\n",
            "7: unknown key `untill` in [[scan.exceptions]]",
            "Did you mean `until`?",
        ),
        ("[scan]\nexceptions = [{ ids = 'A' }]\n", "4: unknown key `ids` in [[scan.exceptions]]", "`id`"),
        (
            '[scan]\nrefuse = ["HIGH", "SEVERE"]\n',
            "4: `scan.refuse`: invalid enum value 'SEVERE'",
            "'CRITICAL', 'HIGH'",
        ),
        ("[scan]\nuntil = 2026-13-01\n", "not valid TOML", ""),
        ("[bases]\nsource = 'mine'\n", "4: `bases.source`: invalid enum value 'mine'", "'auto', 'official'"),
    ],
)
def test_a_mistake_in_the_scans_policy_is_named_with_its_line(root: Path, text: str, said: str, remedy: str) -> None:
    (root / "workspace.toml").write_text(WORKSPACE + text)
    error = refusal(root)
    assert said in error.message
    assert remedy in error.remedy


def test_the_scans_policy_is_read(root: Path) -> None:
    (root / "workspace.toml").write_text(
        WORKSPACE
        + '[scan]\nrefuse = ["LOW"]\nignore-unfixed = false\ndatabase = "mirror.example/trivy-db:2"\n'
        + '[[scan.exceptions]]\nid = "A"\nuntil = 2026-01-31\nreason = "r"\nservices = ["api"]\n'
    )
    scan = workspace.load_workspace(root).settings.scan
    assert (scan.refuse, scan.ignore_unfixed, scan.database) == (("LOW",), False, "mirror.example/trivy-db:2")
    assert [(each.id, each.until.isoformat(), each.services) for each in scan.exceptions] == [
        ("A", "2026-01-31", ("api",)),
    ]


def test_a_service_that_takes_no_requests_cannot_be_needed(root: Path) -> None:
    add_service(root, "queue", 'kind = "worker"\n')
    add_service(root, "web", 'kind = "node-web"\nroute = "/"\nport = 3000\nneeds = ["api", "queue"]\n')
    error = refusal(root)
    assert "services/web/service.toml:4: `needs` names 'queue', which has no `port`" in error.message
    assert error.remedy == "Services that can be called: api."


def test_what_a_service_runs_with_is_read(root: Path) -> None:
    add_service(
        root, "train", 'kind = "worker"\nneeds = ["api"]\n[resources]\ngpu = 2\n[job]\nschedule = "0 3 * * *"\n'
    )
    found = workspace.load_workspace(root).service("train").settings
    assert (found.needs, found.resources.gpu, found.job) == (("api",), 2, workspace.JobSettings("0 3 * * *"))
    scale = workspace.load_workspace(root).service("api").settings.scale
    assert (scale.min, scale.max, scale.cpu) == (1, 1, 70)
    assert workspace.ScaleSettings(min=3).max == 3, "a fixed number"
