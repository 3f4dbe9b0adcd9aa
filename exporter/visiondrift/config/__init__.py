"""What is watched (``monitoring.yml``) and when to alert (``thresholds.yml``): frozen, strict, validated whole."""

from visiondrift.config.load import Config, ConfigWatcher, config_digest, load_config
from visiondrift.config.monitoring import ModelConfig, MonitoringConfig, WatchedModel, WindowConfig
from visiondrift.config.schema import ConfigKey, config_keys
from visiondrift.config.thresholds import SliceThresholds, Threshold, ThresholdsConfig

__all__ = [
    "Config",
    "ConfigKey",
    "ConfigWatcher",
    "ModelConfig",
    "MonitoringConfig",
    "SliceThresholds",
    "Threshold",
    "ThresholdsConfig",
    "WatchedModel",
    "WindowConfig",
    "config_digest",
    "config_keys",
    "load_config",
]
