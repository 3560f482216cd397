import shutil

import pytest

from tests.support.databases import connected, copied
from tests.support.dataset_run import make_run
from tests.support.openai_dataset import export_openai


@pytest.fixture
def run_id(engine):
    return make_run(engine)


@pytest.fixture(scope="session")
def exported_once(services, template, tmp_path_factory):
    """What an export of the run in OpenAI's format left, which takes processes of its own."""
    folder = tmp_path_factory.mktemp("exported")
    with copied(services, template, "exported") as url, connected(url) as engine:
        export_openai(engine, make_run(engine), folder)
    return folder


@pytest.fixture
def exported(exported_once, tmp_path):
    """A folder with an export of the run in OpenAI's format, which a test may change."""
    return shutil.copytree(exported_once, tmp_path / "exported")
