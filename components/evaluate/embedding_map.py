"""Two-dimensional map of embeddings by t-SNE: texts that are similar to the model are close to each other.

Van der Maaten and Hinton, Visualizing Data using t-SNE (JMLR 9, 2008), as implemented in scikit-learn. The layout
starts from the principal components, which keeps the global structure: Kobak and Berens, The art of using t-SNE for
single-cell transcriptomics (Nature Communications 10, 2019).
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_FEWEST_TEXTS = 16
"""Number of texts from which t-SNE is used; with fewer, neighbourhoods are too small."""
_PERPLEXITY = 20
"""Effective number of neighbours of a text."""
_INITIAL_WIDTH = 1e-4
"""Standard deviation of the initial layout along the first axis, as in scikit-learn."""


def map_embeddings(embeddings: npt.NDArray[np.float32], seed: int) -> Floats:
    """Return a position on the map for each embedding, by cosine distance.

    The same seed gives the same bytes on the same machine, whatever its load.

    Args:
        embeddings: Array (n, dimensions), float32. With fewer than 16 rows, the two principal components are returned.
        seed: Seed of the initial layout.

    Returns:
        Array (n, 2), float64.
    """
    # Imported here, because they take a second and most evaluations draw no map.
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    directions = normalize(embeddings.astype(np.float64))
    # With several threads, the order of summation and so the last bits depend on how the work is divided.
    with threadpool_limits(1):
        components = _principal_components(directions)
        if len(directions) < _FEWEST_TEXTS:
            return components
        width = components[:, 0].std()
        # The noise makes the layout depend on the seed, and lays out embeddings that are all equal.
        noise = np.random.default_rng(seed).normal(scale=_INITIAL_WIDTH / 10, size=components.shape)
        start = components * (_INITIAL_WIDTH / width if width > 0 else 0) + noise
        perplexity = min(_PERPLEXITY, (len(directions) - 1) / 3)
        # On unit vectors, the squared Euclidean distance is twice the cosine distance.
        layout = TSNE(perplexity=perplexity, init=start.astype(np.float32), random_state=seed).fit_transform(directions)
    return np.asarray(layout, dtype=np.float64)


def _principal_components(points: Floats) -> Floats:
    """Return the first two principal components (n, 2); missing ones are 0."""
    from sklearn.decomposition import PCA

    count = min(2, *points.shape)
    components = np.zeros((len(points), 2))
    if np.ptp(points, axis=0).any():
        components[:, :count] = PCA(count, svd_solver="full").fit_transform(points)
    return components
