"""What single entries of the two files may be, where more than one section has them."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from visiondrift.config.words import Words


class Strict(BaseModel):
    """Frozen; any key that is not known is an error, and so is a number that is not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
NAME_WORDS = "a name of letters, digits, '.', '_' and '-', at most 63, a letter or digit first"
Name = Annotated[str, Field(pattern=rf"^{NAME.pattern}$"), Words(NAME_WORDS)]
"""A name that is safe in labels, paths and URLs."""

MAX_LABEL = 64
LABEL_WORDS = f"1 to {MAX_LABEL} printable characters without quotes, \\ = , {{ }}"
_NOT_IN_LABELS = frozenset("\"'`\\=,{}")


def is_label(text: str) -> bool:
    """Whether text may become a Prometheus label's value, part of a URL and of a slice's name."""
    is_plain = text.isprintable() and text == text.strip() and not _NOT_IN_LABELS.intersection(text)
    return is_plain and 0 < len(text) <= MAX_LABEL


def _label(text: str) -> str:
    if not is_label(text):
        msg = f"accepted are {LABEL_WORDS}"
        raise ValueError(msg)
    return text


Label = Annotated[str, AfterValidator(_label), Words(LABEL_WORDS)]
"""A version, or the value of a slice label, as an event may carry it."""

Text = Annotated[str, Field(min_length=1), Words("text that is not empty")]
Url = Annotated[
    str,
    Field(pattern=r"^https?://[^\s/?#]+[^\s]*$"),
    AfterValidator(lambda url: url.rstrip("/")),
    Words("an address that begins with http:// or https://"),
]
