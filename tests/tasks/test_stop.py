"""A step that is stopped: its task is cancelled, its flow ends as if it had raised. test_faults.py sends SIGTERM."""

import pytest
from prefect import flow, task
from prefect.runtime import flow_run

from tasks.stop import STOPPED, stoppable, unless_stopped
from tests.support import scratch
from tests.tasks.test_show import ask


@pytest.mark.usefixtures("server")
def test_a_stopped_step_is_cancelled_and_the_flow_raises_what_stopped_it() -> None:
    run, stop = list[str](), KeyboardInterrupt()

    @task
    @stoppable
    def step() -> str:
        raise stop

    @flow
    def steps() -> None:
        run.append(flow_run.id)
        unless_stopped(step())

    with pytest.raises(KeyboardInterrupt) as raised:
        steps()
    assert raised.value is stop
    scratch.wait_until(lambda: [each["state_name"] for each in ask("/task_runs/filter", run[0])] == ["Cancelled"])
    (task_run,) = ask("/task_runs/filter", run[0])
    assert task_run["state"]["message"] == STOPPED
