"""The pages themselves, without a browser."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows.page.lineage import LONGEST
from gptcore.registry.moves import FOUND
from gptcore.registry.tracking import opened_in
from gptcore.training.guard import SkippedBatch
from lab.read.experiments import all_experiments
from lab.read.prefect import REBUILD, Prefect
from tasks.workspace.workspace import plain_name
from tests.support.cluster import Cluster, free_port
from tests.support.scratch import CHECKOUT

if TYPE_CHECKING:  # its import takes a second in each test process, which collects all tests and runs some
    from streamlit.testing.v1 import AppTest

APP = str(CHECKOUT / "lab/app.py")


@pytest.fixture(autouse=True)
def forgetful() -> None:
    """What a page remembers for some seconds is of the folder of another test."""
    import streamlit as st

    st.cache_data.clear()
    st.cache_resource.clear()


def opened(page: str = "", **query: list[str]) -> "AppTest":
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(APP, default_timeout=120)
    for name, values in query.items():
        app.query_params[name] = values
    if page:
        app.switch_page(f"page/{page}.py")
    return app.run()


def given(app: "AppTest") -> list[str]:
    """The overrides in the page's address."""
    found = app.query_params["o"]
    return [found] if isinstance(found, str) else found


def shown(app: "AppTest") -> str:
    assert not app.exception
    return " ".join(str(each.value) for each in (*app.title, *app.markdown, *app.caption, *app.info))


def leave_out_a_batch(prefect: Prefect, run: str) -> None:
    """A line in the log of a training, as its guard writes it."""
    (train,) = [each for each in prefect.steps(run) if each.name == "train"]
    line = str(SkippedBatch(step=2, batch=1, loss=9.25, back_to=1))
    when = datetime.now(UTC).isoformat()
    entry = {"name": "test", "level": 20, "message": f"train: {line}", "timestamp": when, "flow_run_id": run}
    prefect.http.post(f"{prefect.address}/logs/", json=[{**entry, "task_run_id": train.id}]).raise_for_status()


@pytest.mark.parametrize("page", ["run", "compare", "playground", "registry"])
def test_an_empty_page_says_what_to_do(project: Path, page: str) -> None:
    app = opened(page)
    assert not app.exception and not app.error and not app.warning
    if page != "run":  # where the runs of other tests are
        said = "There is no run to compare" if page == "compare" else "A run registers the model that it has trained"
        assert said in shown(app)


def test_a_mistake_is_told_at_its_field_and_a_run_starts_with_what_is_right(project: Path, queues: str) -> None:
    app = opened(o=["train.steps=0"])
    assert [each.value for each in app.error] == ["Input should be greater than 0"]
    assert [each.value for each in app.selectbox if each.label == "start"] == [""]
    (start,) = [each for each in app.button if each.label == "Start the run"]
    assert start.disabled
    (steps,) = [each for each in app.text_input if each.label == "steps"]
    steps.set_value("7").run()
    assert not app.error
    assert given(app) == ["train.steps=7"]
    app.pills(key="section").set_value("presets").run()
    app.selectbox(key="preset of model").select("baby").run()
    assert given(app) == ["model=baby", "train.steps=7"]
    (start,) = [each for each in app.button if each.label == "Start the run"]
    start.click().run()
    assert not app.exception
    run = next(each for each in Prefect(queues).runs() if each.state == "Scheduled")
    assert run.parameters["overrides"] == ["model=baby", "train.steps=7"]
    assert run.name in shown(app)


def test_a_field_shows_its_value_and_not_what_the_browser_remembers_of_before(project: Path) -> None:
    """It keeps what was entered until a run of the page has ended, which hardly one does if a person is quick."""
    app = opened(section=["train"])
    (steps,) = [each for each in app.number_input if each.label == "steps"]
    before = steps.value
    steps.set_value(before + 1)
    remembered = app._tree.get_widget_states()
    app.run()
    assert given(app) == [f"train.steps={before + 1}"]
    (steps,) = [each for each in app.number_input if each.label == "steps"]
    steps.set_value(before)
    sent = app._tree.get_widget_states()
    known = {each.id for each in sent.widgets}
    sent.widgets.extend(each for each in remembered.widgets if each.id not in known)
    app._run(sent)
    (steps,) = [each for each in app.number_input if each.label == "steps"]
    assert steps.value == before
    assert not app.query_params.get("o")


def test_what_a_run_has_left_is_on_each_page(finished: Path, queues: str) -> None:
    with ThreadPoolExecutor(2) as pool:  # as the server does beside the first page
        one, other = pool.map(all_experiments, (finished, finished))
    (name,) = one
    assert other[name] is one[name], "it is read twice"
    run = next(each for each in Prefect(queues).runs() if plain_name(each.name) == name)
    with opened_in(finished) as registry:  # as a tracker does
        ((version, _),) = registry.versions()
        for figure in ("learning_rate", "gradient_norm"):
            registry.client.log_metric(version.run_id, figure, 0.5, step=1)
    leave_out_a_batch(Prefect(queues), run.id)
    app = opened("run", run=[run.id])
    assert {each.label: each.value for each in app.metric}["bits per byte"] == "2.0500"
    assert "is the new champion" in shown(app) and "**train** " in shown(app)
    assert [each.label for each in app.expander].count("Why it ran, and what it made") >= 6
    assert "ROMEO: to be" in [each.value for each in app.code]
    assert len(app.get("vega_lite_chart")) == 3
    assert "Guard of train" in [each.value for each in app.subheader] and "1 batch was left out" in shown(app)
    assert app.table[0].value.reset_index().to_numpy().tolist() == [["2", "9.25", "1", "1"]]

    app = opened(section=["train"])
    assert [each.value for each in app.success] == [
        f"This is cached: the run {name} has made it, and another takes seconds."
    ]
    assert "TFLOPs of training; about " in shown(app) and "by the last run" in shown(app)
    (start,) = [each for each in app.selectbox if each.label == "start"]
    assert start.options == ["from scratch", "gpt@champion", "gpt@1"]

    app = opened("compare", over=["TFLOPs"])
    (row,) = app.dataframe[0].value.to_dict("records")
    assert (row["name"], row["state"], row["version"], row["aliases"]) == (name, "Completed", 1, "challenger, champion")
    assert row["open"] == f"/run?run={run.id}"
    assert len(app.get("vega_lite_chart")) == 1
    assert "Prefect" in [each.label for each in app.get("page_link")] and "`dvc exp show`" in shown(app)


def test_a_version_is_made_again_at_a_press(finished: Path, queues: str) -> None:
    app = opened("registry")
    assert ":green[:material/check_circle:]" in shown(app)
    (picture,) = app.get("image")
    told = picture.proto.imgs[0].alt
    (name,) = all_experiments(finished)
    assert told.endswith("version gpt version 1, of evaluation") and f"training run {name[:LONGEST]}, of" in told
    assert {"Its run", "Prefect"} <= {each.label for each in app.get("page_link")}
    (champion,) = app.dataframe[0].value.to_dict("records")
    assert (champion["version"], champion["until"]) == (1, "now") and "its 2.0500 bits per byte" in champion["why"]
    with opened_in(finished) as registry:  # by somebody in MLflow's pages
        registry.client.delete_registered_model_alias("gpt", "champion")
    app.run()
    (champion,) = app.dataframe[0].value.to_dict("records")
    assert champion["until"] != "now" and FOUND in [*app.dataframe[1].value["why"]]
    app.session_state["rebuild-1"] = True  # as if somebody had pressed "Rebuild"
    app.run()
    (start,) = [each for each in app.button if each.label == "Start the rebuild"]
    start.click().run()
    run = next(each for each in Prefect(queues).runs(REBUILD) if each.state == "Scheduled")
    assert run.parameters == {"version": 1}
    assert run.name in shown(app) and "version 1 again" in shown(app)
    assert run.name in [each.label for each in opened("run").get("page_link")]


def test_a_server_that_is_away_is_one_line_and_then_the_page_goes_on(
    project: Path, server: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lab.page import parts

    prefect = parts.prefect()
    prefect.address = f"http://127.0.0.1:{free_port()}/api"
    app = opened("run", run=["00000000-0000-0000-0000-000000000000"])
    (warning,) = app.warning
    assert "does not answer" in warning.value
    prefect.address = server
    app.run()
    assert not app.warning
    (error,) = app.error
    assert "does not know" in error.value
