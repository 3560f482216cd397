"""The health check of the server, for monitoring."""

from fastapi import APIRouter
from sqlalchemy import text
from starlette.responses import JSONResponse

from web.reading import Reading

router = APIRouter()


@router.get("/health")
def health(connection: Reading) -> JSONResponse:
    """Return that the database answers; 503 if it does not."""
    connection.execute(text("SELECT 1"))
    return JSONResponse({"database": "reachable"})
