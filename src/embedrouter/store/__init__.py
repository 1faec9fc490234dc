"""The database: tables, migrations, the one writer. It does not know what the rows mean."""

from embedrouter.settings import Durability
from embedrouter.store.database import Database
from embedrouter.store.session import Batch
from embedrouter.store.statement import Removal, Statement, savepoint
from embedrouter.store.writer import Writer

__all__ = ["Batch", "Database", "Durability", "Removal", "Statement", "Writer", "savepoint"]
