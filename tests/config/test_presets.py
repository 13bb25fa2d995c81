"""`gptcore configure`: the overrides people write, and the params.yaml that results."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gptcore.config.params import read_params
from gptcore.config.presets import compose, differences, groups, write
from gptcore.errors import UserError
from tests.support.closure import ROOT

CHOICES = groups(ROOT / "conf")
PRESETS = [f"{group}={choice}" for group, choices in CHOICES.items() for choice in choices]


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """params.yaml as composed from conf/, in its own folder."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    path = tmp_path / "params.yaml"
    write(compose([], path), path)
    return path


def configure(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gptcore", "configure", *overrides],
        cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_validates(params: Path, preset: str) -> None:
    compose([preset], params)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_says_what_it_is(preset: str) -> None:
    group, choice = preset.split("=")
    assert groups(ROOT / "conf")[group][choice]


@pytest.mark.parametrize("optim", CHOICES["optim"])
@pytest.mark.parametrize("architecture", CHOICES["architecture"])
@pytest.mark.parametrize("model", CHOICES["model"])
def test_model_architecture_and_optimizer_combine(params: Path, model: str, architecture: str, optim: str) -> None:
    values = compose([f"model={model}", f"architecture={architecture}", f"optim={optim}"], params)
    plain = architecture == "gpt2"
    assert values["model"]["tied_head"] == plain
    assert not (plain and (values["model"]["bigram_buckets"] or values["model"]["value_embeddings"]))
    assert values["optim"]["matrices"] == optim.split("_")[0]
    assert values["baseline"]["optim"]["matrices"] == "adamw"


def test_adamws_rates_follow_one_field(params: Path) -> None:
    """nanoGPT uses one rate for all sizes; GPT-3's falls with the size."""
    optim = compose(["optim=adamw_gpt2", "optim.matrix_learning_rate=2e-4"], params)["optim"]
    assert {each for name, each in optim.items() if name.endswith("learning_rate")} == {2e-4}
    sizes = ("gpt2-124m", "gpt2-350m", "gpt2-774m", "gpt2-1558m")
    baselines = [compose([f"model={size}"], params)["baseline"]["optim"] for size in sizes]
    assert [each["head_learning_rate"] for each in baselines] == [6e-4, 3e-4, 2.5e-4, 2e-4]


def test_the_baseline_gets_the_models_size(params: Path) -> None:
    values = compose(["model=baby", "model.n_layer=3"], params)
    assert values["model"]["n_embd"] == values["baseline"]["model"]["n_embd"] == 384
    assert values["model"]["n_layer"] == values["baseline"]["model"]["n_layer"] == 3


def test_a_value_alone_keeps_what_was_edited_by_hand(params: Path) -> None:
    write(compose(["train.seed=7"], params), params)
    values = compose(["train.steps=20"], params)
    assert values["train"]["seed"] == 7
    assert values["train"]["steps"] == 20


def test_a_group_composes_anew(params: Path) -> None:
    fresh = read_params(params)
    write(compose(["train.seed=7"], params), params)
    assert compose(["model=nano"], params) == fresh


def test_what_is_written_reads_back_the_same(params: Path) -> None:
    """1e-10, lists, empty and odd strings survive YAML 1.2."""
    values = compose(["optim.adam_eps=1e-10", "optim.adam_betas=[0.5,0.75]", "train.sample_prompt='yes: #1'"], params)
    write(values, params)
    assert read_params(params) == values
    assert values["optim"]["adam_eps"] == 1e-10
    assert values["train"]["sample_prompt"] == "yes: #1"


def test_differences_name_each_field() -> None:
    old, new = {"train": {"steps": 1, "gone": 2}}, {"train": {"steps": 3, "new": [4]}}
    assert differences(old, new) == [("train.steps", 1, 3), ("train.new", ..., [4]), ("train.gone", 2, ...)]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("modle=baby", "did you mean model?"),
        ("model=bay", "did you mean baby?"),
        ("trian.steps=2", "section trian is unknown; did you mean train?"),
        ("train.step=2", "train.step is unknown; known are seed, steps"),
        ("train.steps=many", "train.steps: input should be a valid integer"),
        ("train.steps=true", "train.steps: input should be a valid integer"),
        ("optim.schedule=linear", "optim.schedule: input should be 'wsd' or 'cosine'"),
        ("train.steps=1,2", "with one value"),
        ("+train.steps=1", "only group=choice and section.field=value"),
        ("~train.steps", "only group=choice and section.field=value"),
        ("train.steps", "cannot read `train.steps`"),
        ("train={steps: 1}", "group train has no such choice"),
        ("train.steps=${nowhere.at_all}", "cannot apply"),
        ("model.n_head=5", "n_embd 128 is not a multiple of n_head 5"),
        ("train.batch_tokens=1000", "train.batch_tokens 1000 is not a multiple of model.block_size 64"),
        ("data.source='https://me:hunter2@example.org/a'", "data.source: holds a user name or password"),
        ("evaluate.block_size=65", "evaluate.block_size 65 is longer than model.block_size 64"),
    ],
)
def test_a_mistake_is_named(params: Path, override: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        compose([override], params)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert "hunter2" not in str(error.value)


def test_the_command_shows_what_changed(params: Path) -> None:
    done = configure(params.parent, "train.seed=7")
    assert done.returncode == 0, done.stderr
    assert "train.seed  1337 -> 7\n" in done.stdout
    assert read_params(params)["train"]["seed"] == 7


def test_the_command_writes_nothing_on_a_mistake(params: Path) -> None:
    before = params.read_bytes()
    done = configure(params.parent, "model=baby", "train.steps=-1")
    assert done.returncode == 2
    assert done.stderr == "error: params.yaml: train.steps: input should be greater than 0, got -1\n"
    assert params.read_bytes() == before
    assert {each.name for each in params.parent.iterdir()} == {"conf", "params.yaml"}


def test_the_commands_help_lists_the_presets(params: Path) -> None:
    done = configure(params.parent, "--help")
    assert done.returncode == 0
    assert all(preset in done.stdout for preset in PRESETS)
