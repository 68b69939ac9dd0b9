"""docker-compose.yml, the Dockerfile and what they mount: pinned, checked, without a secret, and known to the app."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.core import Metric

from sinks.clickhouse.views.texts import texts
from sinks.dashboards.queries import CLICKHOUSE_PLUGIN, CLICKHOUSE_PLUGIN_VERSION
from stream.runtime.settings import Settings
from stream.runtime.telemetry import Telemetry
from tests.support.compose import docker_compose
from tests.support.grafana import BOARDS, boards, in_force, labels_in, metrics_in, questions

ROOT = Path(__file__).parents[1]
SECRETS = (
    *("COSTREAM_CLICKHOUSE_PASSWORD", "COSTREAM_SERVE_TOKENS"),
    *("GRAFANA_CLICKHOUSE_PASSWORD", "GRAFANA_ADMIN_PASSWORD"),
)
ONE_SHOT = {"setup"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    read = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert isinstance(read, dict)
    return read


def environments(compose: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {name: service.get("environment", {}) for name, service in compose["services"].items()}


def test_every_costream_variable_in_the_file_is_a_setting_the_application_knows(compose: dict[str, Any]) -> None:
    given = {name for environment in environments(compose).values() for name in environment if "COSTREAM" in name}
    known = {f"COSTREAM_{name.upper()}" for name in Settings.model_fields}
    assert given
    assert given - known == set()


def test_the_workers_environment_makes_valid_settings(compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environments(compose)["worker"].items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.kafka_bootstrap_servers == "kafka:19092"
    assert settings.clickhouse_url == "http://clickhouse:8123"


def test_every_image_is_pinned_to_a_full_version(compose: dict[str, Any]) -> None:
    images = {service["image"] for service in compose["services"].values()}
    bases = set(re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    for image in images | bases:
        assert re.fullmatch(r"[a-z./-]+:v?\d+\.\d+\.\d+(\.\d+)?(-[a-z-]+)?", image), f"{image} is not pinned"


def test_the_tests_run_the_kafka_that_the_file_runs(compose: dict[str, Any]) -> None:
    from tests.support.kafka import IMAGE

    pom = ElementTree.parse(ROOT / "stream/up/jars/pom.xml").getroot()
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    (version,) = [
        dependency.findtext("m:version", namespaces=space)
        for dependency in pom.iterfind("m:dependencies/m:dependency", space)
        if dependency.findtext("m:groupId", namespaces=space) == "org.apache.kafka"
    ]
    assert compose["services"]["kafka"]["image"] == IMAGE == f"apache/kafka:{version}"
    assert f"\nimage={IMAGE}\n" in (ROOT / "tests/images/prepare.sh").read_text()


def test_dashboards_may_read_every_view_and_nothing_else() -> None:
    user = ElementTree.parse(ROOT / "deploy/clickhouse/grafana-user.xml").getroot()
    granted = [str(query.text) for query in user.iterfind("users/grafana/grants/query")]
    assert granted == [f"GRANT SELECT ON costream.{view}" for view in sorted(text.name for text in texts())]


def test_every_service_has_a_health_check_unless_it_runs_once(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name in ONE_SHOT:
            assert service["restart"] == "no"
        else:
            assert service["healthcheck"]["test"], name
            assert service["restart"] == "unless-stopped", name


def test_nothing_starts_before_what_it_needs_is_healthy(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
            assert how["condition"] == wanted, f"{name} needs {needed}"
    assert "setup" in services["worker"]["depends_on"]


def test_every_named_volume_is_used_and_declared(compose: dict[str, Any]) -> None:
    used = {
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
        if not volume.startswith(".")
    }
    assert used == set(compose["volumes"])


def test_mounted_files_exist(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            if volume.startswith("."):
                assert (ROOT / volume.split(":")[0]).exists(), volume
                assert volume.endswith(":ro"), volume


def test_ports_are_published_on_loopback_only(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), port


def test_every_secret_comes_from_the_environment_and_a_missing_one_is_an_error(compose: dict[str, Any]) -> None:
    for name, environment in environments(compose).items():
        for variable, value in environment.items():
            if variable == "GF_SMTP_PASSWORD":  # of who has mail sent: nobody else needs one
                assert value == "${GRAFANA_SMTP_PASSWORD:-}"
            elif re.search(r"PASSWORD|SECRET|TOKEN|KEY$", variable):
                assert re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", value), f"{name}: {variable} is written in the file"


def data_sources() -> dict[str, dict[str, Any]]:
    """Grafana's, by kind."""
    read = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/costream.yaml").read_text())
    return {source["type"]: source for source in read["datasources"]}


def test_no_mounted_file_holds_a_password() -> None:
    sources = data_sources()
    assert sources[CLICKHOUSE_PLUGIN]["secureJsonData"] == {"password": "$GRAFANA_CLICKHOUSE_PASSWORD"}
    assert not any("secureJsonData" in source for kind, source in sources.items() if kind != CLICKHOUSE_PLUGIN)
    user = ElementTree.parse(ROOT / "deploy/clickhouse/grafana-user.xml").getroot().find("users/grafana")
    assert user is not None
    password = user.find("password")
    assert password is not None
    assert (password.text, password.attrib) == (None, {"from_env": "GRAFANA_CLICKHOUSE_PASSWORD"})


def test_the_example_environment_names_every_secret_and_gives_no_value() -> None:
    example = (ROOT / ".env.example").read_text()
    lines = [line for line in example.splitlines() if line and not line.startswith("#")]
    compose = (ROOT / "docker-compose.yml").read_text()
    assert set(re.findall(r"\$\{([A-Z_]+):\?", compose)) == set(SECRETS)
    optional = set(re.findall(r"\$\{([A-Z_]+):-", compose))
    assert optional == set(re.findall(r"^# ([A-Z_]+)=", example, re.MULTILINE))
    assert len(re.findall(r"\$\{", compose)) == len(re.findall(r"\$\{[A-Z_]+:[?-]", compose))
    assert sorted(lines) == sorted(f"{name}=" for name in SECRETS)


def test_dashboards_read_the_database_the_worker_writes_and_may_only_select(compose: dict[str, Any]) -> None:
    database = environments(compose)["worker"]["COSTREAM_CLICKHOUSE_DATABASE"]
    source = data_sources()[CLICKHOUSE_PLUGIN]
    users = ElementTree.parse(ROOT / "deploy/clickhouse/grafana-user.xml").getroot()
    assert source["jsonData"]["defaultDatabase"] == database
    assert users.find(f"users/{source['jsonData']['username']}") is not None
    grants = [str(query.text) for query in users.iterfind("users/grafana/grants/query")]
    assert all(grant.startswith(f"GRANT SELECT ON {database}.") for grant in grants)
    assert users.findtext("profiles/dashboards/readonly") == "2"


def test_grafana_gets_the_plugin_that_the_boards_are_written_for(compose: dict[str, Any]) -> None:
    plugin = environments(compose)["grafana"]["GF_PLUGINS_PREINSTALL_SYNC"]
    assert plugin == f"{CLICKHOUSE_PLUGIN}@{CLICKHOUSE_PLUGIN_VERSION}"
    versions = {each.target["pluginVersion"] for each in questions() if each.sql}
    assert versions == {CLICKHOUSE_PLUGIN_VERSION}


def test_every_source_that_a_board_asks_for_is_there_and_asks_a_service_of_the_file(compose: dict[str, Any]) -> None:
    sources = data_sources()
    for name, board in boards().items():
        asked = {each["query"] for each in board["templating"]["list"] if each["type"] == "datasource"}
        assert asked == set(sources), name
    assert sources[CLICKHOUSE_PLUGIN]["jsonData"]["host"] in compose["services"]
    host, port = sources["prometheus"]["url"].removeprefix("http://").split(":")
    assert f"127.0.0.1:9090:{port}" in compose["services"][host]["ports"]


def test_grafana_loads_every_board_and_opens_on_what_was_spent(compose: dict[str, Any]) -> None:
    grafana = compose["services"]["grafana"]
    mounts = {there: here for here, there, _ in (volume.split(":") for volume in grafana["volumes"] if "./" in volume)}
    (provider,) = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/costream.yaml").read_text())[
        "providers"
    ]
    folder = provider["options"]["path"]
    assert (ROOT / mounts[folder]).resolve() == BOARDS
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (str(home.parent), home.stem) == (folder, "costream-cost")
    assert home.stem in boards()
    for place in ("datasources", "dashboards", "alerting"):
        assert mounts[f"/etc/grafana/provisioning/{place}"] == f"./deploy/grafana/provisioning/{place}"


def test_each_panel_names_metrics_and_labels_that_a_worker_exports() -> None:
    exported = {sample: metric for metric in Telemetry().registry.collect() for sample in _samples(metric)}
    labels = {"le", *(label for metric in vars(Telemetry()).values() for label in getattr(metric, "_labelnames", ()))}
    asked = [each for each in questions() if each.promql]
    assert len(asked) > 10
    for question in asked:
        named = metrics_in(question.promql)
        assert named, str(question)
        assert named <= exported.keys(), str(question)
        assert labels_in(question.promql) <= labels, str(question)
        legend = question.target.get("legendFormat", "")
        assert set(re.findall(r"{{(\w+)}}", legend)) <= labels_in(question.promql), str(question)


def _samples(metric: Metric) -> list[str]:
    ends = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return [metric.name + end for end in ends.get(metric.type, [""])]


def test_the_names_of_metrics_are_found_in_what_is_asked() -> None:
    asked = 'topk(3, sum by (le, x) (rate(a_total{job="b", c=~"d"}[$__range]))) > 0 and max(e_f) * 1000'
    assert (metrics_in(asked), labels_in(asked)) == ({"a_total", "e_f"}, {"le", "x"})


def test_prometheus_can_read_what_the_panels_ask(tmp_path: Path) -> None:
    asked = [each.promql for each in questions() if each.promql]
    rules = [{"record": f"panel:{n}", "expr": in_force(expression)} for n, expression in enumerate(asked)]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run([_promtool(), "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(asked)} rules found" in done.stdout


def test_the_image_installs_from_the_lock_with_the_uv_that_made_it_and_without_the_embedded_engine() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    development = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    (uv,) = [requirement for requirement in development if str(requirement).startswith("uv==")]
    assert f"pip install --no-cache-dir {uv}\n" in dockerfile
    assert "--constraints requirements.lock --build-constraints requirements.lock" in dockerfile
    assert "embedded]" not in dockerfile
    assert re.search(r"^USER \d+$", dockerfile, re.MULTILINE), "the worker must not run as root"


def test_each_rule_names_a_metric_that_a_worker_exports_and_says_what_to_do() -> None:
    (group,) = yaml.safe_load((ROOT / "deploy/prometheus/costream-rules.yml").read_text())["groups"]
    exported = set(re.findall(r"^# HELP (\S+)", generate_latest(Telemetry().registry).decode(), re.MULTILINE))
    for rule in group["rules"]:
        named = set(re.findall(r"costream_[a-z_]+", rule["expr"]))
        assert named, rule["alert"]
        assert named <= exported, rule["alert"]
        assert rule["annotations"]["summary"].endswith("."), rule["alert"]
        assert rule["annotations"]["description"].endswith("."), rule["alert"]
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_prometheus_takes_the_rules_and_each_fires_on_what_it_is_for() -> None:
    promtool = _promtool()
    for arguments in (
        ["check", "rules", "deploy/prometheus/costream-rules.yml"],
        ["check", "config", "--syntax-only", "deploy/prometheus/prometheus.yml"],
        ["test", "rules", "tests/rules.prometheus.yml"],
    ):
        done = subprocess.run([promtool, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def _promtool() -> str:
    promtool = shutil.which("promtool")
    if promtool is None:
        assert not os.environ.get("CI"), "no promtool (Debian: apt-get install prometheus)"
        pytest.skip("no promtool (Debian: apt-get install prometheus)")
    return promtool


def test_the_environment_is_written_with_passwords_that_nobody_has_and_never_over_another(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    for name in (".env.example", "deploy/write-env"):
        shutil.copy(ROOT / name, tmp_path / name)
    write = [str(tmp_path / "deploy/write-env")]
    subprocess.run(write, check=True, capture_output=True, cwd="/")
    file = tmp_path / ".env"
    given = dict(line.split("=", 1) for line in file.read_text().splitlines() if line and not line.startswith("#"))
    assert set(given) == set(SECRETS)
    assert len(set(given.values())) == len(SECRETS)
    assert all(re.fullmatch(r"[0-9a-f]{48}", password) for password in given.values())
    assert file.stat().st_mode & 0o077 == 0
    before = file.read_text()
    refused = subprocess.run(write, check=False, capture_output=True, text=True, cwd="/")
    assert (refused.returncode, file.read_text()) == (1, before)
    assert "stays as it is" in refused.stderr


def test_docker_compose_accepts_the_file_and_refuses_it_without_passwords(tmp_path: Path) -> None:
    command = docker_compose()
    bare = {name: value for name, value in os.environ.items() if name not in SECRETS}
    given = bare | dict.fromkeys(SECRETS, "from-the-environment")

    accepted = subprocess.run([*command, "config"], cwd=ROOT, env=given, capture_output=True, text=True, check=False)
    assert accepted.returncode == 0, accepted.stderr
    assert "from-the-environment" in accepted.stdout

    nothing = tmp_path / "empty.env"  # in place of a developer's own .env, which would answer the question
    nothing.touch()
    refused = subprocess.run(
        [*command, "--env-file", str(nothing), "config"],
        cwd=ROOT,
        env=bare,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
    assert "see .env.example" in refused.stderr
