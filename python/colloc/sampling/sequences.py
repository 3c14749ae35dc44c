"""The samplers, one for each sequence; arguments and errors are those of :class:`Sampler`."""

from __future__ import annotations

from colloc.sampling.sampler import Sampler


class Halton(Sampler):
    """Halton's sequence, step after step: :func:`colloc.ops.halton`.

    The default choice: it may go on for ever, and any stretch of it is even. A seed scrambles
    the digits.

    Example::

        points = cc.sampling.Halton(square, 4096)
        for step in range(1000):
            term.points = points(step)

    Arguments and errors: those of :class:`Sampler`.
    """

    method = "halton"


class Hammersley(Sampler):
    """Hammersley sets, a new one every step: :func:`colloc.ops.hammersley`.

    More even within a step than Halton's sequence, whose next indices the other coordinates of
    each set have. In one dimension, as on the boundary of a plane shape, all steps have the same
    points: i + 1/2 of n.

    Arguments and errors: those of :class:`Sampler`.
    """

    method = "hammersley"


class Sobol(Sampler):
    """Sobol's sequence, step after step: :func:`colloc.ops.sobol`.

    Best where n is a power of two and the shape a box. Ends at 2^30 raw points. A seed
    scrambles it.

    Arguments and errors: those of :class:`Sampler`.
    """

    method = "sobol"


class Uniform(Sampler):
    """Independent random points, new ones every step: :func:`colloc.ops.uniform`.

    Arguments and errors: those of :class:`Sampler`.
    """

    method = "uniform"
    _is_random = True


class LatinHypercube(Sampler):
    """Latin hypercube samples, a new one every step: :func:`colloc.ops.latin_hypercube`.

    Of shapes that take only some of the raw points, the sample is of the bounding box, and a
    surplus is left out at random.

    Arguments and errors: those of :class:`Sampler`.
    """

    method = "latin_hypercube"
    _is_random = True
