"""Neighbours of the embeddings are neighbours on the map."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KNeighborsClassifier

from textgate.components.evaluate.embedding_map import embedding_map


def test_handwritten_digits_lie_among_their_like() -> None:
    """Trustworthiness .985 and accuracy .945; umap-learn 0.5.12 has .986 and .940, the main axes .80 and .46."""
    images, digits = load_digits(return_X_y=True)
    images, digits = images[:800].astype(np.float32), digits[:800]
    places = embedding_map(images, 13)
    assert places.shape == (800, 2)
    plain = PCA(2).fit_transform(images)
    kept, before = (trustworthiness(images, points, n_neighbors=15, metric="cosine") for points in (places, plain))
    assert kept > 0.97
    assert before < 0.85
    assert KNeighborsClassifier(5).fit(places[::2], digits[::2]).score(places[1::2], digits[1::2]) > 0.93


def clusters(rows: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Rows in turn around three directions."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(3, 20))
    return (centres[np.arange(rows) % 3] + 0.1 * random.normal(size=(rows, 20))).astype(np.float32)


def test_the_same_seed_is_the_same_map_and_another_is_another() -> None:
    embeddings = clusters(90)
    places = embedding_map(embeddings, 13)
    np.testing.assert_array_equal(places, embedding_map(embeddings, 13))
    assert not np.allclose(places, embedding_map(embeddings, 14), atol=0.1)


@pytest.mark.parametrize("rows", [16, 17, 90])
def test_clusters_stay_apart(rows: int) -> None:
    places = embedding_map(clusters(rows), 13)
    centres = np.array([places[cluster::3].mean(axis=0) for cluster in range(3)])
    nearest = np.linalg.norm(places[:, None] - centres, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, np.arange(rows) % 3)


@pytest.mark.parametrize("rows", [2, 3, 15])
def test_few_rows_lie_on_their_two_main_axes(rows: int) -> None:
    embeddings = clusters(rows)
    directions = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    expected = PCA(2).fit_transform(directions)
    np.testing.assert_allclose(np.abs(embedding_map(embeddings, 13)), np.abs(expected), atol=1e-5)


def test_one_row_lies_in_the_middle() -> None:
    assert embedding_map(clusters(1), 13).tolist() == [[0, 0]]


@pytest.mark.parametrize(
    "embeddings",
    [np.ones((40, 8)), np.zeros((40, 8)), np.vstack([np.zeros((20, 8)), np.eye(8), np.eye(8)]), np.ones((40, 1))],
    ids=["equal", "empty", "some empty", "one dimension"],
)
def test_every_row_has_a_place_even_where_rows_are_equal(
    embeddings: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> None:
    places = embedding_map(embeddings.astype(np.float32), 13)
    assert places.shape == (len(embeddings), 2)
    assert np.isfinite(places).all()
