"""Who does something with a run that one process at a time may do."""

from datetime import datetime

from sqlalchemy import Column, Named, Table, Text, TypedColumns

from db.tables.base import METADATA, TIMESTAMPTZ, run_key


class RunLockColumns(TypedColumns):
    """A lock on a run for one purpose, which its holder renews; see `db.run_locks`."""

    run_id: Named[int] = run_key()
    purpose: Named[str] = Column(Text, primary_key=True)
    holder: Named[str] = Column(Text)
    expires_at: Named[datetime] = Column(TIMESTAMPTZ)


run_lock_table = Table("run_lock", METADATA, RunLockColumns)
