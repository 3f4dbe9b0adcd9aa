"""The statistics, pure: how far a window is from its reference, and on which side of its thresholds that is."""
