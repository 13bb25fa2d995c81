"""The server in compose and Kubernetes, what Prometheus asks it, and what the dashboard shows."""

import json
import re
from typing import Any

import kubernetes_validate
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from lab.server import OPEN
from serving.metrics import Metrics
from tests.support.scratch import CHECKOUT

FOLDER = CHECKOUT / "deployments"
KUBERNETES = "1.33"


def load(name: str) -> Any:
    return list(YAML(typ="safe").load_all(FOLDER / name))


def test_the_pod_gets_requests_when_it_is_ready_and_time_to_finish_them() -> None:
    service, deployment, scaler = load("kubernetes/serving.yaml")
    for each in (service, deployment, scaler):
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    (port,) = container["ports"]
    assert service["spec"]["selector"] == pod["metadata"]["labels"]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert container["args"][container["args"].index("--port") + 1] == str(port["containerPort"])
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(port["containerPort"])
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    wait = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["spec"]["terminationGracePeriodSeconds"] > wait + int(container["args"][-1])
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert scaler["spec"]["metrics"][0]["pods"]["metric"]["name"] in metrics()


def test_the_lab_is_reached_where_its_door_is() -> None:
    service, deployment = load("kubernetes/lab.yaml")
    for each in (service, deployment):
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ((stack,),) = [load("compose.yaml")]
    port = str(container["ports"][0]["containerPort"])
    assert container["args"] == stack["services"]["lab"]["command"].split()[3:] == ["--host", "0.0.0.0", "--port", port]
    assert container["readinessProbe"]["httpGet"]["path"] == OPEN
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]


def test_prometheus_finds_the_server_of_the_stack() -> None:
    ((stack,), (prometheus,)) = load("compose.yaml"), load("prometheus.yaml")
    (job,) = prometheus["scrape_configs"]
    name, port = job["static_configs"][0]["targets"][0].split(":")
    server = stack["services"][name]
    assert server["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert int(server["stop_grace_period"].rstrip("s")) > int(server["command"].split()[-1])


def test_the_dashboard_shows_metrics_that_there_are() -> None:
    dashboard = json.loads((FOLDER / "grafana.json").read_text())
    asked = {name for panel in dashboard["panels"] for each in panel["targets"]
             for name in re.findall(r"gptcore_\w+", each["expr"])}  # fmt: skip
    assert asked
    assert asked <= metrics()
    assert len({each["id"] for each in dashboard["panels"]}) == len(dashboard["panels"])


def metrics() -> set[str]:
    """The names of all samples, whether they have a value yet or not."""
    found = Metrics()
    found.requests.labels("/", "200")
    found.ended.labels("done")
    found.version.labels("1", "a")
    families = text_string_to_metric_families(found.text().decode())
    return {sample.name for family in families for sample in family.samples}
