"""The server in compose and Kubernetes, what Prometheus asks it, and what the dashboard shows."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from gptcore.tracking.prometheus import Prometheus
from serving.metrics import Metrics
from serving.options import Options
from serving.service import Service
from tests.support.cluster import free_port
from tests.support.scratch import CHECKOUT
from tests.support.serving import listening, served
from tests.support.told import tell

FOLDER = CHECKOUT / "deployments"
KUBERNETES = "1.33"


def load(name: str) -> Any:
    return list(YAML(typ="safe").load_all(FOLDER / name))


def test_the_pod_gets_requests_when_it_is_ready_and_time_to_finish_them() -> None:
    import kubernetes_validate

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
    import kubernetes_validate

    from lab.server import OPEN  # Streamlit takes a second, which not every test process needs

    service, deployment = load("kubernetes/lab.yaml")
    for each in (service, deployment):
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ((stack,),) = [load("compose.yaml")]
    port = str(container["ports"][0]["containerPort"])
    assert container["args"] == stack["services"]["lab"]["command"].split()[3:] == ["--host", "0.0.0.0", "--port", port]
    assert container["readinessProbe"]["httpGet"]["path"] == OPEN
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]


def test_prometheus_finds_server_and_trainings_of_the_stack() -> None:
    ((stack,), (prometheus,)) = load("compose.yaml"), load("prometheus.yaml")
    serving, training = prometheus["scrape_configs"]
    for target in training["static_configs"][0]["targets"]:
        name, port = target.split(":")
        told = stack["services"][name]["environment"]
        assert told["GPTCORE_PROMETHEUS"] == f"0.0.0.0:{port}" and "prometheus" in told["GPTCORE_TRACKERS"].split(",")
    name, port = serving["static_configs"][0]["targets"][0].split(":")
    server = stack["services"][name]
    assert server["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert int(server["stop_grace_period"].rstrip("s")) > int(server["command"].split()[-1])


def test_the_dashboard_shows_metrics_that_there_are() -> None:
    asked = {name for each in expressions() for name in re.findall(r"gptcore_\w+", each)}
    assert asked
    assert asked <= metrics()
    panels = dashboard()["panels"]
    assert len({each["id"] for each in panels}) == len(panels)


def dashboard() -> Any:
    return json.loads((FOLDER / "grafana.json").read_text())


def expressions() -> list[str]:
    return [each["expr"] for panel in dashboard()["panels"] for each in panel.get("targets", [])]


def metrics() -> set[str]:
    """The names of all samples of server and trainings, whether they have a value yet or not."""
    found, training = Metrics(), Prometheus("127.0.0.1:0")
    found.requests.labels("/", "200")
    found.ended.labels("done")
    found.version.labels("1", "a")
    for each in (training.step, *training.gauges.values()):
        each.labels("a")
    text = found.text() + generate_latest(training.registry)
    families = text_string_to_metric_families(text.decode())
    return {sample.name for family in families for sample in family.samples}


@pytest.mark.load
@pytest.mark.skipif(not shutil.which("prometheus"), reason="needs Prometheus, `apt-get install prometheus`")
def test_a_real_prometheus_scrapes_server_and_training_and_every_panel_has_data(tmp_path: Path) -> None:
    subprocess.run(["promtool", "check", "config", FOLDER / "prometheus.yaml"], check=True)
    port, (config,), tracker = free_port(), load("prometheus.yaml"), Prometheus(f"127.0.0.1:{free_port()}")
    tell(tracker)

    async def asked() -> None:
        async with (
            listening(Service(Options(slots=4, queue=4), served(1))) as (_, address),
            httpx.AsyncClient(timeout=60) as client,
        ):
            await client.post(f"{address}/v1/completions", json={"prompt": "a", "max_tokens": 5})
            lint, addresses = ["promtool", "check", "metrics"], (address.removeprefix("http://"), tracker.address)
            for place, each in enumerate(addresses):
                subprocess.run(lint, input=(await client.get(f"http://{each}/metrics")).content, check=True)
                config["scrape_configs"][place]["static_configs"][0]["targets"] = [each]
            config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
            YAML().dump(config, tmp_path / "prometheus.yaml")
            options = (f"--config.file={tmp_path}/prometheus.yaml", f"--storage.tsdb.path={tmp_path}/data")
            process = await asyncio.create_subprocess_exec(
                "prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"
            )
            try:
                left = expressions()
                async with asyncio.timeout(60):
                    while left:
                        await asyncio.sleep(0.5)
                        left = [each for each in left if not await has_data(client, each)]
            finally:
                process.terminate()
                await process.wait()

    async def has_data(client: httpx.AsyncClient, expression: str) -> bool:
        query = {"query": expression.replace("$__rate_interval", "1m")}
        try:
            answer = await client.get(f"http://127.0.0.1:{port}/api/v1/query", params=query)
        except httpx.ConnectError:  # it is not up yet
            return False
        if answer.status_code == 503:
            return False
        assert answer.json()["status"] == "success", (expression, answer.text)
        return bool(answer.json()["data"]["result"])

    asyncio.run(asked())


@pytest.mark.load
def test_a_minute_of_good_and_bad_clients_leaves_nothing_behind() -> None:
    subprocess.run([sys.executable, "soak.py", "--minutes", "1"], cwd=CHECKOUT / "benchmarks", check=True)
