"""What is asked of Prometheus: the expressions that both dashboards share, so that one question has one answer."""

import style

KEY = "model, version, slice, window"
"""The labels that name one evaluated window."""

ALERT_LABELS = "alertname, severity, component, model, version, slice, window, model_owner"


def verdict_code(selector: str) -> str:
    """Each window's verdict as a number (see ``style.VERDICT_CODES``), with the labels in KEY."""
    return f"max by ({KEY}) (\n  " + _either(_verdict_codes(selector)) + "\n)"


def worst_state(selector: str, alert_selector: str) -> str:
    """The worst of all verdicts and all firing alerts, as a verdict code, without labels."""
    alerts = [
        f"{style.VERDICT_CODES[severity]} * {firing(alert_selector, severity=severity)}"
        for severity in ("warning", "critical")
    ]
    return "max(\n  " + _either([*_verdict_codes(selector), *alerts]) + "\n)"


def _verdict_codes(selector: str) -> list[str]:
    return [
        f'{code} * (visiondrift_verdict{{verdict="{name}", {selector}}} == 1)'
        for name, code in style.VERDICT_CODES.items()
    ]


def _either(terms: list[str]) -> str:
    return "\n  or ".join(terms)


def firing(selector: str, *, severity: str = "") -> str:
    """Alerts that fire now; without the Watchdog, which always does and has severity none."""
    wanted = f'severity="{severity}"' if severity else 'severity=~"warning|critical"'
    return f'ALERTS{{alertstate="firing", {wanted}{", " if selector else ""}{selector}}}'


def firing_for(selector: str) -> str:
    """Seconds since each firing alert became active, with the labels in ALERT_LABELS."""
    return (
        f"time() - max by ({ALERT_LABELS}) (ALERTS_FOR_STATE{{{selector}}})\n"
        f"  and on ({ALERT_LABELS}) {firing(selector)}"
    )


def quantile_seconds(histogram: str, quantile: float) -> str:
    """A quantile of a duration in seconds, from its classic histogram."""
    return f"histogram_quantile({quantile}, sum by (le) (rate({histogram}_bucket[$__rate_interval])))"
