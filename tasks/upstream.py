"""The step `upstream`: the present content of the corpus's source."""

from pathlib import Path

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from gptcore.config.params import read_params, validate_section
from gptcore.config.paths import Paths
from gptcore.corpus.corpus import DataConfig
from gptcore.corpus.upstream import pinned_text, present_text
from gptcore.errors import Unavailable


def is_unavailable(task: Task[..., object], run: TaskRun, state: State[object]) -> bool:
    return isinstance(state.data, Unavailable)


@task(
    name="upstream", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=exponential_backoff(10),
    retry_jitter_factor=0.5, retry_condition_fn=is_unavailable,
)  # fmt: skip
def upstream(checkout: Path) -> tuple[str, str]:
    """The sha256 of the corpus of params.yaml, and of what its source gives now."""
    paths = Paths(checkout)
    data = validate_section(read_params(paths.params), "data", DataConfig)
    return pinned_text(data, paths), present_text(data, paths)
