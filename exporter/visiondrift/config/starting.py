"""The thresholds to start with: those of the shipped ``thresholds.yml``, for use where no file is given.

A file that leaves a signal out means that it cannot fire, so these are not the defaults of the file's schema.
"""

from visiondrift.config.thresholds import AUTO, DefaultThresholds, Threshold, ThresholdsConfig
from visiondrift.signals import SIGNALS

STARTING_THRESHOLDS = ThresholdsConfig(
    defaults=DefaultThresholds(
        signals={
            **{signal.name: Threshold(warning=AUTO, critical=AUTO) for signal in SIGNALS if signal.calibrated},
            "accuracy_drop": Threshold(warning=0.05, critical=0.1),
            "missing_ratio": Threshold(warning=0.05, critical=0.25),
            "invalid_ratio": Threshold(warning=0.05, critical=0.25),
        }
    )
)
