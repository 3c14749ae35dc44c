"""Which parts of a boundary an Ansatz has conditions on: none, one, or a value and a velocity."""

from __future__ import annotations

import copy
import warnings

import colloc as cc
import pytest
import torch
from colloc.boundary import Ansatz, Dirichlet, Line, Neumann, Robin, Segment
from colloc.geometry import Disk, Interval, Rectangle, TimeDomain
from colloc.jets.autograd import autograd_components

F64 = torch.float64
WALLS = Rectangle((0, 0), (2, 1)).boundary
WAVES = TimeDomain(Interval(0, 1), 0.5, 2.5)


def network(inputs=2, outputs=1, dtype=F64):
    return cc.nn.MLP(inputs, outputs, 8, 2, "tanh", dtype=dtype)


# ---- parts without a condition ------------------------------------------------------------------


def test_parts_without_a_condition_are_listed():
    field = Ansatz(network(), [Dirichlet(WALLS["left"]), Neumann(WALLS["top"])])
    assert field.uncovered == ("bottom", "right")
    assert "uncovered=bottom, right" in repr(field)
    whole = Ansatz(network(), [Dirichlet(WALLS["left"]), Neumann(WALLS - "left")])
    assert whole.uncovered == ()
    assert "uncovered" not in repr(whole)


def test_conditions_of_any_component_count():
    conditions = [Dirichlet(WALLS["left"], 0.0, 0), Robin(WALLS["top", "right"], 1.0, 0.0, 1)]
    assert Ansatz(network(outputs=2), conditions).uncovered == ("bottom",)


def test_lines_and_pieces_cover_what_lies_on_them():
    conditions = [Dirichlet([Line((0, 1), (0, 0)), WALLS["top"]], 0.0)]
    assert Ansatz(network(), conditions).uncovered == ("bottom", "right")


def test_without_a_boundary_it_is_not_known():
    for part in (Line((0, 1), (0, 0)), WALLS["left"].line, [Segment((0, 1), (0, 0))]):
        field = Ansatz(network(), [Dirichlet(part, 0.0)])
        assert field.uncovered is None
        assert "uncovered" not in repr(field)
    lines = [Dirichlet(WALLS["left"].line), Dirichlet(WALLS["top"])]
    assert Ansatz(network(), lines).uncovered == ("bottom", "right")


# ---- lines and the side that the domain is on ---------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_a_line_the_wrong_way_round_is_said_once(dtype):
    x = Rectangle((0, 0), (2, 1)).sample(64, dtype=dtype).x
    field = Ansatz(network(dtype=dtype), [Dirichlet(Line((0, 0), (0, 1)), 0.0)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        field(WALLS["left"].sample(8, dtype=dtype).x)  # on the line: nothing can be said
    fix = r"on the right of Line.*Turn it around: Line\(\(0\.0, 1\.0\), \(0\.0, 0\.0\)\)"
    with pytest.warns(UserWarning, match=fix):
        field(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        field(x)
        copy.deepcopy(field)(x)
        right = Ansatz(network(dtype=dtype), [Dirichlet(WALLS["left", "top"], 0.0)])
        right(x)
        lines = [Dirichlet(WALLS["left"].line), Neumann(WALLS["top"].line)]
        cc.jet(Ansatz(network(dtype=dtype), lines), x, 1)
        across = Ansatz(network(dtype=dtype), [Dirichlet(Line((1, 0), (1, 1)), 0.0)])
        across(x)  # points on both sides


def test_lines_are_looked_at_among_all_inputs():
    line = Line((0, 0), (0, 1))
    field = Ansatz(network(3), [Dirichlet(line, 0.0)], space=(1, 2))
    x = torch.rand(9, 3, dtype=F64)
    with pytest.warns(UserWarning, match="Turn it around"):
        field(x)
    left = Ansatz(network(3), [Dirichlet(line, 0.0)], space=(1, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        left(x * x.new_tensor((1, -1, 1)))


def test_only_lines_off_the_points_are_looked_at_again():
    field = Ansatz(network(), [Dirichlet(WALLS["left"].line)])
    x = WALLS["left"].sample(4, dtype=F64).x
    for _ in range(20):
        field(x)
    assert field._facing.is_done


def test_the_initial_time_is_a_part():
    assert Ansatz(network(), [Dirichlet(WAVES.lateral)]).uncovered == ("initial",)
    assert Ansatz(network(), [Dirichlet(WAVES.initial)]).uncovered == ("left", "right")
    both = [Dirichlet(WAVES.initial), Dirichlet(Interval(0, 1).boundary)]
    assert Ansatz(network(), both).uncovered == ()


def test_a_name_on_a_cut_shape_is_that_of_all_operands():
    outer, cut = Rectangle((0, 0), (2, 1)), ((1, 0.5), (2, 1))
    merged = (outer - Rectangle(*cut)).boundary
    assert merged["left"].measure == pytest.approx(1.5)  # x = 0 and the notch's x = 1
    named = (outer - Rectangle(*cut, names="notch")).boundary
    assert named["left"].measure == pytest.approx(1.0)
    assert named["notch"].measure == pytest.approx(1.5)


# ---- parts with two conditions ------------------------------------------------------------------

TWICE = "Give each part of the boundary once: one part takes one condition."


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ([Dirichlet(WALLS["left"]), Neumann(WALLS["left", "top"])],
         "got Dirichlet(left) and Neumann(top, left) on 'left', which overlap along a length"),
        ([Dirichlet(WAVES.initial), Dirichlet(WAVES.initial, 1.0)],
         "got Dirichlet(initial) and Dirichlet(initial) on the initial time"),
        ([Neumann(WAVES.initial), Robin(WAVES.initial, 1.0)],
         "got Neumann(initial) and Robin(initial) on the initial time"),
        ([Dirichlet(WAVES.initial), Neumann(WAVES.boundary)],
         "got Dirichlet(initial) and Neumann(left, right, initial) on the initial time"),
        ([Dirichlet(Interval(0, 1).boundary), Neumann(Interval(0, 1).boundary["left"])],
         "got Dirichlet(left, right) and Neumann(left) on a face"),
    ],
)  # fmt: skip
def test_a_part_with_two_conditions_is_named_with_both(conditions, message):
    with pytest.raises(ValueError, match="conditions: expected parts that meet in") as info:
        Ansatz(network(), conditions)
    assert message in str(info.value) and TWICE in str(info.value)


def start(x):
    return torch.sin(torch.pi * x[:, :1])


def velocity(x):
    return x[:, :1] * (1 - x[:, :1])


@pytest.mark.parametrize("outputs", [1, 2], ids=["N", "N and N2"])
@pytest.mark.parametrize("turned", [False, True], ids=["value first", "velocity first"])
def test_value_and_velocity_at_the_initial_time(outputs, turned):
    """As the wave equation needs: u = start, du/dt = velocity, and u = 0 on the walls."""
    torch.manual_seed(0)
    conditions = [
        Dirichlet(WAVES.initial, start),
        Neumann(WAVES.initial, lambda x: -velocity(x)),  # the normal is -t
        Dirichlet(WAVES.lateral, 0.0),
    ]
    field = Ansatz(network(2, outputs), conditions[::-1] if turned else conditions, outputs=1)
    points = WAVES.initial.sample(50, start=1, dtype=F64)
    u = cc.jet(field, points.x, 1, piece=points.piece)
    assert (u.value - start(points.x)).abs().max() < 1e-14
    assert (u.d(1) - velocity(points.x)).abs().max() < 1e-13
    walls = WAVES.lateral.sample(50, dtype=F64)
    assert field(walls.x, walls.piece).abs().max() < 1e-14
    x = WAVES.sample(9, start=1, dtype=F64).x
    assert (field(x) - start(x)).abs().max() > 0.1  # free later
    found, expected = cc.jet(field, x, 2), autograd_components(field, x, 2, (0, 1))
    torch.testing.assert_close(found.components, expected, rtol=1e-9, atol=1e-9)


def test_value_and_velocity_in_the_plane():
    whole = TimeDomain(Disk((0, 0), 1), 0, 10)
    conditions = [Dirichlet(whole.initial, 0.3), Neumann(whole.initial, -2.0),
                  Robin(whole.lateral, 1.0, 0.3)]  # fmt: skip
    field = Ansatz(network(3), conditions)
    points = TimeDomain(Disk((0, 0), 0.9), 0, 10).initial.sample(50, dtype=F64)
    u = cc.jet(field, points.x, 1)
    assert (u.value - 0.3).abs().max() < 1e-14 and (u.d(2) - 2).abs().max() < 1e-12


# ---- points -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_points_of_half_precision_are_refused(dtype):
    field = Ansatz(network(dtype=torch.float32), [Dirichlet(WALLS["left"])])
    x = torch.rand(3, 2)
    for call in (lambda: field(x.to(dtype)), lambda: cc.jet(field, x.to(dtype), 2)):
        with pytest.raises(ValueError, match=r"x: expected points of float32 or float64, got a "):
            call()
    with pytest.raises(ValueError, match=r"points of float32 or float64, got .* Use x.float\(\)"):
        field.to(dtype)(x.to(dtype))


def test_a_boundary_over_ranges_of_parameters():
    square = cc.geometry.Rectangle((0, 0), (1, 1))
    domain = cc.geometry.ParameterDomain(square, {"k": (1, 2)})
    walls, wall = domain.boundary["left", "bottom"], domain.boundary["right"]
    torch.manual_seed(0)
    net = cc.nn.MLP(3, 1, hidden_features=8, hidden_layers=1).double()
    field = cc.boundary.Ansatz(
        net,
        [
            cc.boundary.Dirichlet(walls, lambda x: x[:, 2:] ** 2),
            cc.boundary.Neumann([wall], lambda x: x[:, 2:]),
        ],
    )
    assert field.uncovered == ("top",)
    points = cc.sampling.Halton(walls, 64, dtype=torch.float64)(0)
    value = field(points.x, points.piece)
    torch.testing.assert_close(value, points.x[:, 2:] ** 2, rtol=0, atol=1e-12)
    points = cc.sampling.Halton(wall, 64, start=1, dtype=torch.float64)(0)  # 0 is a corner
    slope = cc.jet(field, points.x, 1, piece=points.piece).grad[:, 0]
    found = (slope * points.normal).sum(1, keepdim=True)
    torch.testing.assert_close(found, points.x[:, 2:], rtol=0, atol=1e-9)
    time = cc.geometry.ParameterDomain(cc.geometry.TimeDomain(square, 0, 1), {"k": (1, 2)})
    started = cc.boundary.Ansatz(
        cc.nn.MLP(4, 1, hidden_features=8, hidden_layers=1).double(),
        [cc.boundary.Dirichlet(time.boundary["initial"], lambda x: x[:, 3:])],
    )
    points = cc.sampling.Halton(time.boundary["initial"], 32, dtype=torch.float64)(0)
    torch.testing.assert_close(started(points.x), points.x[:, 3:], rtol=0, atol=1e-12)


def test_a_triangle_surface_is_refused():
    vertices = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    faces = [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]
    surface = cc.geometry.TriangleSurface(vertices, faces)
    with pytest.raises(ValueError, match="part: expected a boundary of plane curves"):
        cc.boundary.Dirichlet(surface, 0.0)
