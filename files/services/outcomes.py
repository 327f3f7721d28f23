"""The answer to a commit."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from drive_project.common.errors import DriveError
from files.models import File


class Outcome(StrEnum):
    """What became of an upload. same: the file has exactly this content already."""

    COMMITTED = "committed"
    SAME = "same"
    CONFLICT_COPY = "conflict_copy"


@dataclass(frozen=True, slots=True)
class Committed:
    """The file that shows the content now, and the version that it is.

    original_file_id: for a conflict copy beside a file, that file.
    """

    outcome: Outcome
    file: File
    file_version_id: UUID
    original_file_id: UUID | None = None

    @property
    def is_conflict_copy(self) -> bool:
        return self.outcome is Outcome.CONFLICT_COPY


Result = Committed | DriveError
