"""The map keeps neighbours of the embeddings together, and depends on nothing but the embeddings and the seed."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from textgate.components.evaluate.embedding_map import map_embeddings


def test_handwritten_digits_of_one_class_are_neighbours() -> None:
    """Trustworthiness .989 and accuracy .933; umap-learn 0.5.12 has .986 and .940, principal components .80 and .46."""
    images, digits = load_digits(return_X_y=True)
    images, digits = images[:800].astype(np.float32), digits[:800]
    positions = map_embeddings(images, 13)
    assert positions.shape == (800, 2)
    components = PCA(2).fit_transform(images)
    mapped, linear = (
        trustworthiness(images, points, n_neighbors=15, metric="cosine") for points in (positions, components)
    )
    assert mapped > 0.97
    assert linear < 0.85
    assert KNeighborsClassifier(5).fit(positions[::2], digits[::2]).score(positions[1::2], digits[1::2]) > 0.93


def clusters(rows: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return embeddings around three directions; row i belongs to cluster i % 3."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(3, 20))
    return (centres[np.arange(rows) % 3] + 0.1 * random.normal(size=(rows, 20))).astype(np.float32)


def test_the_same_seed_gives_the_same_map_and_another_seed_another_map() -> None:
    embeddings = clusters(90)
    positions = map_embeddings(embeddings, 13)
    np.testing.assert_array_equal(positions, map_embeddings(embeddings, 13))
    assert not np.allclose(positions, map_embeddings(embeddings, 14), atol=0.1)


def test_the_number_of_threads_does_not_change_the_map() -> None:
    embeddings = clusters(300)
    with threadpool_limits(1):
        positions = map_embeddings(embeddings, 13)
    with threadpool_limits(4):
        np.testing.assert_array_equal(map_embeddings(embeddings, 13), positions)


@pytest.mark.parametrize("rows", [16, 17, 90])
def test_clusters_stay_apart(rows: int) -> None:
    positions = map_embeddings(clusters(rows), 13)
    centres = np.array([positions[cluster::3].mean(axis=0) for cluster in range(3)])
    nearest = np.linalg.norm(positions[:, None] - centres, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, np.arange(rows) % 3)


@pytest.mark.parametrize("rows", [2, 3, 15])
def test_few_rows_are_mapped_to_their_principal_components(rows: int) -> None:
    embeddings = clusters(rows)
    directions = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    expected = PCA(2).fit_transform(directions)
    np.testing.assert_allclose(np.abs(map_embeddings(embeddings, 13)), np.abs(expected), atol=1e-5)


def test_one_row_is_mapped_to_the_origin() -> None:
    assert map_embeddings(clusters(1), 13).tolist() == [[0, 0]]


@pytest.mark.parametrize(
    "embeddings",
    [np.ones((40, 8)), np.zeros((40, 8)), np.vstack([np.zeros((20, 8)), np.eye(8), np.eye(8)]), np.ones((40, 1))],
    ids=["equal", "empty", "some empty", "one dimension"],
)
def test_equal_rows_have_finite_positions(
    embeddings: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> None:
    positions = map_embeddings(embeddings.astype(np.float32), 13)
    assert positions.shape == (len(embeddings), 2)
    assert np.isfinite(positions).all()
