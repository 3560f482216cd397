"""Uploaded files and the result files of batches, kept in memory."""

import time
from dataclasses import dataclass, field
from typing import Any

from rehearsal.replies import ApiError


@dataclass(frozen=True, slots=True)
class StoredFile:
    id: str
    name: str
    purpose: str
    content: bytes
    created_at: int = field(default_factory=lambda: int(time.time()))

    def to_dict(self) -> dict[str, Any]:
        """Return the file as the API shows it, without its content."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
        }


class Files:
    """All files of a server."""

    def __init__(self) -> None:
        self._files: dict[str, StoredFile] = {}
        self._count = 0

    def add(self, name: str, purpose: str, content: bytes) -> StoredFile:
        self._count += 1
        file = StoredFile(f"file-rehearsal-{self._count:06d}", name, purpose, content)
        self._files[file.id] = file
        return file

    def get(self, file_id: str) -> StoredFile:
        """Return a file.

        Raises:
            ApiError: 404 if there is none.
        """
        if file_id not in self._files:
            raise ApiError(404, f"No such File object: {file_id}", param="id")
        return self._files[file_id]

    def delete(self, file_id: str) -> dict[str, Any]:
        """Delete a file and return the API's answer.

        Raises:
            ApiError: 404 if there is none.
        """
        self.get(file_id)
        del self._files[file_id]
        return {"id": file_id, "object": "file", "deleted": True}
