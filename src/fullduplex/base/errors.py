"""The exception tree.

FullduplexError
├── InputError (ValueError)       what the caller passed is wrong: value, shape, rate, NaN
│   ├── ConfigError               a configuration key or value
│   └── FormatError               a file or message that is truncated, corrupt or of the wrong kind
├── AssetError                    a model or data file is missing, damaged or cannot be fetched
├── MissingExtraError (ImportError)   an optional dependency is not installed
└── PortError                     a recogniser, brain or voice failed while it worked

Every message says what was wrong, what came, what was expected and what to do.
"""

__all__ = [
    "AssetError",
    "ConfigError",
    "FormatError",
    "FullduplexError",
    "InputError",
    "MissingExtraError",
    "PortError",
]


class FullduplexError(Exception):
    """Root of every error this package raises on purpose."""


class InputError(FullduplexError, ValueError):
    """A value, shape, sample rate or text that cannot be used."""


class ConfigError(InputError):
    """A configuration key or value that cannot be used."""


class FormatError(InputError):
    """A file or message that is truncated, corrupt or of the wrong kind."""


class AssetError(FullduplexError):
    """A model or data file is missing, damaged or cannot be fetched."""


class MissingExtraError(FullduplexError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} is not installed; install it with: pip install 'fullduplex[{extra}]'")
        self.module = module
        self.extra = extra


class PortError(FullduplexError):
    """A recogniser, brain or voice failed while it worked."""
