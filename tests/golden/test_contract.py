"""Names that people and their scripts use: commands, exit codes, keys, tables, tasks, variables."""

import ast
import json
import re
import signal

import pytest
from click.types import Choice, FloatRange, IntRange

from tests.golden.derived import RUNS, configuration
from tests.golden.pinned import HERE
from tests.golden.project import RunConfig, celery_app, cli
from tests.golden.world import rehearsal_server

ROOT = HERE.parents[1]


def test_commands_have_the_names_and_options_that_they_had(pinned):
    with cli.make_context("neurogloss", [], resilient_parsing=True) as context:
        commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
        found = {
            name: {max(param.opts, key=len): _described(param) for param in command.params}
            for name, command in commands.items()
        }
    pinned.check("contract/commands.json", found)


def _described(param):
    """Return what a command line can say of a parameter; a default may be the machine's."""
    kind = param.type
    ranges = {"min": kind.min, "max": kind.max} if isinstance(kind, IntRange | FloatRange) else {}
    return {
        "names": [*param.opts, *param.secondary_opts],
        "kind": param.param_type_name,
        "type": kind.name,
        "required": param.required,
        "nargs": param.nargs,
        "multiple": getattr(param, "multiple", False),
        "is_flag": getattr(param, "is_flag", False),
        "default": "by the machine" if param.name == "processes" else _plain(param.default),
        **({"choices": list(kind.choices)} if isinstance(kind, Choice) else {}),
        **ranges,
    }


def _plain(default):
    """Return a default as JSON; where click has none, it is one of its own objects, or None."""
    if isinstance(default, bool | int | float | str | list | tuple):
        return default
    assert default is None or "UNSET" in repr(default), default
    return None


def _config(folder, text):
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return ("run", str(path), "--local-workers", "api=0")


TABLE = configuration("another", RUNS["json-1"])
CODES = [
    pytest.param(configuration("json-1", RUNS["json-1"]), 0, id="a run that is done"),
    pytest.param(configuration("found-out", RUNS["found-out"]), 3, id="a run of which some failed"),
    pytest.param(f"{TABLE}\nspeed = 1\n", 2, id="an unknown key"),
    pytest.param(TABLE.replace('"another"', '"json-1"'), 2, id="a changed configuration"),
    pytest.param(f'{TABLE}\napi_key_env = "NO_SUCH_KEY"\n', 2, id="a variable that is not set"),
    pytest.param(
        re.sub(r'base_url = ".*"', 'base_url = "http://127.83.17.5:18118/v1"\nwait_s = 0', TABLE),
        4,
        id="an endpoint that is not there",
    ),
]


@pytest.mark.parametrize(("config", "code"), CODES)
def test_run_exits_with_what_it_exited_with(derived, tmp_path, config, code):
    found, output = derived.here(*_config(tmp_path, config))
    assert found == code, output


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--help",), 0),
        (("fly",), 2),
        (("status", "--fast"), 2),
        (("status", "nobody"), 2),
        (("run", "none.toml"), 2),
        (("sql", "DELETE FROM score"), 2),
        (("pause", "json-1"), 2),
        (("verify", "imported"), 0),
    ],
)
def test_commands_exit_with_what_they_exited_with(derived, arguments, code):
    found, output = derived.here(*arguments)
    assert found == code, output


def test_exit_codes_of_a_run_that_is_interrupted_paused_and_cancelled(derived, tmp_path):
    follow = _config(tmp_path, configuration("stopped", RUNS["json-1"]))  # nobody works on it
    with rehearsal_server():
        process = derived.start(*follow)
        _wait_until_it_is_followed(process)
    process.send_signal(signal.SIGINT)
    assert derived.end(process)[0] == 130
    process = derived.start(*follow)
    _wait_until_it_is_followed(process)
    assert derived.here("pause", "stopped")[0] == 0
    assert derived.end(process)[0] == 4
    assert derived.here("cancel", "stopped")[0] == 0
    assert derived.here(*follow)[0] == 2


def _wait_until_it_is_followed(process):
    """Read what a run says until it says how far it is: of its ten neurons, none is explained."""
    assert any(" 0/10" in line for line in process.stdout)


def test_tasks_have_the_names_and_queues_that_they_had(pinned):
    celery_app.loader.import_default_modules()
    names = sorted(name for name in celery_app.tasks if not name.startswith("celery."))
    found = {name: celery_app.amqp.router.route({}, name)["queue"].name for name in names}
    pinned.check("contract/tasks.json", found)


def test_tables_and_views_are_what_they_were(derived, pinned):
    columns = derived.rows("""
        SELECT c.table_name AS name, t.table_type AS kind, c.column_name AS column,
               c.udt_name AS type, c.is_nullable, c.column_default
        FROM information_schema.columns AS c
        JOIN information_schema.tables AS t USING (table_schema, table_name)
        WHERE c.table_schema = 'public' ORDER BY c.table_name, c.ordinal_position
    """)
    found = {}
    for row in columns:
        place = found.setdefault(row["name"], {"kind": row["kind"], "columns": {}})
        described = (row["type"], row["is_nullable"], row["column_default"])
        place["columns"][row["column"]] = " | ".join(str(part) for part in described)
    for row in derived.rows("""
        SELECT conrelid::regclass::text AS name,
               conname || ': ' || pg_get_constraintdef(oid) AS what
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
        UNION ALL SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'
        ORDER BY 1, 2
    """):
        rules = found[row["name"].strip('"')].setdefault("constraints and indexes", [])
        rules.append(row["what"])
    pinned.check("contract/tables.json", found)
    (version,) = derived.rows("SELECT version_num AS head FROM alembic_version")
    pinned.check("contract/schema.json", version)


def test_keys_have_the_types_and_defaults_that_they_had(pinned):
    schema = RunConfig.model_json_schema()
    found = dict(_keys(schema, schema["$defs"], ""))
    defaults = RunConfig.model_validate(
        {"name": "x", "explainer": {"kind": "lookup"}, "simulator": {"kind": "lookup"}}
    )
    pinned.check("contract/keys.json", {"keys": found, "stored": defaults.model_dump(mode="json")})


def _keys(described, definitions, prefix):
    """Yield (key, what its values may be); names of endpoints and models are `*`."""
    if "$ref" in described:
        described = {**described, **definitions[described["$ref"].rpartition("/")[2]]}
    if "properties" in described:
        for key, value in described["properties"].items():
            yield from _keys(value, definitions, f"{prefix}{key}.")
    elif "patternProperties" in described:
        for value in described["patternProperties"].values():
            yield from _keys(value, definitions, f"{prefix}*.")
    else:
        words = ("title", "description")
        yield (
            prefix.rstrip("."),
            {key: value for key, value in described.items() if key not in words},
        )


READ = (
    "DATABASE_URL",
    "REDIS_URL",
    "NEUROGLOSS_HOME",
    "NEUROGLOSS_LEASE_SECONDS",
    "NEUROGLOSS_DEVICE",
    "NEUROGLOSS_GPU_INDEX",
    "NEUROGLOSS_PARENT_FD",
    "NEURONPEDIA_DATABASE_URL",
    "REHEARSAL_API_KEY",
    "PGPASSWORD",
    "TIKTOKEN_CACHE_DIR",
    "DATA_GYM_CACHE_DIR",
    "_DB_PASSWORD",  # after ORCHESTRATOR, WORKER and READER
)
"""Environment variables that the code reads or sets, by their names in it."""


@pytest.fixture(scope="module")
def constants():
    """Every text that stands in the code by itself."""
    outside = ("tests", ".venv", "build")
    files = [path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] not in outside]
    assert len(files) > 100
    nodes = (node for path in files for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    return {
        node.value for node in nodes if isinstance(node, ast.Constant) and type(node.value) is str
    }


@pytest.mark.parametrize("name", READ)
def test_the_code_reads_the_variables_that_it_read(constants, name):
    assert name in constants


def test_the_compose_file_reads_the_variables_that_it_read(pinned):
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    found = {
        "docker-compose.yml": sorted(set(re.findall(r"\$\{([A-Z_]+)([^}]*)\}", compose))),
        ".env.example": sorted(re.findall(r"^(?:# )?([A-Z_]+)=", example, re.MULTILINE)),
    }
    pinned.check("contract/variables.json", json.loads(json.dumps(found)))
