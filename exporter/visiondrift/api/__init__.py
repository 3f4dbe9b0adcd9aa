"""The HTTP side: a thin layer of FastAPI that turns requests into calls and errors into status codes."""

from visiondrift.api.app import create_app
from visiondrift.api.services import Services

__all__ = ["Services", "create_app"]
