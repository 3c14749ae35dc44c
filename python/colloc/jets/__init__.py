"""Jets: a field's values together with the derivatives that were asked for."""

from colloc.jets.container import Jet
from colloc.jets.evaluate import jet
from colloc.jets.layout import ORDERS, Order, check_order

__all__ = ["ORDERS", "Jet", "Order", "check_order", "jet"]
