"""Jets that move along an input, and what it means to detach something made of them."""

from __future__ import annotations

from torch import Tensor
from torch.autograd import forward_ad

from colloc.jets import Jet


class MovingJet(Jet):
    """A jet whose components carry, in forward mode, their derivatives by one input.

    ``gradient_enhanced`` hands it to the residual. Whatever detaches a part of the residual from
    the weights must leave these derivatives alone: they are no gradients but values.
    """

    __slots__ = ()


def without_gradient(value: Tensor, keep_tangent: bool) -> Tensor:
    """``value`` detached; where ``keep_tangent``, with its detached tangent.

    ``Tensor.detach`` alone drops the tangent: the derivative of a detached addend would be 0.
    """
    if keep_tangent:
        primal, tangent = forward_ad.unpack_dual(value)
        if tangent is not None:
            return forward_ad.make_dual(primal.detach(), tangent.detach())
    return value.detach()
