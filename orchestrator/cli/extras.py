"""Which extra of neurogloss brings a package that a command lacks."""

# By the name under which it is imported. What an extra's packages bring along is imported after
# them, but for starlette.
_EXTRAS = {
    "datasets": "hub",
    "fastapi": "web",
    "huggingface_hub": "models",
    "jinja2": "web",
    "matplotlib": "web",
    "mcp": "mcp",
    "prometheus_client": "web",
    "pyarrow": "parquet",
    "python_multipart": "web",
    "safetensors": "gpu",
    "starlette": "web",
    "tokenizers": "models",
    "torch": "gpu",
    "transformers": "gpu",
    "uvicorn": "web",
}


def extra_for(module: str | None) -> str | None:
    """Return the extra that brings a module; None if none does, so that it is a fault of ours."""
    return _EXTRAS.get((module or "").partition(".")[0])


def advice(module: str, extra: str) -> str:
    """Return what a person does who lacks a module."""
    return (
        f"the package {module.partition('.')[0]} is not installed, which the extra {extra!r} "
        f"brings: pip install '.[{extra}]' in the folder of neurogloss's source, or an image that "
        "has it (deploy/README.md)"
    )
