"""Who does something with a run that one process at a time may do."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, run_key


class RunLockTable(Base):
    """A lock on a run for one purpose, which its holder renews; see `db.run_locks`."""

    __tablename__ = "run_lock"

    run_id: Mapped[int] = run_key()
    purpose: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    expires_at: Mapped[datetime]
