"""The readers of the embedding: the models that scikit-learn has too, and folds that know nothing of what they read."""

import json

import numpy as np
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from performance_worlds import world
from visiondrift.drift.performance.folds import Company, stratified_folds
from visiondrift.drift.performance.readers import FOLDS, NEIGHBOURS, LinearReader, fit_linear, fit_neighbours
from visiondrift.drift.performance.second_opinion import SecondOpinion, fit_second_opinion

EVENTS = world(900, 0)
ROWS, LABELS = EVENTS.evidence.embeddings, EVENTS.labels
assert ROWS is not None
FOLD_OF = stratified_folds(LABELS, np.arange(900), folds=FOLDS, seed=0)


def opinion() -> SecondOpinion:
    return fit_second_opinion(ROWS, EVENTS.evidence.predicted, LABELS, np.arange(900), classes=4, seed=0)


def test_the_linear_reader_reads_as_ridge_classification_does() -> None:
    reader, _ = fit_linear(ROWS, LABELS, FOLD_OF, 4)
    fresh = world(2000, 1).evidence.embeddings
    assert fresh is not None
    for fold in range(FOLDS):
        inside = fold != FOLD_OF
        oracle = RidgeClassifier(alpha=1e-3 * inside.sum()).fit(ROWS[inside], LABELS[inside])
        assert (reader.read(fresh)[fold] == oracle.predict(fresh)).mean() > 0.99


def test_the_neighbour_reader_reads_as_a_vote_of_ten_does() -> None:
    reader, _ = fit_neighbours(ROWS, LABELS, FOLD_OF)
    fresh = world(1000, 2).evidence.embeddings
    assert fresh is not None
    classes, distances = reader.read(fresh)
    inside = FOLD_OF != 0
    oracle = KNeighborsClassifier(NEIGHBOURS, weights="distance").fit(ROWS[inside], LABELS[inside])
    assert (classes[0] == oracle.predict(fresh)).mean() > 0.99
    far = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(ROWS[inside]).kneighbors(fresh)[0][:, -1]
    np.testing.assert_allclose(distances[0], far, rtol=1e-3)


def test_a_fold_whose_rows_all_lie_near_one_another_has_its_neighbours_among_the_others() -> None:
    """Forty candidates near such a row are then all of one fold; who has not seen that fold must look further."""
    fold_of = np.repeat(np.arange(FOLDS), 300)
    rows = ROWS + (20 * np.eye(ROWS.shape[1], dtype=np.float32))[fold_of]
    reader, _ = fit_neighbours(rows, LABELS, fold_of)
    inside = fold_of != 0
    far = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(rows[inside]).kneighbors(rows[:50])[0][:, -1]
    np.testing.assert_allclose(reader.read(rows[:50])[1][0], far, rtol=1e-3)


def test_a_row_of_the_reference_is_read_by_the_fold_that_has_not_seen_it() -> None:
    """On labels that mean nothing a reader is right by chance alone; one that had seen them would do better."""
    random = np.random.default_rng(3).integers(0, 4, 900).astype(np.int32)
    folds = stratified_folds(random, np.arange(900), folds=FOLDS, seed=0)
    for seen in (fit_linear(ROWS, random, folds, 4)[1], fit_neighbours(ROWS, random, folds)[1]):
        assert (seen == random).mean() < 0.31


def test_one_in_a_hundred_rows_is_novel_where_nothing_is_and_all_are_far_away() -> None:
    reader, _ = fit_neighbours(ROWS, LABELS, FOLD_OF)
    fresh = world(2000, 4).evidence.embeddings
    assert fresh is not None
    assert reader.novel_share(reader.read(fresh)[1]) < 0.03
    assert reader.novel_share(reader.read(fresh + 50)[1]) == 1


def test_without_drift_the_readers_imply_the_models_accuracy_and_do_not_quarrel() -> None:
    window = world(1500, 5)
    assert window.evidence.embeddings is not None
    consultation = opinion().consult(window.evidence.embeddings, window.evidence.predicted, company=Company())
    assert abs(consultation.quarrel) < 0.02
    assert consultation.all_heard
    for reader in consultation.readers:
        assert reader.accuracy.low <= window.accuracy <= reader.accuracy.high


def test_the_cautious_reader_is_the_lowest_that_is_heard() -> None:
    window = world(300, 6)
    assert window.evidence.embeddings is not None
    consultation = opinion().consult(window.evidence.embeddings, window.evidence.predicted, company=Company())
    assert consultation.cautious is not None
    assert consultation.cautious.accuracy.value == min(r.accuracy.value for r in consultation.readers)


def test_readers_survive_json() -> None:
    made = opinion()
    again = SecondOpinion.from_dict(json.loads(json.dumps(made.to_dict())), ROWS)
    fresh = world(200, 7)
    assert fresh.evidence.embeddings is not None
    asked = (fresh.evidence.embeddings, fresh.evidence.predicted)
    assert again.consult(*asked, company=Company()) == made.consult(*asked, company=Company())
    np.testing.assert_array_equal(LinearReader.from_dict(made.linear.to_dict()).weights, made.linear.weights)
