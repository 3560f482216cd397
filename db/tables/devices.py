"""On what a run's activations were computed."""

from datetime import datetime

from sqlalchemy import Column, Named, Table, Text, TypedColumns, func

from db.tables.base import METADATA, TIMESTAMPTZ, run_key


class RunDeviceColumns(TypedColumns):
    """A kind of device that a run's activations were computed on, with the version of torch.

    Activations have the same bits on one kind; between two, the last bit of some differs.
    """

    run_id: Named[int] = run_key()
    device: Named[str] = Column(Text, primary_key=True)
    first_used_at: Named[datetime] = Column(TIMESTAMPTZ, server_default=func.now())


run_device_table = Table("run_device", METADATA, RunDeviceColumns)
