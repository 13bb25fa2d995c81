"""The step `rollback`: gives the alias `champion` back to an earlier version."""

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event


@task(name="rollback", task_run_name="rollback", cache_policy=NO_CACHE)
def roll_back(checkout: Path, to: int | None, why: str) -> int:
    """Move the alias to version `to`, or to the champion before; emit an event. Returns the number of the version.

    Not retried: where the first try has moved the alias, a second would take the champion before that one.
    """
    from gptcore.registry.rollback import rollback
    from gptcore.registry.tracking import opened_in

    with opened_in(checkout) as registry:
        done = rollback(registry, to, why)
    emit_event(
        event="gptcore.model.promoted",
        resource={"prefect.resource.id": "gptcore.model.gpt", "prefect.resource.name": f"gpt version {done.to}"},
        payload={"version": done.to, "because": f"rollback: {why}"},
    )
    return done.to
