"""The lower part of the Overview dashboard: whether data arrives, and whether the monitor itself is well."""

from grafana_foundation_sdk.builders import bargauge, stat, timeseries

import promql
import style
from panels import Box, Query, bars, custom, fixed_color, lines, single, threshold_line

Panel = timeseries.Panel | stat.Panel | bargauge.Panel

SELECTOR = 'model=~"$model"'


def arriving() -> list[Panel]:
    """Whether events come in, and whether they are evaluated."""
    return [_silence(), _evaluation_age(), _stored(), _rejected()]


def _silence() -> bargauge.Panel:
    events = f"visiondrift_last_event_timestamp_seconds{{{SELECTOR}}}"
    allowed = f"visiondrift_input_stopped_after_seconds{{{SELECTOR}}}"
    share = f"(time() - max by (model, slice) ({events}))\n/ on (model) group_left () max by (model) ({allowed})"
    return bars(
        Box(
            "Silence, of what is allowed",
            "Time since the newest event of each model and camera, as a share of input_stopped_after. "
            "At 100 % the input counts as stopped.",
            width=6,
            height=8,
            unit="percentunit",
            no_value="No event was ever stored",
        ),
        [Query(share, "{{model}} / {{slice}}")],
        thresholds=style.thresholds((None, style.OK), (0.75, style.WARNING), (1, style.CRITICAL)),
        longest=1,
    )


def _evaluation_age() -> bargauge.Panel:
    success = f"visiondrift_evaluation_last_success_timestamp_seconds{{{SELECTOR}}}"
    interval = f"visiondrift_evaluation_interval_seconds{{{SELECTOR}}}"
    age = f"(time() - max by (model) ({success}))\n/ on (model) max by (model) ({interval})"
    return bars(
        Box(
            "Age of the last evaluation, in intervals",
            "Time since each model was last evaluated with success, in evaluation intervals. Up to 1 is on "
            "schedule; from 3 on, every verdict on this page is old.",
            width=6,
            height=8,
            decimals=1,
            no_value="No evaluation has succeeded since the exporter started",
        ),
        [Query(age, "{{model}}")],
        thresholds=style.thresholds((None, style.OK), (2, style.WARNING), (3, style.CRITICAL)),
        longest=3,
    )


def _stored() -> timeseries.Panel:
    return lines(
        Box(
            "Events stored",
            "Events that became durable in the log, per second and model.",
            width=6,
            height=8,
            unit="eps",
            no_value="The exporter is not scraped",
        ),
        [
            Query(
                f"sum by (model) (rate(visiondrift_events_stored_total{{{SELECTOR}}}[$__rate_interval]))",
                "{{model}}",
            )
        ],
        colors={},
    )


def _rejected() -> timeseries.Panel:
    return lines(
        Box(
            "Events rejected",
            "Events refused at intake, per second and model; 'unknown' sent the name of no configured model. "
            "Reasons are on the Model dashboard.",
            width=6,
            height=8,
            unit="eps",
            no_value="The exporter is not scraped",
        ),
        [
            Query(
                'sum by (model) (rate(visiondrift_events_rejected_total{model=~"$model|unknown"}[$__rate_interval]))',
                "{{model}}",
            )
        ],
        colors={"unknown": [fixed_color(style.WARNING)]},
    )


def monitor() -> list[Panel]:
    """Each part of the stack, its configuration, its failures and its load."""
    return [_up(), _checks(), _failures(), _intake_time(), _queue(), _log()]


def _up() -> stat.Panel:
    return single(
        Box(
            "Up",
            "Whether Prometheus reached each part of the stack at its last scrape. 'visiondrift' is the exporter.",
            width=12,
            height=4,
            no_value="Prometheus scrapes none of the stack's parts",
        ),
        [Query('max by (job) (up{job=~"visiondrift|prometheus|alertmanager|grafana"})', "{{job}}")],
        thresholds=style.calm(),
        mappings=style.well_mappings(well="up", broken="DOWN"),
        named=True,
    )


def _checks() -> stat.Panel:
    return single(
        Box(
            "In order",
            "Configuration: the files on disk are the ones in force. References: every reference is readable and made "
            "with the configured embedder. Calibration: every level that is to follow from the budget does. "
            "Thresholds: every published signal has at least one.",
            width=12,
            height=4,
            no_value="The exporter is not scraped",
        ),
        [
            Query("min(visiondrift_config_last_reload_successful)", "configuration"),
            Query("min(visiondrift_reference_usable)", "references"),
            # The missing ones are listed, and only they: the build info says 1 while there are none.
            Query("min(1 - (visiondrift_calibration_lacking == 1) or visiondrift_build_info)", "calibration"),
            Query("min(1 - (visiondrift_signal_threshold_missing == 1) or visiondrift_build_info)", "thresholds"),
        ],
        thresholds=style.calm(),
        mappings=style.well_mappings(well="ok", broken="BROKEN"),
        named=True,
    )


def _failures() -> timeseries.Panel:
    return lines(
        Box(
            "Failures",
            "What the exporter could not do, counted between two points of the graph. Zero is normal; its log says "
            "why.",
            width=6,
            height=8,
            unit="short",
            decimals=0,
            no_value="The exporter is not scraped",
        ),
        [
            Query("sum(increase(visiondrift_evaluation_failures_total[$__rate_interval]))", "evaluations"),
            Query(
                "sum by (reason) (increase(visiondrift_ingest_failures_total[$__rate_interval]))", "ingest: {{reason}}"
            ),
            Query("sum(increase(visiondrift_embedding_failures_total[$__rate_interval]))", "embeddings"),
            Query("sum(increase(visiondrift_calibration_failures_total[$__rate_interval]))", "calibrations"),
            Query("sum(increase(visiondrift_report_failures_total[$__rate_interval]))", "reports"),
        ],
        colors={},
    )


def _intake_time() -> timeseries.Panel:
    return lines(
        Box(
            "Intake time, 95th percentile",
            "How long a group commit to the log and the embedding of a batch of images take.",
            width=6,
            height=8,
            unit="s",
            no_value="The exporter is not scraped",
        ),
        [
            Query(promql.quantile_seconds("visiondrift_ingest_commit_duration_seconds", 0.95), "commit"),
            Query(promql.quantile_seconds("visiondrift_embedding_duration_seconds", 0.95), "embedding"),
        ],
        colors={},
    )


def _queue() -> timeseries.Panel:
    return lines(
        Box(
            "Ingest queue",
            "Events that wait to become durable, as a share of the queue's capacity. At 100 % senders get 429.",
            width=6,
            height=8,
            unit="percentunit",
            decimals=0,
            no_value="The exporter is not scraped",
        ),
        [
            Query("max(visiondrift_ingest_queue_events / visiondrift_ingest_queue_capacity_events)", "queue"),
            Query("vector(1)", "full"),
        ],
        colors={"queue": [fixed_color(style.SCORE), custom("fillOpacity", 15)], "full": threshold_line(style.CRITICAL)},
    )


def _log() -> timeseries.Panel:
    return lines(
        Box(
            "Size of the log",
            "What the prediction log takes on disk, after retention by age and size.",
            width=6,
            height=8,
            unit="bytes",
            no_value="The exporter is not scraped",
        ),
        [Query("max(visiondrift_log_size_bytes)", "log")],
        colors={"log": [fixed_color(style.SCORE), custom("fillOpacity", 15)]},
    )
