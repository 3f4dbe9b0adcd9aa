"""What single entries of the two files may be, where more than one section has them."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from visiondrift.config.words import Words


class Strict(BaseModel):
    """Frozen; any key that is not known is an error, and so is a number that is not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
Name = Annotated[
    str,
    Field(pattern=rf"^{NAME.pattern}$"),
    Words("a name of letters, digits, '.', '_' and '-', at most 63, a letter or digit first"),
]
"""A name that is safe in labels, paths and URLs."""

Text = Annotated[str, Field(min_length=1), Words("text that is not empty")]
Url = Annotated[
    str,
    Field(pattern=r"^https?://[^\s/?#]+[^\s]*$"),
    AfterValidator(lambda url: url.rstrip("/")),
    Words("an address that begins with http:// or https://"),
]
