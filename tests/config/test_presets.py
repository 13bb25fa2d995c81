"""`gptcore configure`: the overrides people write, and the params.yaml that results."""

import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from gptcore.config.overrides import override, repeated
from gptcore.config.params import read_params
from gptcore.config.presets import compose, differences, groups, write
from gptcore.errors import UserError
from gptcore.files import read_sums
from gptcore.model.config import ModelConfig
from gptcore.model.counts import counts
from gptcore.model.folder import save_export
from gptcore.tokens.make_tokenizer import byte_tokenizer
from tests.support.closure import ROOT
from tests.support.engine import GPT2
from tests.support.weights import random_model

CHOICES = groups(ROOT / "conf")
PRESETS = [f"{group}={choice}" for group, choices in CHOICES.items() for choice in choices]
COMBINED = ("model", "architecture", "optim")  # each of their presets is in a combination below

OF_A_START = ("experiment=finetune", "tokenizer=start", "lora=rank8", "lora=qlora")


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with conf/ and the params.yaml that it composes."""
    folder = tmp_path_factory.mktemp("composed") / "presets"
    shutil.copytree(ROOT / "conf", folder / "conf")
    write(compose([], folder / "params.yaml"), folder / "params.yaml")
    return folder


@pytest.fixture
def params(composed: Path, tmp_path: Path) -> Path:
    """params.yaml as composed from conf/, in its own folder."""
    return shutil.copytree(composed, tmp_path, dirs_exist_ok=True) / "params.yaml"


def configure(folder: Path, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gptcore", "configure", *overrides],
        cwd=folder, env={"PYTHONPATH": str(ROOT), **environment}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def a_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: of GPT-2's form, three blocks deep."""
    folder = tmp_path_factory.mktemp("start") / "folder"
    save_export(folder, random_model(GPT2, n_layer=3), byte_tokenizer())
    return folder


@pytest.mark.parametrize("preset", [each for each in PRESETS if not each.startswith(COMBINED)])
def test_every_preset_validates(composed: Path, a_start: Path, preset: str) -> None:
    needs = [f"train.start={a_start}"] if preset in OF_A_START else []
    compose([preset, *needs], composed / "params.yaml")


def test_a_start_decides_on_the_model(params: Path, a_start: Path) -> None:
    """Of any size: what interpolates the model's fields follows. The hash pins it; nothing is known of its text."""
    values = compose(["experiment=finetune", f"train.start={a_start}"], params)
    assert values["model"] == {**GPT2, "n_layer": 3, "dropout": values["model"]["dropout"]}
    assert {values["curve"]["block_size"], values["baseline"]["model"]["block_size"]} == {16}
    assert values["train"]["start_sha256"] == read_sums(a_start)["model.safetensors"]
    assert values["retained"] == {"text_sha256": "", "data": None, "tokenize": None}
    write(values, params)
    assert compose(["train.steps=5", "model.dropout=0.25"], params)["model"]["dropout"] == 0.25
    began = compose(["train.start=''", "tokenizer=bpe"], params)
    assert (began["train"]["start"], began["train"]["start_sha256"], began["model"]["n_layer"]) == ("", "", 4)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.n_layer=4"], "model.n_layer 4 contradicts the start"),
        (["model=baby"], "model.n_layer 6 contradicts the start"),
        (["train.start_sha256=" + "0" * 64], f"and train.start_sha256 is {'0' * 64}"),
        (["train.start=''"], "tokenize.tokenizer is start, and there is none: set train.start"),
        (["tokenizer=byte", "train.start=''"], "baseline.source is start, and there is none: set train.start"),
        (["lora=rank8", "lora.rank=33"], "lora.rank 33 is above model.n_embd 32"),
        (["tokenizer=byte", "baseline.source=train", "lora=rank8", "train.start=''"], "and there is none: name one"),
        (["train.start=nowhere"], "there is no model nowhere"),
    ],
)
def test_what_does_not_fit_a_start_is_one_line(params: Path, a_start: Path, overrides: list[str], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as error:
        compose(["experiment=finetune", f"train.start={a_start}", *overrides], params)
    assert "\n" not in str(error.value)


def test_every_preset_says_what_it_is() -> None:
    assert [choice for choices in CHOICES.values() for choice, said in choices.items() if not said] == []


# every two of their presets meet
COMBINATIONS = [
    (model, architecture, optim)
    for (i, model), (j, optim) in product(enumerate(CHOICES["model"]), enumerate(CHOICES["optim"]))
    for architecture in [list(CHOICES["architecture"])[(i + j) % len(CHOICES["architecture"])]]
]


@pytest.mark.parametrize(("model", "architecture", "optim"), COMBINATIONS)
def test_model_architecture_and_optimizer_combine(composed: Path, model: str, architecture: str, optim: str) -> None:
    choices = [f"model={model}", f"architecture={architecture}", f"optim={optim}"]
    values = compose(choices, composed / "params.yaml")
    plain = architecture == "gpt2"
    assert values["model"]["tied_head"] == (plain or model == "gpt2-124m")
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


@pytest.mark.parametrize("size", ["nano", "baby", "gpt2-124m"])
def test_the_baseline_gets_the_models_number_of_parameters(params: Path, size: str) -> None:
    values = compose([f"model={size}", "baseline=nanogpt_equal"], params)
    model, baseline = (counts(ModelConfig(**each["model"]), 2048).parameters for each in (values, values["baseline"]))
    assert baseline == pytest.approx(model, rel=0.03)
    assert values["baseline"]["model"]["n_layer"] == values["model"]["n_layer"]
    with pytest.raises(UserError, match="nanogpt_equal needs the number of ids, which with tokenizer char only"):
        compose([f"model={size}", "baseline=nanogpt_equal", "tokenizer=char"], params)


@pytest.mark.parametrize(("experiment", "n_vocab"), [("without_tables", 2048), ("shakespeare_cpu", 66)])
def test_a_model_has_nanogpts_number_of_parameters(params: Path, experiment: str, n_vocab: int) -> None:
    values = compose([f"experiment={experiment}"], params)
    model, baseline = (
        counts(ModelConfig(**each["model"]), n_vocab).parameters for each in (values, values["baseline"])
    )
    assert 0.98 * baseline < model < baseline
    nanogpts = compose([], params)["baseline"]["model"]
    assert values["baseline"]["model"] == nanogpts


def test_a_value_alone_keeps_what_was_edited_by_hand(params: Path) -> None:
    write(compose(["train.seed=7"], params), params)
    values = compose(["train.steps=20"], params)
    assert values["train"]["seed"] == 7
    assert values["train"]["steps"] == 20


def test_a_group_composes_anew(params: Path) -> None:
    fresh = read_params(params)
    write(compose(["train.seed=7"], params), params)
    assert compose(["model=nano"], params) == fresh


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "costs ${5", r"\${x} \\${", "${train.seed}", "???", "\x85'\n"])
def test_a_text_is_data(params: Path, text: str) -> None:
    """What conf/ interpolates, `${...}`, is letters in a value, and other changes leave them alone."""
    given = override("train.sample_prompt", text)
    for overrides in ([given], ["train.seed=8"], ["model=baby", given]):
        values = compose(overrides, params)
        write(values, params)
        assert read_params(params) == values
        assert values["train"]["sample_prompt"] == text


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
        ("train.start=5", "train.start: input should be a valid string"),
        ("retained.data.sauce=1", "retained.data.sauce is unknown; known are source, sha256"),
        ("trian.steps=2", "section trian is unknown; did you mean train?"),
        ("train.step=2", "train.step is unknown; known are start, start_sha256, seed, steps"),
        ("train.steps=many", "train.steps: input should be a valid integer"),
        ("train.steps=true", "train.steps: input should be a valid integer"),
        ("optim.schedule=linear", "optim.schedule: input should be 'wsd' or 'cosine'"),
        ("train.steps=1,2", "with one value"),
        ("+train.steps=1", "only group=choice and section.field=value"),
        ("~train.steps", "only group=choice and section.field=value"),
        ("train.steps", "cannot read `train.steps`"),
        ("train={steps: 1}", "group train has no such choice"),
        ("train.steps=${nowhere.at_all}", "train.steps: input should be a valid integer, got '${nowhere.at_all}'"),
        ("train.steps.x=1", "train.steps: input should be a valid integer"),
        ("train.target_loss=inf", "train.target_loss: input should be a finite number"),
        ("train.seed=" + "9" * 5_000, "cannot read `train.seed=999"),
        ("train.seed=" + "[" * 3_000, "cannot read `train.seed=[[["),
        ("train.sample_prompt=\udcff", "cannot read `train.sample_prompt=?`"),
        ("train.sample_prompt=é", "cannot read `train.sample_prompt=é`; write"),
        ("model.n_head=5", "n_embd 128 is not a multiple of n_head 5"),
        ("train.batch_tokens=1000", "train.batch_tokens 1000 is not a multiple of model.block_size 64"),
        ("data.source='https://me:hunter2@example.org/a'", "data.source: holds a user name or password"),
        ("evaluate.stride=65", "evaluate: stride 65 is longer than block_size 64"),
        ("evaluate.tasks=[lamda]", "there is no task lamda, and it is no *.jsonl file; did you mean lambada?"),
        ("evaluate.tasks=[nowhere.jsonl]", "evaluate.tasks: nowhere.jsonl cannot be read: No such file or directory"),
        (
            "evaluate.tasks=[{sauce:a.jsonl}]",
            "evaluate.tasks.0.sauce is unknown; known are task, source",
        ),
        ("gate.conditions=[{metric:a.acc,against:baseline,margin:0.0,confidence:0.0}]", "evaluate.tasks is empty"),
        ("evaluate.stride=0", "evaluate.stride: input should be greater than 0"),
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
    done = configure(params.parent, "train.seed=7", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0, done.stderr
    assert not re.search(r"\| +(torch|pandas|pyarrow)$", done.stderr, re.MULTILINE)  # each takes a second or so
    assert "train.seed  1337 -> 7\n" in done.stdout
    size = "2,883,596 parameters: 2,097,152 in embeddings and head, 786,444 in the rest; 6.7 MFLOPs per token"
    assert re.search(rf"^model +{size}$", done.stdout, re.MULTILINE)
    assert read_params(params)["train"]["seed"] == 7


def test_the_command_writes_nothing_on_a_mistake(params: Path) -> None:
    before = params.read_bytes()
    done = configure(params.parent, "model=baby", "train.steps=-1")
    assert done.returncode == 2
    assert done.stderr == "error: params.yaml: train.steps: input should be greater than 0, got -1\n"
    assert params.read_bytes() == before
    assert {each.name for each in params.parent.iterdir()} == {"conf", "params.yaml"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"train: {seed: 2024-01-01}",
            "has a value of YAML's type date at train.seed, 2024-01-01",
        ),
        (b"train: {seed: 2024-13-01}", "has a value that cannot be read: month must be in 1..12"),
        (b"train: {x: !!binary aGVq}", "has a value of YAML's type bytes at train.x"),
        (b"1: 2", "has 1 for a name; names are texts"),
        (b"a: \xff", "is not UTF-8 text, from byte 3 on"),
        (b"a: " + b"[" * 400 + b"]" * 400, "is nested too deeply"),
        (b"a: " + b"[" * 300 + b"]" * 300, "is nested too deeply"),
        (b"a: &a [*a]", "is nested too deeply, or within itself"),
        (b"a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> x\n", "has git's conflict markers in line 2"),
        (b"a: " + b"9" * 5_000, "has a value that cannot be read"),
        (b"a: !!python/object:os.system x", "is not valid YAML"),
        (b"train: {seed: 1e400}", "has no section `data`"),
        (None, "cannot be read: Is a directory"),
    ],
)
def test_a_file_that_is_no_params_yaml_is_one_line(params: Path, content: bytes | None, said: str) -> None:
    params.unlink()
    if content is None:
        params.mkdir()
    else:
        params.write_bytes(content)
    for overrides in ([], ["train.seed=3"]):
        with pytest.raises(UserError) as error:
            compose(overrides, params)
        assert str(error.value).startswith(f"params.yaml {said}")
        assert "\n" not in str(error.value)


def test_a_folder_is_not_replaced(params: Path) -> None:
    values = read_params(params)
    params.unlink()
    (params / "precious").mkdir(parents=True)
    with pytest.raises(UserError, match=r"params.yaml is a folder"):
        write(values, params)
    assert (params / "precious").exists()


@pytest.mark.parametrize(
    ("preset", "said"),
    [
        ("a: [", "nano.yaml"),
        ("\xff", "can't decode byte"),
        ("n_layer: ${", "no viable alternative"),
        ("defaults: [zzz]", "Could not load 'model/zzz'"),
        ("n_layer: ${nowhere}", "Interpolation key 'nowhere' not found"),
        ("a: " + "[" * 1_000, "recursion"),
    ],
)
def test_a_preset_that_does_not_compose_is_one_line(params: Path, preset: str, said: str) -> None:
    (params.parent / "conf/model/nano.yaml").write_bytes(preset.encode("latin-1"))
    with pytest.raises(UserError, match=re.escape(said)) as error:
        compose(["model=nano"], params)
    assert "\n" not in str(error.value)


def test_of_two_values_the_last_counts_and_it_is_said(params: Path) -> None:
    given = ["train.seed=5", "model=baby", "train.seed=6", "model=nano"]
    assert compose(given, params)["train"]["seed"] == 6
    assert compose(given, params)["model"]["n_embd"] == 128
    assert repeated(given) == [
        "train.seed is given 2 times; the last counts: train.seed=6",
        "model is given 2 times; the last counts: model=nano",
    ]


def test_the_commands_help_lists_the_presets(params: Path) -> None:
    done = configure(params.parent, "--help")
    assert done.returncode == 0
    assert all(preset in done.stdout for preset in PRESETS)
