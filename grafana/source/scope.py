"""The Model dashboard's selectors: what its variables narrow every query to."""

MODEL = 'model="$model"'
SLICE = 'model="$model", version="$version", slice="$slice"'
WINDOW = 'model="$model", version="$version", slice="$slice", window="$window"'


def per_window(metric: str) -> str:
    """One metric of the chosen window, without labels."""
    return f"max({metric}{{{WINDOW}}})"
