"""Folders of datasets that hold what is no file of a dataset."""

import os
import sys

import pytest

from neurogloss.errors import InputError
from orchestrator.datasets.export import CHECKSUMS
from orchestrator.datasets.imports import source
from orchestrator.datasets.imports.source import FolderSource, open_source

PATH = "records.json"


def link_to_device(path):
    path.symlink_to("/dev/zero")


def link_to_fifo(path):
    os.mkfifo(path.with_name("fifo"))
    path.symlink_to("fifo")


def link_to_itself(path):
    path.symlink_to(path)


SPECIAL = [link_to_device, os.mkfifo, link_to_fifo, os.mkdir]


@pytest.mark.parametrize("make", SPECIAL)
@pytest.mark.parametrize("name", [PATH, CHECKSUMS])
@pytest.mark.timeout(10)
def test_what_is_no_regular_file_is_refused(tmp_path, make, name):
    make(tmp_path / name)
    with pytest.raises(InputError, match="is no regular file"):
        open_source(str(tmp_path), 1).read(name)


def test_a_link_to_itself_cannot_be_read(tmp_path):
    link_to_itself(tmp_path / PATH)
    with pytest.raises(InputError, match="cannot be read"):
        FolderSource(tmp_path).read(PATH)


@pytest.mark.parametrize(("name", "limit"), [(PATH, "MOST_BYTES"), (CHECKSUMS, "CHECKSUMS_BYTES")])
def test_a_file_that_is_too_large_is_refused(tmp_path, name, limit, monkeypatch):
    monkeypatch.setattr(source, limit, 1 << 20)
    with (tmp_path / name).open("wb") as file:
        file.truncate((1 << 20) + 1)
    with pytest.raises(InputError, match="is larger than 1 MiB"):
        open_source(str(tmp_path), 1).read(name)


# Other systems have no file that says that it is empty and is not.
@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_a_file_that_says_that_it_is_empty_is_read_up_to_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MOST_BYTES", 10)
    (tmp_path / PATH).symlink_to("/proc/version")
    with pytest.raises(InputError, match="is larger than"):
        FolderSource(tmp_path).read(PATH)


def test_a_link_to_a_file_is_read(tmp_path):
    (tmp_path / "there.json").write_bytes(b"{}")
    (tmp_path / PATH).symlink_to("there.json")
    assert FolderSource(tmp_path).read(PATH) == b"{}"
    assert FolderSource(tmp_path).read("missing.json") is None
