"""The commands of README and docs, and for each the test that runs it or what it needs that no test has.

`HERE` are run by tests/test_documented_commands.py as they are written, in a scratch project where a flow has run. `BY`
names, for the rest, the test that runs the program with such options on names of its own. `NEEDS` says why none does.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.support.closure import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/*.md")])
CONFIGURE = r"gptcore configure(?! --help)"  # each runs in a folder of its own, but for the look at models of the page

HERE = (  # in an order in which each can do what it says; version 3 is there
    "gptcore registry history",
    "gptcore registry history --at 2026-11-01",
    "gptcore registry history --at 2026-11-01T12:30",
    "gptcore registry promote 3 --why 'it is smaller'",
    "gptcore registry rollback --why 'it repeats itself'",
    "gptcore registry rollback --to 3 --why 'the one that was measured by hand'",
    "gptcore registry judge 3",
    "gptcore registry verify",
    "gptcore lineage champion",
    "gptcore lineage 3 --json",
    "gptcore lineage gentle-phoenix",
    "dvc metrics show",
    "dvc exp show",
    "dvc exp show --only-changed --sort-by data/evaluation/metrics.json:model.bits_per_byte --sort-order asc",
    "dvc plots show",
    "dvc repro tokenize",
    "dvc repro evaluate",
    "dvc repro",
    "dvc remote add --default store s3://my-bucket/gptcore",
    "dvc remote modify store verify true",
    "dvc remote modify store read_timeout 20",
    "dvc remote modify store connect_timeout 10",
    "git commit -m 'A remote' .dvc/config",
    "dvc exp run -S train.seed=7",
)

BY = {
    r"make train.*|python -m flows\.train_gpt.*": "flows/test_flow.py::test_flow_then_flow_then_dvc",
    r"python -m gptcore\.generation\.latency .*": "generation/test_latency.py::test_microseconds_per_token",
    r"make ui": "flows/test_ui.py::test_ui_runs_deployments_leaves_no_process_and_goes_on_next_time",
    r"make lab.*|python -m lab --host.*|make serve.*|python -m serving( --int8)?( --model .*)?":
        "lab/test_browser.py::test_a_person_goes_through_all_of_it",
    r"make deploy.*": "flows/test_deploy.py::test_deploying_again_changes_nothing_but_what_differs",
    r"make worker POOL=gpu": "tasks/test_faults.py::test_another_host_goes_on_where_a_spot_machine_was_taken_away",
    r"prefect deployment run train-gpt/train-(local|gpu) .*":
        "tasks/test_faults.py::test_a_run_goes_on_after_whatever_died",
    r"(python -m flows\.sweep|prefect deployment run sweep-gpt/sweep-local) .*":
        "flows/test_sweep.py::test_sweep_ranks_promotes_and_runs_only_what_is_missing",
    r"(python -m flows\.rollback_gpt|prefect deployment run rollback-gpt/rollback-local) .*":
        "tasks/test_promote.py::test_promotion_over_several_models",
    r"python -m flows\.refresh_data|prefect deployment run refresh-data/refresh-local":
        "flows/test_refresh_data.py::test_a_change_upstream_starts_one_run_on_the_new_text",
    r"python -m flows\.evaluate_checkpoints.*":
        "flows/test_evaluate_checkpoints.py::test_each_checkpoint_is_logged_once",
    r"(python -m flows\.complete_prompts|prefect deployment run complete-prompts/complete-local) .*":
        "flows/test_complete_prompts.py::test_a_run_goes_on_where_another_was_killed",
    r"python -m flows\.tokenize_fanout .*|dask .*":
        "flows/test_tokenize_fanout.py::test_a_cluster_of_two_workers_gives_the_same_bytes",
    r"python -m gptcore\.stages\.train": "training/test_distributed.py::test_two_ranks_are_one_within_float_order",
    r"torchrun .*": "training/test_distributed.py::test_two_hosts_end_together_and_go_on_together",
    r"python -m gptcore\.stages\.tokenize": "tokens/test_stage_tokenize.py::test_every_document_is_there_once",
    r"python docs/onnx_generate\.py .*": "weights/test_exports.py::test_onnxruntime_computes_every_field",
    r"gptcore doctor": "doctor/test_doctor.py::test_here_a_training_can_run",
    r"gptcore overfit": "training/test_overfit.py::test_one_batch_is_learned_by_heart",
    r"gptcore profile": "training/test_profile.py::test_the_command_lists_ten_operations",
    r"gptcore data inspect": "commands/test_data_command.py::test_inspect_says_what_is_there",
    r"gptcore data verify": "commands/test_data_command.py::test_verify_reads_every_file",
    r"gptcore rebuild 3.*": "flows/test_rebuild.py::test_a_version_is_made_again",
    r"gptcore registry verify --mend": "tasks/test_verify.py::test_faults_are_named_with_what_mends_them",
    r"gptcore registry measure 3": "registry/test_travel.py::test_version_is_measured_on_the_text_of_a_checkout",
    r"gptcore sample --chat":
        "commands/test_sample.py::test_a_chat_goes_on_and_forgets_only_what_the_context_has_no_room_for",
    r"gptcore sample .*--adapter .*": "weights/test_adapter.py::test_an_adapter_on_its_base_is_the_merged_model",
    r"gptcore sample .*--int8.*": "commands/test_sample.py::test_weights_in_8_bits",
    r"gptcore sample - .*":
        "commands/test_sample.py::test_prompts_from_standard_input_come_out_in_their_order",
    r"gptcore sample \"?'?ROMEO.*": "commands/test_sample.py::test_the_same_text_from_every_form_of_a_model",
    r"gptcore evaluate .*--continuations .*":
        "commands/test_evaluate.py::test_continuations_are_compared_with_references",
    r"gptcore evaluate (?!gpt2 ).*": "commands/test_evaluate.py::test_one_model_in_three_forms",
    r"gptcore export (?!gpt2 ).*--to huggingface .*":
        "weights/test_exports.py::test_transformers_computes_every_architecture_from_one_file",
    r"gptcore export .*--to onnx .*": "weights/test_exports.py::test_onnxruntime_computes_every_field",
    r"gptcore export .*--to pt2 .*": "weights/test_exports.py::test_torch_runs_the_program_without_gptcore",
    r"gptcore export .*--to int8 .*": "weights/test_exports.py::test_weights_in_8_bits",
    r"gptcore export (?!gpt2 ).*--to gguf .*":
        "weights/test_exports.py::test_llama_cpp_agrees_over_the_whole_vocabulary",
    r"gptcore export .*--to nanogpt .*": "weights/test_import_command.py::test_import_and_export",
    r"gptcore import .*--adapter .*": "weights/test_adapter.py::test_the_command_merges",
    r"gptcore import gpt2 .*":
        "weights/test_import_command.py::test_a_published_model_comes_from_the_hub_and_is_kept",
    r"gptcore import .*": "weights/test_import_command.py::test_import_and_export",
    r"mlflow models serve .*": "registry/test_travel.py::test_champion_is_loaded_and_served_where_gptcore_is_not",
    r"curl http://127\.0\.0\.1:8000/v1/completions .*":
        "serving/test_app.py::test_a_completion_is_what_the_engine_gives_whole_in_chunks_and_among_others",
    r"dvc exp pull origin .*":
        "tasks/test_remote.py::test_registry_and_remotes_are_enough_to_make_a_version_again",
    r"dvc repro --pull|dvc push --run-cache|dvc fetch --run-cache":
        "tasks/test_remote.py::test_a_fresh_clone_is_restored_by_dvc",
    r"lm_eval --model local-completions .*":
        "weights/test_lm_eval_model.py::test_the_server_gives_the_numbers_of_the_adapter",
    r"python -m serving --new-key": "serving/test_app.py::test_keys_and_rates",
    r"(gptcore|python) .*--help": "test_documented_commands.py::test_the_program_takes_it",
}  # fmt: skip

NEEDS = {
    r"make (test|check test|docs)": "no other: CI calls it, and so whoever runs this",
    r"make clean": "a checkout to be emptied",
    r"python (-m )?benchmarks.*": "an hour of a machine that does nothing else",
    r"pip install .*": "a package index and some gigabytes; CI does it",
    r"docker .*|mlflow models (build-docker|generate-dockerfile) .*|sed .*": "Docker",
    r"kubectl .*|make worker POOL=gpu-kubernetes": "a cluster",
    r"prefect server start .*|mlflow server .*": "a machine that others reach",
    r"vllm .*": "a GPU",
    r"gptcore (sample --model|evaluate|export) gpt2.*": "OpenAI's weights, half a gigabyte from the Hub",
    r"ln -s .*|python train\.py .*": "a checkout of nanoGPT",
}  # fmt: skip


def commands() -> Iterator[tuple[str, list[str]]]:
    """Page and words of each command of all console blocks, without comments, continued lines joined.

    Of the README also those in its sentences.
    """
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"```(?:console|sh)\n(.*?)```", text, re.DOTALL)
        blocks += re.findall(r"`((?:make|gptcore|dvc|python) [^`]+)`", text) if page.name == "README.md" else []
        for block in blocks:
            for line in block.replace("\\\n", " ").splitlines():
                if words := shlex.split(line, comments=True):
                    yield str(page.relative_to(ROOT)), words


def without_settings(words: list[str]) -> list[str]:
    """Without the variables that are set for it alone."""
    return words[next((place for place, word in enumerate(words) if not is_setting(word)), len(words)) :]


def is_setting(word: str) -> bool:
    return re.fullmatch(r"[A-Z][A-Z0-9_]*=.*", word) is not None


def answers(words: list[str]) -> list[str]:
    """Where a command is run, or what it needs: of each kind the entries that are about it."""
    text = shlex.join(words)
    found = ["here"] if text in {shlex.join(shlex.split(each)) for each in HERE} else []
    found += ["configure"] if re.match(CONFIGURE, text) else []
    return found + [why for kind in (BY, NEEDS) for pattern, why in kind.items() if re.fullmatch(pattern, text)][:1]


def is_there(test: str) -> bool:
    file, _, name = test.partition("::")
    path = ROOT / "tests" / Path(file)
    return path.is_file() and f"\ndef {name}(" in path.read_text(encoding="utf-8")
