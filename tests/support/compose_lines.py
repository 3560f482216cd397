"""Whether a `docker compose` line fits the compose file: its services, profiles and options."""

import re
import shlex

import yaml

from tests.support.documents import ROOT

FILE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(FILE)
SERVICES = set(COMPOSE["services"])
PROFILES = {p for service in COMPOSE["services"].values() for p in service.get("profiles", [])}
VARIABLES = set(re.findall(r"\$\{(\w+)", FILE)) | {"COMPOSE_PROFILES", "COMPOSE_FILE"}
TAKE_A_VALUE = {"--profile", "-p", "--project-name", "-f", "--file", "--env-file", "--scale"}
TAKE_A_VALUE |= {"--tail", "-n", "--user", "-u", "-e", "--env", "-v", "--volume", "-t", "--timeout"}
FLAGS = {
    "up": {"-d", "--detach", "--build", "--wait", "--no-deps", "--no-build", "--force-recreate"},
    "logs": {"-f", "--follow", "--no-log-prefix"},
    "exec": {"-T"},
    "run": {"--rm", "--no-deps", "-T"},
    "down": {"--volumes", "-v", "--remove-orphans"},
    "ps": {"-a", "--all"},
    "build": set(),
    "config": {"--quiet", "-q"},
    "cp": set(),
    "kill": set(),
    "pull": set(),
    "restart": set(),
    "start": set(),
    "stop": set(),
}
"""Commands of Compose that pages may use, and their options without a value."""


def check_compose_line(line: str) -> list[str]:
    """Return the command that the line runs in a container, if any; fail where it does not fit."""
    words = shlex.split(re.split(r"\s[|<>]|&&", line)[0])
    while "=" in words[0]:
        _check_variable(*words.pop(0).split("=", 1))
    assert words[:2] == ["docker", "compose"], line
    words = words[2:]
    command = _next(words, set())
    assert command in FLAGS, f"{command} is no command of Compose that is known here: {line}"
    service = _next(words, FLAGS[command])
    if command in ("exec", "run"):
        assert service in SERVICES, f"there is no service {service}: {line}"
        return words
    while service is not None and command != "cp":
        assert service in SERVICES, f"there is no service {service}: {line}"
        service = _next(words, FLAGS[command])
    return []


def _next(words: list[str], flags: set[str]) -> str | None:
    """Return the next word that is no option, and take it and the options before it away."""
    while words:
        word, equals, value = words.pop(0).partition("=")
        if word in TAKE_A_VALUE and word not in flags:
            _check_option(word, value if equals else words.pop(0))
        elif word not in flags:
            assert not word.startswith("-"), f"the option {word} is not known here"
            return word
    return None


def _check_option(option: str, value: str) -> None:
    if option == "--scale":
        assert value.split("=")[0] in SERVICES
    if option == "--profile":
        assert value in PROFILES


def _check_variable(name: str, value: str) -> None:
    assert name in VARIABLES, f"docker-compose.yml reads no variable {name}"
    if name == "COMPOSE_PROFILES":
        assert set(value.split(",")) <= PROFILES
    if name == "RUN":
        assert (ROOT / f"deploy/runs/{value}.toml").is_file()
