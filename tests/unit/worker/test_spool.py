"""Files of answers that could not be stored: what is written, and what is read back."""

import os
import resource
import stat
from dataclasses import replace

import pytest

from neurogloss.errors import InputError
from tests.support.calls import ANSWER
from worker.spool import ANSWERS_IN_FILE, Spool

ANSWERS = [
    replace(ANSWER, distributions=b"\0\xff\1"),
    replace(ANSWER, identity=b"j" * 32, text="words\0 and \u2028 lines", request_id=None),
]


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "home" / "spool")


def test_answers_are_read_as_they_were_and_by_their_owner_alone(spool):
    spool.keep(3, "mine", ANSWERS)
    (path,) = spool.files()
    file = spool.read(path)
    assert (file.run_id, file.run) == (3, "mine")
    assert [a.identity for a in file.as_answers()] == [a.identity for a in ANSWERS]
    assert file.as_answers()[0] == ANSWERS[0]
    assert file.as_answers()[1].text == "words\ufffd and \u2028 lines"  # as Postgres stores it
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_many_answers_are_parted_into_files(spool):
    spool.keep(3, "mine", [ANSWER] * (ANSWERS_IN_FILE + 1))
    assert [len(spool.read(path).answers) for path in spool.files()] == [ANSWERS_IN_FILE, 1]


def test_a_full_spool_keeps_what_it_has_and_says_so(tmp_path):
    spool = Spool(tmp_path / "spool", most_bytes=1000)
    spool.keep(3, "mine", ANSWERS[:1])
    with pytest.raises(OSError, match="is full: 1,000 bytes"):
        spool.keep(3, "mine", ANSWERS)
    assert len(list((tmp_path / "spool").iterdir())) == 1


def test_a_disk_that_is_full_leaves_no_part_of_a_file(spool, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))  # as a full disk: writing raises OSError
    try:
        with pytest.raises(OSError, match="too large"):
            spool.keep(3, "mine", ANSWERS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "home" / "spool").iterdir()) == []


def test_a_folder_that_is_open_to_others_is_not_used(tmp_path):
    folder = tmp_path / "spool"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match="closed to others"):
        Spool(folder).keep(3, "mine", ANSWERS)


GOOD = b'{"version":1,"run_id":3,"run":"mine","answers":[%b]}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 100_000,
        b"\xff\xfe",
        GOOD % b"",
        GOOD.replace(b"1", b"2", 1) % b"{}",
        GOOD.replace(b"}", b',"key":1}') % b"{}",
    ],
    ids=["empty", "nested", "binary", "without answers", "of a later version", "with more"],
)
def test_what_is_no_file_of_answers_is_refused(spool, content):
    spool.keep(3, "mine", ANSWERS)
    (path,) = spool.files()
    path.write_bytes(content)
    with pytest.raises(InputError):
        spool.read(path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"usd":0.5', b'"usd":-0.5'),
        (b'"usd":0.5', b'"usd":1e300'),
        (b'"usd":0.5', b'"usd":NaN'),
        (b'"prompt_tokens":10', b'"prompt_tokens":4294967296'),
        (b'"identity":"a', b'"identity":"!'),
        (b'"text":"words"', b'"text":7'),
        (b'"attempts":1,', b""),
    ],
)
def test_a_value_out_of_its_bounds_is_refused_without_being_quoted(spool, before, after):
    spool.keep(3, "mine", ANSWERS[:1])
    (path,) = spool.files()
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after))
    with pytest.raises(InputError, match=r"right form") as caught:
        spool.read(path)
    assert "words" not in str(caught.value)


def test_links_and_pipes_are_not_read(spool, tmp_path):
    spool.keep(3, "mine", ANSWERS)
    (path,) = spool.files()
    other = tmp_path / "other"
    path.rename(other)
    path.symlink_to(other)
    with pytest.raises(InputError, match="cannot be read"):
        spool.read(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="regular file"):
        spool.read(path)


def test_a_file_that_cannot_be_stored_is_set_aside_and_kept(spool):
    spool.keep(3, "mine", ANSWERS)
    (path,) = spool.files()
    spool.set_aside(path, "a reason")
    assert spool.files() == []
    assert [p.suffix for p in path.parent.iterdir()] == [".bad"]


def test_a_spool_that_was_never_used_is_empty(spool):
    assert spool.files() == []
