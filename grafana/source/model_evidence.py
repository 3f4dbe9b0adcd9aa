"""The Model dashboard's rows on drift itself and on what it costs: evidence, its size, and the estimated accuracy."""

from grafana_foundation_sdk.builders import barchart, statetimeline, timeseries

import model_detail as detail
import style
from panels import Box, Query, band, compared, fixed_color, history, lines, threshold_line
from scope import WINDOW, per_window

Panel = timeseries.Panel | barchart.Panel | statetimeline.Panel

NO_EVIDENCE = "No evidence: too few independent looks in the window, or the reference is not calibrated for this slice"
NO_ESTIMATE = "No estimate: too few events, or the reference has no labels"


def evidence() -> list[Panel]:
    """How sure drift is, what says so, and how large it is."""
    return [
        detail.signal("drift_evidence"),
        detail.signal("accumulated_evidence"),
        _surprises(),
        _effect(
            "Mean moved",
            "embedding_mean_moved",
            "How far the mean embedding has moved beyond chance, in sizes of the reference's cloud: at 1 it is as far "
            "from the old mean as an ordinary image.",
        ),
        _effect(
            "New images",
            "embedding_new_share",
            "Share of the window's images that are surely unlike any of the reference: a lower bound at 95 %.",
            unit="percentunit",
        ),
        _effect(
            "Spread",
            "embedding_spread_ratio",
            "Total variance of the window's embeddings over the reference's. Below 1 images are more alike than they "
            "were (fog, a stuck camera), above 1 more mixed.",
            mark=("reference", 1),
        ),
        _effect(
            "Imaging rather than content",
            "embedding_low_variance_share",
            "Part of the move along axes where content hardly varies. From one half on, look at imaging or "
            "preprocessing; below it, at content. Embeddings of no more than 128 columns have no such axes, and show "
            "0 whatever moved.",
            unit="percentunit",
            mark=("imaging from here on", 0.5),
        ),
    ]


def _surprises() -> timeseries.Panel:
    return lines(
        Box(
            "Surprise by statistic",
            "-log10 of the chance of each statistic by itself, of which the evidence is made: moves of the mean (t_), "
            "of the variances (v_), of the cloud's size (mah), and new images (knn_ratio). It explains, and never "
            "alerts.",
            width=8,
            height=8,
            decimals=1,
            no_value=NO_EVIDENCE,
        ),
        [Query(f"max by (statistic) (visiondrift_embedding_statistic_surprise{{{WINDOW}}})", "{{statistic}}")],
        colors={},
    )


def _effect(
    title: str, metric: str, meaning: str, *, unit: str = "none", mark: tuple[str, float] | None = None
) -> timeseries.Panel:
    """One size of the drift over time; ``mark`` is a line to read it by, with its name."""
    queries = [Query(per_window(f"visiondrift_{metric}"), "window")]
    colors = {"window": [fixed_color(style.SCORE)]}
    if mark is not None:
        queries.append(Query(f"vector({mark[1]})", mark[0]))
        colors[mark[0]] = threshold_line(style.REFERENCE)
    decimals = 0 if unit == "percentunit" else 2
    box = Box(title, meaning, width=6, height=8, unit=unit, decimals=decimals, no_value=NO_EVIDENCE)
    return lines(box, queries, colors=colors)


def accuracy() -> list[Panel]:
    """What the model is estimated to be worth now, how surely, and where it got worse."""
    return [_estimate(), detail.signal("accuracy_drop"), _opinions(), _validity(), _by_class()]


def _estimate() -> timeseries.Panel:
    bound = 'max(visiondrift_estimated_accuracy_bound{{{scope}, bound="{end}"}})'
    return lines(
        Box(
            "Estimated accuracy",
            "The accuracy that the model is estimated to have in the window, without labels: the lower of two "
            "opinions, with its 90 % interval. The dashed line is its accuracy on the labelled reference. To be acted "
            "on only where the estimate is valid.",
            width=8,
            height=8,
            unit="percentunit",
            decimals=0,
            no_value=NO_ESTIMATE,
        ),
        [
            Query(per_window("visiondrift_estimated_accuracy"), "estimate"),
            Query(bound.format(scope=WINDOW, end="low"), "low"),
            Query(bound.format(scope=WINDOW, end="high"), "high"),
            Query(per_window("visiondrift_reference_accuracy"), "reference"),
        ],
        colors={
            "estimate": [fixed_color(style.SCORE)],
            "reference": threshold_line(style.REFERENCE),
            **band(low="low", color=style.SCORE),
        },
    )


def _opinions() -> timeseries.Panel:
    return lines(
        Box(
            "Two opinions of the accuracy",
            "What the model's calibrated confidences say, and what readers of the embedding say. Readers lower: the "
            "model is sure of what it misreads. Confidences lower: it is unsure of what it reads well.",
            width=8,
            height=8,
            unit="percentunit",
            decimals=0,
            no_value=NO_ESTIMATE,
        ),
        [Query(f"max by (opinion) (visiondrift_estimated_accuracy_opinion{{{WINDOW}}})", "{{opinion}}")],
        colors={},
    )


def _validity() -> statetimeline.Panel:
    return history(
        Box(
            "May the estimate be acted on?",
            "Whether the estimate's assumptions hold: enough events, readers that agree, images not too unlike the "
            "reference. Grey: they do not, and no drop is told.",
            width=12,
            height=8,
            no_value=NO_ESTIMATE,
        ),
        [Query(per_window("visiondrift_estimate_valid"), "estimate")],
        mappings=style.validity_mappings(),
    )


def _by_class() -> barchart.Panel:
    of_class = 'max by (class) (visiondrift_estimated_class_performance{{{scope}, measure="{measure}"}})'
    measures = {"precision": style.SCORE, "recall": style.REFERENCE, "f1": style.INSUFFICIENT}
    return compared(
        Box(
            "Estimated performance by class",
            "Precision, recall and F1 of each class as they are estimated now, where the estimate is valid.",
            width=12,
            height=8,
            unit="percentunit",
            decimals=0,
            no_value="No valid estimate",
        ),
        [Query(of_class.format(scope=WINDOW, measure=measure), measure) for measure in measures],
        by="class",
        colors=measures,
    )
