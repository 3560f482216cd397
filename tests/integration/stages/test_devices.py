"""On what a run's activations were computed is stored, and a mixture is said."""

import logging

import torch

from db import devices
from neurogloss.subject.device import name_of
from neurogloss.subject.shape import read_shape
from tests.support.collected_run import config_of, make_run, work_through
from tests.support.tiny_subject import TOKENS, VOCABULARY, make_tokens

HERE = name_of(torch.device("cpu"))


def test_a_worker_notes_its_device_and_says_if_it_is_another(engine, tiny, caplog):
    tokens = make_tokens(64, VOCABULARY, TOKENS, 0)
    for name, before in (("alone", []), ("mixed", ["NVIDIA H100, torch 2.11"])):
        run_id = make_run(engine, config_of(name, tiny, 64, TOKENS, 32), read_shape(tiny), tokens)
        with engine.begin() as connection:
            for device in before:
                devices.note(connection, run_id, device)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "worker.stages.forward_pass"):
            work_through(engine, run_id)
        said = [record.devices for record in caplog.records if record.message == "devices differ"]
        assert said == ["; ".join([*before, HERE])] * len(before)
        with engine.begin() as connection:
            assert devices.note(connection, run_id, HERE) == [*before, HERE]
