"""What one evaluation costs: 5,000 events of 512 columns and 10 confidences against as many, with its HTML.

    python tests/bench/bench_evaluation.py            ours, and Evidently's stock preset over the same columns
    python tests/bench/bench_evaluation.py --quick    ours alone

CPU seconds of this process and its threads (limited to one), least of several repetitions; importing Evidently, which
a process does once, is measured by itself. Exits 1 where an evaluation and its report pass the budget.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["DO_NOT_TRACK"] = "1"

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from visiondrift.config import Threshold
from visiondrift.drift.columns.distances import drifted_share, prepare_columns, wasserstein_normed
from visiondrift.drift.evaluation import PreparedReference, Settings, evaluate_window
from visiondrift.drift.judge import WindowEvaluation
from visiondrift.prediction import Sample
from visiondrift.publish.report import ReportDocument, build_report

BUDGET_SECONDS = 5.0
CLASSES = tuple(str(digit) for digit in range(10))
CAMERAS = np.array(["north", "south", "platform"], dtype=object)
SETTINGS = Settings(classes=CLASSES, slices=("camera",))
THRESHOLDS = {"embedding_drift": Threshold(warning=0.3, critical=0.5), "confidence_drift": Threshold(warning=0.5)}


def sample(rng: np.random.Generator, rows: int, columns: int, *, shift: float = 0.0) -> Sample:
    """Unit-length embeddings and the softmax of ten noisy logits."""
    embeddings = rng.normal(1 + shift, 1, size=(rows, columns))
    logits = rng.normal(0, 2, size=(rows, len(CLASSES)))
    logits[np.arange(rows), rng.integers(0, len(CLASSES), rows)] += 5
    confidences = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Sample(
        times=np.arange(rows, dtype=np.float64),
        ids=np.arange(rows).astype(str).astype(object),
        slices={"camera": CAMERAS[rng.integers(0, len(CAMERAS), rows)]},
        classes=CLASSES,
        embeddings=(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32),
        confidences=confidences.astype(np.float32),
        predicted=confidences.argmax(axis=1).astype(np.int32),
        latency_ms=rng.gamma(2, 10, rows),
    )


def least(work: Callable[[], Any], repetitions: int) -> tuple[float, Any]:
    """CPU seconds of the fastest repetition, and what it returned."""
    seconds, result = [], None
    for _ in range(repetitions):
        begun = time.process_time()
        result = work()
        seconds.append(time.process_time() - begun)
    return min(seconds), result


def ours(reference: Sample, window: Sample) -> tuple[list[tuple[str, float, str]], float]:
    """Rows of the table for our evaluation and report, and the seconds of both together."""
    prepared = PreparedReference.from_sample(reference, SETTINGS)

    def evaluate() -> WindowEvaluation:
        return evaluate_window(
            prepared,
            window,
            slice_="all",
            window="1h",
            min_samples=200,
            settings=SETTINGS,
            thresholds=THRESHOLDS,
        )

    def report() -> ReportDocument:
        return build_report(prepared.rows("all", window), window, evaluation, model="m", version="1", at=0.0)

    columns, _ = least(lambda: wasserstein_normed(prepare_columns(reference.embeddings), window.embeddings), 3)
    scoring, evaluation = least(evaluate, 3)
    importing, _ = least(import_evidently, 1)
    drawing, document = least(report, 3)
    shown = len(document.data["columns"]["shown"])
    megabytes = len(document.html.encode()) / 1e6
    rows = [
        ("  column distances alone, both sides sorted", columns, f"{window.dimension} columns"),
        ("evaluation, every signal", scoring, f"{window.dimension} embedding + {len(CLASSES)} confidence columns"),
        ("report, HTML and JSON", drawing, f"{shown} columns drawn, {megabytes:.1f} MB"),
        ("evaluation with its report", scoring + drawing, f"budget {BUDGET_SECONDS:g} s"),
        ("import of Evidently, once a process", importing, ""),
    ]
    return rows, scoring + drawing


def import_evidently() -> None:
    """What the first report of a process pays."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import visiondrift.publish.evidently_table  # noqa: F401


def stock(reference: Sample, window: Sample) -> tuple[str, float, str]:
    """Evidently's DataDriftPreset as it comes, over the embedding and confidence columns."""
    import pandas as pd
    from evidently import Report
    from evidently.presets import DataDriftPreset

    frames = [
        pd.DataFrame(
            np.hstack([side.embeddings, side.confidences]).astype(np.float64),
            columns=[*(f"e{i}" for i in range(side.dimension)), *(f"confidence {name}" for name in CLASSES)],
        )
        for side in (window, reference)
    ]

    def draw() -> tuple[str, float]:
        snapshot = Report([DataDriftPreset()], include_tests=False).run(frames[0], frames[1])
        return snapshot.get_html_str(as_iframe=False), snapshot.dict()["metrics"][0]["value"]["share"]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds, (html, share) = least(draw, 1)
    distances = np.concatenate(
        [
            wasserstein_normed(prepare_columns(a), b)
            for a, b in ((reference.embeddings, window.embeddings), (reference.confidences, window.confidences))
        ]
    )
    agrees = "the same share as ours" if share == drifted_share(distances, 0.1) else f"share {share} IS NOT OURS"
    note = f"{frames[0].shape[1]} columns drawn, {len(html.encode()) / 1e6:.1f} MB, {agrees}"
    return "Evidently's DataDriftPreset, HTML", seconds, note


def main() -> int:
    """Measure, print, and say by the exit status whether the budget holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="leave out Evidently's stock preset (about a minute)")
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--columns", type=int, default=512)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    reference = sample(rng, given.rows, given.columns)
    window = sample(rng, given.rows, given.columns, shift=0.1)
    print(f"{given.rows:,} x {given.columns} against {given.rows:,} x {given.columns}, {len(CLASSES)} confidences\n")
    rows, seconds = ours(reference, window)
    if not given.quick:
        rows.append(stock(reference, window))
    width = max(len(name) for name, _, _ in rows)
    print(f"{'':{width}}  CPU seconds")
    for name, cost, note in rows:
        print(f"{name:{width}}  {cost:11.2f}  {note}")
    return 0 if seconds < BUDGET_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
