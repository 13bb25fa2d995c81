"""The configuration of a run in each work pool, rendered by Prefect's workers; manifests match Kubernetes' schema."""

import asyncio
import copy
import tomllib
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from prefect.workers.base import BaseJobConfiguration
from ruamel.yaml import YAML

from flows.services.deploy import EVERYWHERE, POOLS
from tasks import ENVIRONMENT
from tests.support.scratch import CHECKOUT

FOLDER = CHECKOUT / "deployments"
KUBERNETES = "1.33"
CONFIGURATIONS = {
    "process": "prefect.workers.process:ProcessJobConfiguration",
    "docker": "prefect_docker.worker:DockerWorkerJobConfiguration",
    "kubernetes": "prefect_kubernetes.worker:KubernetesWorkerJobConfiguration",
}


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def render(pool: str, **job_variables: Any) -> Any:
    """The configuration with which `pool`'s worker would start a run."""
    wanted = load(FOLDER / "pools" / f"{pool}.yaml")
    kind: type[BaseJobConfiguration] = resolve_name(CONFIGURATIONS[wanted["type"]])  # half a second to import
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):  # never called, so no server is needed
        configuration = asyncio.run(kind.from_template_and_values(wanted["base_job_template"], job_variables))
    configuration.prepare_for_flow_run(FlowRun(id=uuid4(), name="swift-otter", flow_id=uuid4()))
    return configuration


def valid(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return `manifest` after a strict check of every field."""
    import kubernetes_validate

    manifest = copy.deepcopy(manifest)
    for field in ("parallelism", "completions"):  # prefect-kubernetes requires them in the pod too; clusters drop them
        manifest["spec"]["template"]["spec"].pop(field, None)
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    return manifest


@pytest.mark.parametrize("pool", ["cpu", "gpu", "control"])
def test_run_on_a_machine_is_one_process_in_the_workers_folder(pool: str) -> None:
    configuration = render(pool, env={"GPTCORE_DEVICE": "cpu"})
    assert configuration.command == "python -m prefect.engine"
    assert configuration.working_dir == Path()
    assert configuration.env["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    assert configuration.env["GPTCORE_DEVICE"] == "cpu"


def test_container_has_gpus_memory_cache_and_a_way_to_stop() -> None:
    configuration = render("gpu-docker", gpus=2, memory="64g", shared_memory="16g")
    assert configuration.image == "gptcore:latest"
    assert configuration.command == "prefect flow-run execute"
    assert configuration.mem_limit == "64g"
    assert configuration.volumes == ["gptcore-cache:/cache"]
    assert configuration.env["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"
    assert configuration.container_create_kwargs == {
        "device_requests": [{"driver": "nvidia", "count": 2, "capabilities": [["gpu"]]}],
        "shm_size": "16g",
        "init": True,
        "stop_signal": "SIGTERM",
    }
    assert render("gpu-docker").container_create_kwargs["device_requests"][0]["count"] == -1


def test_pod_has_gpus_memory_cache_secrets_and_time_for_a_checkpoint() -> None:
    toleration = {"key": "spot", "operator": "Exists"}
    configuration = render(
        "gpu-kubernetes", gpus=8, memory="200Gi", shared_memory="32Gi", node_selector={"gpu": "h200"},
        tolerations=[toleration], env={"GPTCORE_CHECKPOINTS": "s3://bucket/checkpoints"},
    )  # fmt: skip
    pod = valid(configuration.job_manifest)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert container["resources"]["limits"] == {"memory": "200Gi", "nvidia.com/gpu": 8}
    assert container["envFrom"] == [{"secretRef": {"name": "gptcore", "optional": True}}]
    assert pod["terminationGracePeriodSeconds"] >= 60
    assert pod["nodeSelector"] == {"gpu": "h200"}
    assert pod["tolerations"] == [toleration]
    assert {"name": "cache", "persistentVolumeClaim": {"claimName": "gptcore-cache"}} in pod["volumes"]
    assert {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "32Gi"}} in pod["volumes"]
    assert environment["GPTCORE_CHECKPOINTS"] == "s3://bucket/checkpoints"
    assert environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"


def assert_prometheus_finds(template: Any, container: Any) -> None:
    environment = {each["name"]: each["value"] for each in container["env"]}
    host, _, port = environment["GPTCORE_PROMETHEUS"].partition(":")
    assert (host, port) == ("0.0.0.0", template["metadata"]["annotations"]["prometheus.io/port"])
    assert "prometheus" in environment["GPTCORE_TRACKERS"].split(",")


@pytest.mark.parametrize(("backoff_limit", "behaviour"), [(0, "reschedule"), (3, "relinquish")])
def test_evicted_pod_gives_its_run_back(backoff_limit: int, behaviour: str) -> None:
    """To Prefect, which starts another pod, or to Kubernetes, which restarts this one."""
    manifest = valid(render("gpu-kubernetes", backoff_limit=backoff_limit).job_manifest)
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    assert_prometheus_finds(manifest["spec"]["template"], container)
    assert {"name": "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR", "value": behaviour} in container["env"]
    assert manifest["spec"]["backoffLimit"] == backoff_limit


@pytest.mark.parametrize("pool", sorted(path.stem for path in (FOLDER / "pools").glob("*.yaml")))
def test_every_variable_is_used_and_every_placeholder_known(pool: str) -> None:
    template = load(FOLDER / "pools" / f"{pool}.yaml")["base_job_template"]
    known = set(template["variables"]["properties"])
    text = str(template["job_configuration"])
    used = {word for word in known if f"{{{{ {word} }}}}" in text}
    assert used == known
    assert text.count("{{") == sum(text.count(f"{{{{ {word} }}}}") for word in used)


def test_training_over_several_machines_finds_its_pods() -> None:
    import kubernetes_validate

    service, job = YAML(typ="safe").load_all(FOLDER / "kubernetes" / "training-job.yaml")
    kubernetes_validate.validate(service, KUBERNETES, strict=True)
    kubernetes_validate.validate(job, KUBERNETES, strict=True)
    name, spec = job["metadata"]["name"], job["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    machines = spec["completions"]
    assert spec["completionMode"] == "Indexed"
    assert spec["parallelism"] == machines
    assert f"--nnodes={machines}" in container["args"]
    assert service["spec"]["selector"] == {"job-name": name}  # Kubernetes labels the Job's pods with it
    assert pod["subdomain"] == service["metadata"]["name"]
    port = service["spec"]["ports"][0]["port"]
    assert f"--rdzv-endpoint={name}-0.{service['metadata']['name']}:{port}" in container["args"]
    assert container["args"][-2:] == ["-m", "gptcore.stages.train"]
    assert_prometheus_finds(spec["template"], container)
    assert pod["terminationGracePeriodSeconds"] >= 60


def test_the_stack_is_whole() -> None:
    """No undefined names, which `docker compose config` would reject."""
    stack = load(FOLDER / "compose.yaml")
    services, pools = stack["services"], {path.stem for path in (FOLDER / "pools").glob("*.yaml")}
    assert {"postgres", "s3", "prefect", "mlflow", "worker-gpu"} <= set(services)
    for service in services.values():
        needed = service.get("depends_on", [])
        assert set(needed) <= set(services)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in stack["volumes"] or (FOLDER / source).exists()
        words = str(service.get("command", "")).split()
        if words[:3] == ["python", "-m", "flows.services.worker"]:
            assert words[3] in pools
    (gpus,) = services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert gpus["capabilities"] == ["gpu"]
    assert (FOLDER / services["prefect"]["build"]["context"] / services["prefect"]["build"]["dockerfile"]).is_file()


def test_a_run_from_a_terminal_is_not_taken_for_lost() -> None:
    """The automation expects heartbeats of any flow run; here too they come often enough for it to miss two."""
    automations = YAML(typ="safe").load(CHECKOUT / "deployments" / "automations.yaml")
    (lost,) = (each for each in automations if each["name"] == "lost runs")
    frequency = get_current_settings().flows.heartbeat_frequency
    assert frequency
    assert 3 * frequency < lost["trigger"]["within"]


def test_compose_file_lets_nobody_in_without_a_password() -> None:
    services = load(FOLDER / "compose.yaml")["services"]
    environments = {name: each.get("environment", {}) for name, each in services.items()}
    given = [str(value) for each in environments.values() for name, value in each.items() if not name.startswith("GPT")]
    assert all(":?set it" in value for value in given if "${" in value), "nothing starts without them"
    server = environments["prefect"]["PREFECT_SERVER_API_AUTH_STRING"]
    clients = [each for each in environments.values() if "PREFECT_API_URL" in each]
    assert [each["PREFECT_API_AUTH_STRING"] for each in clients] == [server] * 5
    assert "--app-name basic-auth" in services["mlflow"]["command"]
    assert environments["mlflow"]["MLFLOW_FLASK_SERVER_SECRET_KEY"]
    users = [each for each in environments.values() if "MLFLOW_TRACKING_URI" in each]
    assert len(users) == 5
    for each in users:
        assert each["MLFLOW_TRACKING_USERNAME"] == environments["mlflow"]["MLFLOW_AUTH_ADMIN_USERNAME"]
        assert each["MLFLOW_TRACKING_PASSWORD"] == environments["mlflow"]["MLFLOW_AUTH_ADMIN_PASSWORD"]
    assert all(port.startswith("127.0.0.1:") for each in services.values() for port in each.get("ports", []))


def test_workers_start_a_run_within_three_seconds_and_spare_the_database() -> None:
    """Prefect's worker waits for up to 1.3 times this between two polls; SQLite does not bear four of them a second."""
    assert 1 <= get_current_settings().worker.query_seconds <= 3 / 1.3


def test_the_prefect_command_reads_the_same_settings_as_flows() -> None:
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["prefect"]
    given = {
        f"PREFECT_{group}_{name}".upper(): value for group, each in settings.items() for name, value in each.items()
    }
    assert given
    assert given == {name: YAML(typ="safe").load(ENVIRONMENT[name]) for name in given}


def test_pools_that_any_machine_can_serve_need_no_gpu_container_or_pod() -> None:
    assert set(EVERYWHERE) < set(POOLS)
    for pool in EVERYWHERE:
        assert load(FOLDER / "pools" / f"{pool}.yaml")["type"] == "process"


def test_no_two_flows_have_deployments_of_one_name() -> None:
    """Prefect's pages list a deployment by its name alone."""
    names = [each["name"] for each in load(FOLDER / "prefect.yaml")["deployments"]]
    assert len(set(names)) == len(names) > 1
    assert "local" not in names
