"""Metrics for Prometheus."""

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from web.metrics import RunMetrics
from web.reading import Reading

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request, connection: Reading) -> Response:
    """Return the metrics of the runs that go on, in the format that is asked for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(RunMetrics(connection))
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), headers={"Content-Type": media_type})
