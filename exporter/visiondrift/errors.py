"""Every error that VisionDrift raises on purpose; it knows no HTTP.

A subclass exists only where a caller acts on it.

VisionDriftError
├── ConfigError           a configuration file cannot be used; carries every problem found in it
├── BadInput              a file or a request that a person gave cannot be used as it is
├── EmbedderUnavailable   the CLIP model cannot be loaded or has failed; trying later may help
├── ReferenceUnusable     a reference is missing, damaged, or was made with another embedder
└── LogError              the prediction log cannot take or give events
    ├── LogFull           the disk (or the configured size) is used up
    └── QueueFull         more events wait for the log than it may hold in memory; try again
"""


class VisionDriftError(Exception):
    """The root: anything below it is an expected failure with a sentence for a person."""


class ConfigError(VisionDriftError):
    """A configuration that cannot be used. ``problems`` holds one line for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class BadInput(VisionDriftError):
    """A file or an argument from a person that cannot be used; the text says what is accepted."""


class EmbedderUnavailable(VisionDriftError):
    """The embedding model cannot be loaded, or failed on a valid image."""


class ReferenceUnusable(VisionDriftError):
    """A reference that is missing, unreadable, or made with another embedder or dimension."""


class LogError(VisionDriftError):
    """The prediction log failed; nothing of the refused call was acknowledged."""


class LogFull(LogError):
    """No room is left for events; nothing of the refused call was acknowledged."""


class QueueFull(LogError):
    """The queue before the log is full. ``retry_after`` is in seconds."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
