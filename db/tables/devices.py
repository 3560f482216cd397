"""On what a run's activations were computed."""

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, run_key


class RunDeviceTable(Base):
    """A kind of device that a run's activations were computed on, with the version of torch.

    Activations have the same bits on one kind; between two, the last bit of some differs.
    """

    __tablename__ = "run_device"

    run_id: Mapped[int] = run_key()
    device: Mapped[str] = mapped_column(primary_key=True)
    first_used_at: Mapped[datetime] = mapped_column(server_default=func.now())
