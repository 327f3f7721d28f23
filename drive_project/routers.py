"""Which model lives in which database."""

from typing import Any

from django.db.models import Model


class BlocksRouter:
    """The Block Service's tables in `blocks`, everything else in `default`.

    Every answer is explicit: with None Django would reuse the alias of a related
    instance, which must never reach across the two databases.
    """

    def db_for_read(self, model: type[Model] | Model, **hints: Any) -> str:
        return "blocks" if model._meta.app_label == "blocks" else "default"

    db_for_write = db_for_read

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool:
        # Not of their types: `request.user` is a lazy stand-in until it is asked something.
        return self.db_for_read(one) == self.db_for_read(other)

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return (db == "blocks") == (app_label == "blocks")
