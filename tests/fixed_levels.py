"""Levels as fixed numbers, as an operator may set them: for tests of scores and verdicts without a calibration."""

from visiondrift.config import Threshold
from visiondrift.config.thresholds import DefaultThresholds, ThresholdsConfig

FIXED_LEVELS = {
    "embedding_drift": Threshold(warning=0.3, critical=0.5),
    "clip_similarity": Threshold(warning=0.95, critical=0.9),
    "image_drift": Threshold(warning=1.0, critical=3.0),
    "prediction_drift": Threshold(warning=0.25, critical=0.4),
    "confidence_drift": Threshold(warning=0.5, critical=1.0),
    "confidence_drop": Threshold(warning=0.1, critical=0.2),
    "low_confidence_rise": Threshold(warning=0.1, critical=0.25),
    "missing_ratio": Threshold(warning=0.05, critical=0.25),
    "invalid_ratio": Threshold(warning=0.05, critical=0.25),
}

FIXED_THRESHOLDS = ThresholdsConfig(defaults=DefaultThresholds(signals=FIXED_LEVELS))
