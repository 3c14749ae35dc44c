"""Rules that weigh the losses of several terms into one."""

from colloc.balancing.base import Balancer
from colloc.balancing.sum import Sum

__all__ = ["Balancer", "Sum"]
