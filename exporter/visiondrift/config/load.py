"""Reads the two YAML files into one frozen ``Config``, or says everything that is wrong with them at once."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from visiondrift.config.monitoring import MonitoringConfig, WatchedModel
from visiondrift.config.thresholds import ThresholdsConfig
from visiondrift.errors import ConfigError

MONITORING_FILE = "monitoring.yml"
THRESHOLDS_FILE = "thresholds.yml"


@dataclass(frozen=True)
class Config:
    """Both files, validated together. ``digest`` changes when either file's content does."""

    directory: Path
    monitoring: MonitoringConfig
    thresholds: ThresholdsConfig
    models: tuple[WatchedModel, ...]
    digest: str

    def path(self, relative: Path) -> Path:
        """A path that a configuration file names, relative to the directory of that file."""
        return (self.directory / relative).resolve()

    def embedder_identity(self, model: WatchedModel) -> str:
        """What makes the embeddings of ``model``: the client's own name for it, or the service's embedder."""
        return model.embedding.name if model.embedding else self.monitoring.embedder.identity


def load_config(directory: Path) -> Config:
    """The configuration in ``directory``. Raises ConfigError with one line per problem."""
    monitoring_text = (directory / MONITORING_FILE).read_text(encoding="utf-8")
    thresholds_text = (directory / THRESHOLDS_FILE).read_text(encoding="utf-8")
    try:
        monitoring = MonitoringConfig.model_validate(yaml.safe_load(monitoring_text))
        thresholds = ThresholdsConfig.model_validate(yaml.safe_load(thresholds_text))
    except ValidationError as error:
        raise ConfigError([str(error)]) from error
    digest = hashlib.sha256((monitoring_text + "\0" + thresholds_text).encode()).hexdigest()
    return Config(directory.resolve(), monitoring, thresholds, monitoring.watched(), digest)
