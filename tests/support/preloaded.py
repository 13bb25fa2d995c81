"""What the processes of forked.py have from the start: the stages, and what a training imports only as it goes.

An optimizer's first step imports torch._dynamo, which takes a second.
"""
# ruff: noqa: F401

import gc

import ruamel.yaml
import torch._dynamo
import torch.distributed.tensor
import torch.profiler

import gptcore.corpus.stream
import gptcore.stages.baseline
import gptcore.training.run

gc.freeze()  # no search for garbage goes through all that
