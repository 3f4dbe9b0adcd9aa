"""What is watched (``monitoring.yml``) and when to alert (``thresholds.yml``): frozen, strict, validated whole."""

from visiondrift.config.load import Config, load_config
from visiondrift.config.monitoring import ModelConfig, MonitoringConfig, WindowConfig
from visiondrift.config.thresholds import SliceThresholds, Threshold, ThresholdsConfig

__all__ = [
    "Config",
    "ModelConfig",
    "MonitoringConfig",
    "SliceThresholds",
    "Threshold",
    "ThresholdsConfig",
    "WindowConfig",
    "load_config",
]
