"""Collect: from the corpus and the subject model to the activation records of every neuron."""

from worker.stages.collect.steps import collect as collect
from worker.stages.collect.steps import side_steps as side_steps
