"""How the evidence of a fault writes its numbers: as a person would say them."""


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``45 s``, ``3.5 min``, ``2.0 h``."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s" if abs(seconds) >= 10 or seconds == round(seconds) else f"{seconds:.1f} s"  # noqa: PLR2004
