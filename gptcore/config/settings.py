"""`GPTCORE_*` environment variables: how to run, not what to compute. None of them belongs in params.yaml."""

import os
import re
from functools import cache
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gptcore.config.environment import read_environment
from gptcore.errors import UserError, known_names

if TYPE_CHECKING:  # importing torch takes 2 s, which an unchanged flow does not need
    import torch


TRACKERS = ("mlflow", "wandb", "prometheus")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="GPTCORE_", frozen=True)

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="Where to compute; auto takes a CUDA GPU if there is one. mps is Apple's, not tested yet"
    )
    ranks: int = Field(
        0, ge=0, description="Processes that train together on this machine; 0 is one per GPU, on a CPU one"
    )
    sharding: Literal["ddp", "fsdp", "hsdp"] = Field(
        "ddp",
        description="Over several ranks: the whole model on each; weights and optimizer in parts; or in parts within "
        "each machine, whole on each machine",
    )
    micro_batch: int = Field(0, ge=0, description="Sequences per forward pass; 0 is as many as fit and are faster")
    deterministic: bool = Field(
        False, description="On a GPU, only operations that give the same bits every time; a CPU's always do"
    )
    checkpoints: str = Field(
        "", description="Where resume state lies: a folder or s3://bucket/prefix; empty is data/scratch"
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="torch.compile of each block; auto is on for a GPU, where it pays, and off elsewhere"
    )
    finished_states: str = Field(
        "",
        description="A file to which the place of a finished training's resume state is added, for the flow to remove "
        "when DVC has recorded the result; empty removes it at once",
    )
    repository: str = Field(
        "",
        description="Where the checkout was cloned from, as in a container: a flow run hands its experiment on to that "
        "git URL; empty is the checkout",
    )
    data_roots: str = Field(
        "",
        description="Folders and beginnings of addresses that data may be read from, separated by spaces, such as "
        "`/corpora https:// s3://bucket/texts`; relative folders start at the repository; empty is everywhere",
    )
    checkpoint_seconds: float = Field(20, gt=0, description="Training seconds between two resume checkpoints")
    kept_models: int = Field(
        0,
        ge=0,
        description="Models that a training keeps, at so many evenly spaced steps, in data/scratch/models; "
        "evaluate-checkpoints measures them",
    )
    trackers: str = Field(
        "",
        description="Who hears of a training while it trains: mlflow, wandb, prometheus, several with commas between, "
        "or none; empty is mlflow if MLFLOW_TRACKING_URI is a server's address",
    )
    tracking_seconds: float = Field(10, gt=0, description="Seconds between two points of a tracked training's curves")
    prometheus: str = Field(
        "127.0.0.1:9108", description="HOST:PORT where Prometheus finds a training, of the tracker prometheus"
    )
    run_name: str = Field("", description="The name of a tracked training; a flow run sets its own")

    @field_validator("trackers")
    @classmethod
    def _are_known(cls, given: str) -> str:
        names = given.split(",") if given not in ("", "none") else []
        if unknown := [each for each in names if each not in TRACKERS]:
            raise ValueError(f"there is no tracker {unknown[0]!r}{known_names(unknown[0], (*TRACKERS, 'none'))}")
        return given

    @field_validator("prometheus")
    @classmethod
    def _is_address(cls, given: str) -> str:
        host, _, port = given.rpartition(":")
        if not (host and re.fullmatch(r"\d{1,5}", port, re.ASCII) and 0 < int(port) < 1 << 16):
            raise ValueError("it is HOST:PORT, such as 127.0.0.1:9108")
        return given

    def tracker_names(self) -> list[str]:
        is_served = os.environ.get("MLFLOW_TRACKING_URI", "").startswith(("http://", "https://"))
        if self.trackers in ("", "none"):
            return ["mlflow"] if is_served and not self.trackers else []
        return list(dict.fromkeys(self.trackers.split(",")))

    def compiles(self) -> bool:
        return self.compile == "on" or (self.compile == "auto" and self.torch_device().type == "cuda")

    def torch_device(self) -> "torch.device":
        """The GPU with this process's local rank, or the CPU. Raises UserError when a requested GPU is missing.

        Apple's GPUs are only taken when asked for: nobody has compared a run on one with a run elsewhere.
        """
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            raise UserError("GPTCORE_DEVICE=cuda, but torch finds no GPU here; unset it or use cpu")
        if self.device == "mps":
            if not torch.backends.mps.is_available():
                raise UserError("GPTCORE_DEVICE=mps, but torch finds no Apple GPU here; unset it or use cpu")
            return torch.device("mps")
        if self.device == "cpu" or not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


@cache
def settings() -> Settings:
    """Read the environment once. Raises UserError that names an invalid variable."""
    return read_environment(Settings)
