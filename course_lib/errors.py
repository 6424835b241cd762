"""The errors of this course: every one is a sentence that says what was wrong, where, and what to do.

All of them derive from `CourseError`, so a notebook can write ``except CourseError as error: print(error)``
and still let a real bug of ours show its traceback.
"""

from __future__ import annotations


class CourseError(Exception):
    """Anything this library refuses on purpose, told in one sentence."""


class DataError(CourseError):
    """A data set that is not what it claims to be.

    `problems` holds one ``"path: reason"`` per faulty file; the message shows the first few and the count.
    """

    def __init__(self, message: str, problems: list[str] | tuple[str, ...] = ()):
        super().__init__(message)
        self.problems = list(problems)

    def __reduce__(self):  # an error raised in a DataLoader worker travels to the parent by pickle
        return type(self), (self.args[0], self.problems)


class ImageError(CourseError):
    """An image that cannot be read, named, with the reason."""


class NotAnImageError(ImageError):
    """Its content is of no kind that is read here; a service answers 415."""


class TooLargeError(ImageError):
    """It has more bytes or pixels than are read; a service answers 413."""


class CheckpointError(CourseError):
    """A checkpoint that is missing, damaged, or of another architecture."""


class DownloadError(CourseError):
    """Something could not be fetched: no network, no account, a wrong checksum."""


class ModelInputError(CourseError, ValueError):
    """A tensor of the wrong shape, type or size was given to a model."""
