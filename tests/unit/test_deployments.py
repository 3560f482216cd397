"""What deploy/ has for other hosts: valid, whole, locked, and in the words of the command line."""

import ast
import re
import shutil
import subprocess
from itertools import chain
from pathlib import Path

import click
import kubernetes_validate
import pytest
import yaml

from neurogloss.stages import GPU_STAGES
from orchestrator.cli.main import cli

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
BASE, OVERLAYS = KUBERNETES / "base", sorted((KUBERNETES / "overlays").iterdir())
VERSIONS = ("1.31", "1.37")  # the oldest that is promised, and the newest that the package knows
SCRIPTS = sorted(
    path
    for folder in ("deploy", "tests", ".ci")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and path.read_bytes().startswith(b"#!/usr/bin/env bash")
)


class ComposeLoader(yaml.SafeLoader):
    """Reads the tags with which an override takes something away."""


for tag in ("!reset", "!override"):
    ComposeLoader.add_constructor(tag, lambda loader, node: loader.construct_mapping(node))


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def resources_of(file):
    return [row for row in yaml.safe_load_all(file.read_text(encoding="utf-8")) if row]


RESOURCES = [
    resource
    for file in sorted(BASE.glob("*.yaml"))
    if file.name != "kustomization.yaml"
    for resource in resources_of(file)
]


def title_of(resource):
    return f"{resource['kind']}/{resource['metadata']['name']}"


def is_of_kubernetes(resource):
    return not resource["apiVersion"].startswith("keda.sh/")


OF_KUBERNETES = list(filter(is_of_kubernetes, RESOURCES))
PODS = {
    title_of(resource): template["spec"]
    for resource in RESOURCES
    if (template := resource.get("spec", {}).get("template"))
}
each_pod = pytest.mark.parametrize("pod", PODS.values(), ids=PODS)


def kustomization_of(folder):
    return yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("resource", OF_KUBERNETES, ids=title_of)
def test_resources_are_valid_for_every_version(resource, version):
    kubernetes_validate.validate(resource, version, strict=True)


def test_a_resource_that_is_wrong_is_not_valid():
    (job,) = (r for r in RESOURCES if title_of(r) == "Job/migrate")
    wrong = job | {"spec": job["spec"] | {"restarts": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("folder", [BASE, *OVERLAYS], ids=name_of)
def test_every_file_is_listed_and_every_listed_file_is_there(folder):
    value = kustomization_of(folder)
    generated = (maps.get("files", []) for maps in value.get("configMapGenerator", []))
    patches = (patch["path"] for patch in value.get("patches", []))
    listed = [*value["resources"], *chain.from_iterable(generated), *patches]
    assert [name for name in listed if not (folder / name).exists()] == []
    inside = {path.name for path in folder.iterdir()} - {"kustomization.yaml"}
    assert inside == {name for name in listed if "/" not in name}


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_an_overlay_runs_what_compose_runs(overlay):
    original = ROOT / "deploy/runs" / f"{overlay.name}.toml"
    assert (overlay / "run.toml").read_text() == original.read_text()


# Without kubectl, the files of an overlay are still checked one by one, by the tests beside this.
@pytest.mark.skipif(not shutil.which("kubectl"), reason="overlays are built by kubectl")
@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_what_an_overlay_builds_is_valid_and_refers_to_what_is_there(overlay):
    command = ["kubectl", "kustomize", str(overlay)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    built = list(yaml.safe_load_all(done.stdout))
    assert len(built) == len(RESOURCES) + 2  # the settings and the run
    for resource in filter(is_of_kubernetes, built):
        kubernetes_validate.validate(resource, VERSIONS[-1], strict=True)
    gpu = next(row for row in built if title_of(row) == "Deployment/gpu-worker")
    (container,) = gpu["spec"]["template"]["spec"]["containers"]
    has_gpu = "nvidia.com/gpu" in container["resources"]["limits"]
    assert has_gpu == (overlay.name != "demo")


@each_pod
def test_pods_have_no_more_rights_than_those_of_compose(pod):
    assert pod["automountServiceAccountToken"] is False
    assert {"runAsNonRoot": True, "runAsUser": 10001}.items() <= pod["securityContext"].items()
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]


@each_pod
def test_what_a_container_mounts_is_a_volume_of_its_pod(pod):
    volumes = {volume["name"] for volume in pod["volumes"]}
    mounted = {mount["name"] for row in pod["containers"] for mount in row["volumeMounts"]}
    assert mounted == volumes


def parse(words):
    """Have click read a command line, without running it: it refuses what it does not know."""
    program, command, *arguments = words
    assert program == "neurogloss"
    cli.get_command(click.Context(cli), command).make_context(command, list(arguments))


@each_pod
def test_commands_and_probes_are_those_that_the_programs_have(pod):
    (container,) = pod["containers"]
    parse(container["command"])
    usage = ast.get_docstring(ast.parse((ROOT / "deploy/healthcheck.py").read_text()))
    for probe in ("readinessProbe", "livenessProbe"):
        if words := container.get(probe, {}).get("exec", {}).get("command"):
            assert words[:2] == ["python", "deploy/healthcheck.py"]
            assert f"`{words[2]}" in usage
            assert words[3:] in ([], [_option(container["command"], "--name")])


def _option(words, name):
    return words[words.index(name) + 1] if name in words else None


def test_a_command_that_does_not_exist_is_noticed():
    with pytest.raises(click.UsageError):
        parse(["neurogloss", "serve", "--port-number", "1"])


def test_images_are_those_of_the_dockerfile():
    targets = re.findall(r"^FROM \S+ AS (\w+)", (ROOT / "deploy/Dockerfile").read_text(), re.M)
    images = {pod["containers"][0]["image"] for pod in PODS.values()}
    parts = {"base", "download", "wheels", "source"}  # of images, or for building them
    assert images == {f"neurogloss-{target}:latest" for target in targets if target not in parts}


def test_variables_are_those_that_programs_read():
    (settings,) = kustomization_of(BASE)["configMapGenerator"]
    given = {literal.partition("=")[0] for literal in settings["literals"]}
    containers = (pod["containers"][0] for pod in PODS.values())
    given |= {row["name"] for container in containers for row in container.get("env", [])}
    packages = ("neurogloss", "db", "worker", "orchestrator", "web")
    code = "".join(p.read_text("utf-8") for n in packages for p in (ROOT / n).rglob("*.py"))
    libpq = {"PGSSLMODE", "PGSSLROOTCERT"}
    assert {name for name in given - libpq if f'"{name}"' not in code} == set()


def test_secrets_are_those_that_the_script_makes():
    script = (KUBERNETES / "make_secrets").read_text(encoding="utf-8")
    made = set(re.findall(r"^(?:secret|.* secret generic) (neurogloss-[a-z]+)", script, re.M))
    text = "".join(path.read_text() for path in BASE.glob("*.yaml"))
    used = re.findall(r"secretRef: \{name: ([a-z-]+)|secretName: ([a-z-]+)", text)
    used += re.findall(r"parameter: connection, (?:name: )([a-z-]+)()", text)
    assert {one or other for one, other in used} == made


SCALED = [resource for resource in RESOURCES if resource["kind"] == "ScaledObject"]


@pytest.mark.parametrize("scaled", SCALED, ids=title_of)
def test_scaled_workers_exist_and_are_counted_by_the_stages_of_their_queue(scaled):
    spec = scaled["spec"]
    target = f"Deployment/{spec['scaleTargetRef']['name']}"
    (deployment,) = (row for row in RESOURCES if title_of(row) == target)
    assert "replicas" not in deployment["spec"]  # they would fight over it
    (trigger,) = spec["triggers"]
    assert all(type(value) is str for value in trigger["metadata"].values())
    authentication = f"TriggerAuthentication/{trigger['authenticationRef']['name']}"
    assert authentication in map(title_of, RESOURCES)
    words, stages = re.search(
        r"stage (NOT IN|IN) \(([^)]*)\)", trigger["metadata"]["query"]
    ).groups()
    assert set(re.findall(r"\w+", stages)) == GPU_STAGES
    assert words == ("IN" if "gpu" in target else "NOT IN")
    if "gpu" not in target:
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        at_once = trigger["metadata"]["targetQueryValue"]
        assert _option(container["command"], "--concurrency") == at_once


OVERRIDES = sorted((ROOT / "deploy/compose").glob("*.yml"))
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]


def read_override(path):
    return yaml.load(path.read_text(encoding="utf-8"), ComposeLoader)["services"]


def test_by_tls_every_service_that_spoke_plainly_speaks_by_it():
    overridden = read_override(ROOT / "deploy/compose/tls.yml")
    clients = {
        name for name, row in COMPOSE.items() if "DATABASE_URL" in row.get("environment", {})
    }
    assert set(overridden) == clients | {"postgres", "redis"}
    for name in clients:
        environment = overridden[name]["environment"]
        assert environment["PGSSLMODE"] == "verify-full"
        assert environment["REDIS_URL"].startswith("rediss://:")
        assert any(":/tls/ca.crt:ro" in volume for volume in overridden[name]["volumes"])


def test_postgres_gives_up_connections_of_hosts_that_vanished_within_minutes():
    settings = dict(
        re.findall(r"tcp_keepalives_(\w+)=(\d+)", " ".join(COMPOSE["postgres"]["command"]))
    )
    idle, interval, count = (int(settings[name]) for name in ("idle", "interval", "count"))
    assert idle + interval * count <= 180


def test_files_of_batches_and_the_spool_of_workers_lie_on_disks():
    worker = COMPOSE["api-worker"]
    mounted = {volume.split(":")[1] for volume in worker["volumes"]}
    assert {worker["environment"][name] for name in ("TMPDIR", "NEUROGLOSS_SPOOL")} <= mounted
    assert not mounted & set(worker["tmpfs"])


def test_on_a_host_of_workers_nothing_else_is_started():
    overridden = read_override(ROOT / "deploy/compose/workers.yml")
    here = {name for name, row in COMPOSE.items() if not row.get("profiles")}
    elsewhere = {name for name, row in overridden.items() if row.get("profiles") == ["services"]}
    assert here - elsewhere == {"api-worker"}
    assert {name for name in overridden if name.endswith("-worker")} == set(overridden) - elsewhere


@pytest.mark.parametrize("override", OVERRIDES, ids=name_of)
def test_overrides_name_services_files_and_variables_that_there_are(override):
    text = override.read_text(encoding="utf-8")
    assert set(read_override(override)) <= set(COMPOSE)
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    names = re.findall(r"\$\{([A-Z_]+)", text)
    assert [name for name in names if not re.search(rf"^(# )?{name}=", example, re.M)] == []
    assert [
        name for name in re.findall(r"\./(deploy/[\w./]+):", text) if not (ROOT / name).exists()
    ] == []


def has_compose():
    command = ["docker", "compose", "version"]
    return shutil.which("docker") and not subprocess.run(command, capture_output=True).returncode


# How overrides merge is up to Compose alone, and no package of PyPI does it.
@pytest.mark.skipif(not has_compose(), reason="needs docker compose")
def test_compose_merges_the_overrides(tmp_path):
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    settings = re.sub(r"^(\w+_PASSWORD)=$", r"\1=secret", example, flags=re.M)
    env_file = tmp_path / "env"
    env_file.write_text(f"{settings}\nTLS_FOLDER={tmp_path}\nENV_FILE={env_file}\n")
    files = [f"--file={ROOT / 'docker-compose.yml'}", *(f"--file={path}" for path in OVERRIDES)]
    command = ["docker", "compose", f"--project-directory={ROOT}", f"--env-file={env_file}"]
    done = subprocess.run(
        [*command, *files, "config", "--format=json"], check=True, capture_output=True, timeout=60
    )
    services = yaml.safe_load(done.stdout)["services"]
    assert set(services) == {"api-worker", "gpu-worker"}
    assert services["api-worker"]["environment"]["REDIS_URL"].startswith("rediss://")
    assert "depends_on" not in services["api-worker"]


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_shell_scripts_are_bash(script):
    subprocess.run(["bash", "-n", script], check=True, timeout=10)
