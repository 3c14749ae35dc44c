"""What a competent user writes in plain torch: the contenders of the training step.

``autograd`` and ``taylor`` hold the same losses under the same names, each a function of
(net, x, *data); ``products`` the matrix products of a step and nothing else.
"""
