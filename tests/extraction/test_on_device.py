"""Laws of sums over device arrays: inside any program, in any parts, they are those of the pass."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxfid.errors import InputError
from jaxfid.extraction.accumulators import make_moments
from jaxfid.extraction.devices import local_mesh
from jaxfid.extraction.evaluator_state import all_gather_state
from jaxfid.extraction.feature_pass import FeaturePass, run_pass
from jaxfid.extraction.on_device import make_on_device
from jaxfid.extractors.interface import Extractor
from jaxfid.images.batches import Batches
from jaxfid.images.sources import open_source
from jaxfid.preprocessing.protocol import Protocol

WIDTH, SIZE_PX, NUM_ROWS = 6, 8, 12
IMAGES = np.random.default_rng(0).integers(0, 256, (32, 20, 24, 3), dtype=np.uint8)


def make_extractor(shapes: list | None = None) -> Extractor:
    """A small nonlinear network over images of 8 pixels, which notes the shapes it is traced for."""
    protocol = Protocol("small_8", "tf1_bilinear", 128.0, 128.0, "for tests", SIZE_PX)
    kernel = np.random.default_rng(1).standard_normal((SIZE_PX * SIZE_PX * 3, WIDTH))

    def apply(params, images):
        if shapes is not None:
            shapes.append(images.shape)
        flat = images.reshape(len(images), -1)
        return {"small": jnp.tanh(jnp.matmul(flat, params, precision="highest") / 10)}

    return Extractor("small", protocol, {"small": WIDTH}, kernel.astype(np.float32), apply)


@functools.cache
def make(**options):
    return make_on_device(make_extractor(), "small", num_rows=NUM_ROWS, **options)


@functools.cache
def expected():
    """What the pass over decoded images keeps of the same ones."""
    mesh = local_mesh(1)
    moments = make_moments("small", WIDTH, mesh)
    batches = Batches(open_source(IMAGES), batch_size=8, num_workers=0, prepare=lambda image: image)
    run_pass(FeaturePass(make_extractor(), mesh), batches, [moments])
    return moments.moments()


@functools.cache
def expected_rows():
    """The rows that any partition of the images has to keep, in a fixed order."""
    sums = make()
    return add(sums, sums.init(), jnp.asarray(IMAGES)).rows.kept()[0]


def check(state):
    """Leading axes of devices are merged."""
    assert {leaf.dtype for leaf in jax.tree.leaves(state.moments)} == {np.dtype(np.float64)}
    a, b = state.total(), expected()
    np.testing.assert_array_equal(a.moments.count, b.count)
    # Features below 1 in float32: the programs round the network differently, not the sums.
    np.testing.assert_allclose(a.moments.total, b.total, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(a.moments.outer, b.outer, rtol=1e-6, atol=1e-5)
    assert a.parts == 1
    assert len(a.rows.kept()[0]) == NUM_ROWS


def add(sums, state, images, mask=None):
    return sums.update(state, sums.features(images), mask)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_any_partition(wrap):
    sums, step = make(), wrap(add)
    state = sums.init()
    for images in np.split(IMAGES, [1, 13]):
        state = step(sums, state, jnp.asarray(images))
    check(state)


def test_scan_and_init_inside():
    @jax.jit
    def run(sums, images):
        return jax.lax.scan(lambda s, x: (add(sums, s, x), None), sums.init(), images)[0]

    check(run(make(), IMAGES.reshape(4, 8, 20, 24, 3)))


def test_closed_over():
    sums = make()
    check(jax.jit(lambda images: add(sums, sums.init(), images))(IMAGES))


def test_where_x64_is_enabled():
    sums = make()
    with jax.enable_x64(True):
        check(jax.jit(add)(sums, sums.init(), jnp.asarray(IMAGES)))


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_images_on_several_devices(axis_type, wrap):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(axis_type,), devices=jax.devices()[:4])
    sums = jax.device_put(make(), NamedSharding(mesh, P()))
    images = jax.device_put(IMAGES, NamedSharding(mesh, P("data")))
    state = jax.device_put(sums.init(), NamedSharding(mesh, P()))
    check(wrap(add)(sums, state, images))


def test_no_image_goes_to_another_device():
    mesh = local_mesh(8)
    sums = jax.device_put(make(), NamedSharding(mesh, P()))
    images = jax.device_put(IMAGES, NamedSharding(mesh, P("data")))
    program = jax.jit(lambda sums, images: sums.features(images)).lower(sums, images).compile()
    assert program.output_shardings.spec == P("data")
    assert not re.findall("all-|collective-", program.as_text())


def test_shard_map():
    mesh = local_mesh(8)

    @jax.jit
    @functools.partial(jax.shard_map, mesh=mesh, in_specs=(P(), P("data")), out_specs=P())
    def run(sums, images):
        return all_gather_state(add(sums, sums.init(), images), "data")

    check(run(make(), IMAGES))


def test_shard_map_with_a_state_per_device():
    mesh = local_mesh(8)
    sums = make()
    specs = (P(), P("data"), P("data"))

    @jax.jit
    @functools.partial(jax.shard_map, mesh=mesh, in_specs=specs, out_specs=P("data"))
    def step(sums, states, images):
        state = add(sums, jax.tree.map(lambda leaf: leaf[0], states), images)
        return jax.tree.map(lambda leaf: leaf[None], state)

    states = jax.tree.map(lambda leaf: jnp.stack([leaf] * 8), sums.init())
    states = step(sums, states, IMAGES[:16])
    check(step(sums, states, IMAGES[16:]))


def test_pmap():
    sums = make()
    states = jax.pmap(lambda _: sums.init())(jnp.arange(8))
    step = jax.pmap(add, in_axes=(None, 0, 0))
    check(step(sums, states, IMAGES.reshape(8, 4, 20, 24, 3)))


def test_rows_that_are_masked_count_for_nothing():
    sums = make()
    mask = np.ones(40, bool)
    mask[[0, 3, 4, 11, 20, 21, 38, 39]] = False
    images = np.full((40, 20, 24, 3), 77, np.uint8)
    images[mask] = IMAGES
    state = sums.init()
    for rows in (slice(0, 19), slice(19, 40)):
        state = jax.jit(add)(sums, state, images[rows], mask[rows])
    check(state)


def test_states_merge_to_the_same_rows_in_any_order():
    sums = make()
    parts = [add(sums, sums.init(), jnp.asarray(x)) for x in np.split(IMAGES, [5, 20])]
    first, second = parts[0] + parts[1] + parts[2], parts[2] + (parts[0] + parts[1])
    check(first)
    jax.tree.map(np.testing.assert_array_equal, first.rows.kept(), second.rows.kept())


def test_states_go_through_a_file(tmp_path):
    sums = make()
    a = add(sums, sums.init(), jnp.asarray(IMAGES[:20]))
    leaves, structure = jax.tree.flatten(a)
    np.savez(tmp_path / "state.npz", *leaves)
    with np.load(tmp_path / "state.npz") as file:
        loaded = jax.tree.unflatten(structure, [file[name] for name in file.files])
    check(jax.jit(add)(sums, sums.init() + loaded, IMAGES[20:]))
    with pytest.raises(InputError, match=r"state: expected sums in float64, found float32"):
        jax.jit(add)(sums, loaded, IMAGES[20:])


def test_states_that_were_added_as_numbers_are_known():
    mesh, sums = local_mesh(4), make()

    @jax.jit
    @functools.partial(jax.shard_map, mesh=mesh, in_specs=(P(), P("data")), out_specs=P())
    def run(sums, images):
        return jax.lax.psum(add(sums, sums.init(), images), "data")

    state = run(sums, IMAGES)
    np.testing.assert_array_equal(state.moments.count, len(IMAGES))
    assert state.parts == 4


def test_sums_in_whole_numbers_are_equal_to_the_bit_in_any_program():
    sums = make(sums="integer")
    features = jnp.tanh(jax.random.normal(jax.random.key(0), (32, WIDTH)))
    mesh = local_mesh(8)
    over_devices = functools.partial(
        jax.shard_map, mesh=mesh, in_specs=(P(), P("data")), check_vma=False
    )

    def add_to_none(sums, features):
        return sums.update(sums.init(), features)

    def gathered(sums, features):
        return all_gather_state(add_to_none(sums, features), "data")

    def stacked(sums, features):
        return jax.tree.map(lambda leaf: leaf[None], add_to_none(sums, features))

    expected = jax.jit(add_to_none)(sums, features)
    assert {leaf.dtype for leaf in jax.tree.leaves(expected.moments)} == {np.dtype(np.int32)}
    found = (
        jax.jit(over_devices(gathered, out_specs=P()))(sums, features),
        jax.jit(over_devices(stacked, out_specs=P("data")))(sums, features).total(),
        add_to_none(sums, features[20:]) + add_to_none(sums, features[:20]),
    )
    for state in found:
        jax.tree.map(np.testing.assert_array_equal, state.moments, expected.moments)
    rows = np.asarray(features, np.float64)
    moments = expected.total().read_moments()
    # 32 products of values below 1, each value rounded to a step of 2^-25
    np.testing.assert_allclose(moments.outer, rows.T @ rows, rtol=0, atol=32 * 2**-25)
    with pytest.raises(InputError, match="state: expected one of this evaluator"):
        make().update(expected, features)


def test_sums_on_the_host():
    sums = make(sums="host")
    features = jax.jit(lambda sums, images: sums.features(images))
    state = sums.init()
    for images in (IMAGES[:20], IMAGES[20:]):
        state = sums.update(state, features(sums, images))
    assert isinstance(state.moments.outer, np.ndarray)
    check(state)
    with pytest.raises(InputError, match="no compiled function can update them"):
        jax.jit(add)(sums, state, IMAGES)


@pytest.mark.parametrize(
    ("devices", "rows", "wrap", "most"),
    [
        (1, 5, lambda f: f, 5),
        (8, 2, lambda f: f, 16),
        # JAX does not say there on how many devices the images lie: it may be one.
        (1, 16, jax.jit, 16),
        (8, 16, jax.jit, 16),
        (1, 5, jax.jit, 5),
    ],
)
def test_few_images_at_a_time(devices, rows, wrap, most):
    shapes = []
    sums = make_on_device(make_extractor(shapes), "small", num_rows=NUM_ROWS, rows_per_device=rows)
    mesh = local_mesh(devices)
    images = jax.device_put(IMAGES, NamedSharding(mesh, P("data")))
    features = wrap(lambda sums, images: sums.features(images))(sums, images)
    # Tiny products of other shapes are rounded otherwise.
    np.testing.assert_allclose(features, make().features(IMAGES), atol=1e-6)
    assert shapes == [(shapes[0][0], SIZE_PX, SIZE_PX, 3)]
    assert most / 2 < shapes[0][0] <= most


def test_inside_shard_map_the_rows_are_those_of_one_device():
    shapes = []
    sums = make_on_device(make_extractor(shapes), "small", num_rows=NUM_ROWS, rows_per_device=2)
    mesh = local_mesh(8)
    jax.jit(
        jax.shard_map(
            lambda sums, images: sums.features(images),
            mesh=mesh,
            in_specs=(P(), P("data")),
            out_specs=P("data"),
        )
    )(sums, IMAGES)
    assert [shape[0] for shape in shapes] == [2]


LAYOUTS = [
    ((8,), ("data",), P("data")),
    pytest.param((4, 2), ("data", "model"), P("data"), marks=pytest.mark.slow),
    pytest.param((4, 2), ("data", "model"), P(("data", "model")), marks=pytest.mark.slow),
    ((4, 2), ("data", "model"), P("data", "model")),
]


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize(("shape", "names", "spec"), LAYOUTS)
def test_sums_are_the_same_wherever_rows_lie_and_each_device_multiplies_its_own(
    kind, shape, names, spec
):
    mesh = jax.make_mesh(shape, names, axis_types=(kind,) * len(names))
    rows = np.random.default_rng(0).standard_normal((64, WIDTH)).astype(np.float32)
    mask = np.arange(64) % 5 != 0
    sums = make()
    plain = sums.update(sums.init(), rows, mask)
    state = jax.device_put(sums.init(), NamedSharding(mesh, P()))
    laid_out = jax.device_put(rows, NamedSharding(mesh, spec))
    step = jax.jit(lambda sums, *args: sums.update(*args), donate_argnums=1)
    everywhere = jax.device_put((sums, mask), NamedSharding(mesh, P()))
    program = step.lower(everywhere[0], state, laid_out, everywhere[1]).compile().as_text()
    found = step(everywhere[0], state, laid_out, everywhere[1])
    # 64 float64 products added in another order.
    np.testing.assert_allclose(found.moments.outer, plain.moments.outer, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.moments.total, plain.moments.total, rtol=1e-12, atol=1e-12)
    jax.tree.map(np.testing.assert_array_equal, found.rows, plain.rows)
    own = laid_out.sharding.shard_shape(laid_out.shape)[0]
    assert multiplied_rows(program) == {own}


def test_sums_of_the_same_features_are_equal_in_every_kind_of_program():
    rows = np.random.default_rng(0).standard_normal((64, WIDTH)).astype(np.float32)
    sums, mesh = make(), local_mesh(8)
    plain = sums.update(sums.init(), rows)

    def gathered(rows):
        return all_gather_state(sums.update(sums.init(), rows), "data")

    def scanned(rows):
        parts = rows.reshape(4, 16, WIDTH)
        return jax.lax.scan(lambda s, x: (sums.update(s, x), None), sums.init(), parts)[0]

    by_device = jax.shard_map(gathered, mesh=mesh, in_specs=P("data"), out_specs=P())
    mapped = jax.pmap(lambda rows: sums.update(sums.init(), rows))(rows.reshape(8, 8, WIDTH))
    for state in (jax.jit(scanned)(rows), jax.jit(by_device)(rows), mapped):
        found, expected = state.total(), plain.total()
        # 64 float64 products added in another order.
        for name in ("count", "total", "outer"):
            both = (getattr(one.moments, name) for one in (found, expected))
            np.testing.assert_allclose(*both, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(found.rows.rows, expected.rows.rows)


def multiplied_rows(program: str) -> set[int]:
    """How many rows the float64 product of a compiled program takes on one device."""
    operands = re.findall(r"= f64\S* dot\(%([\w.-]+)", program)
    shapes = [re.search(rf"%{re.escape(name)} = f64\[([\d,]+)\]", program) for name in operands]
    assert shapes
    return {max(map(int, shape[1].split(","))) for shape in shapes if shape}


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_nothing_compiles_twice(wrap):
    shapes = []
    sums = make_on_device(make_extractor(shapes), "small", num_rows=NUM_ROWS)
    step = wrap(add)
    state = sums.init()
    for _ in range(3):
        state = step(sums, state, jnp.asarray(IMAGES))
    assert len(shapes) == 1
    np.testing.assert_array_equal(state.moments.count, 3 * len(IMAGES))


def test_nan_does_not_pass_for_a_pixel():
    images = jnp.zeros((2, 20, 24, 3)).at[1, 3, 3, 0].set(jnp.nan)
    features = make(value_range=(-1, 1)).features(images)
    assert np.isfinite(features[0]).all()
    assert np.isnan(features[1]).any()


def test_the_gradient_is_that_of_the_values_before_they_were_rounded():
    images = jnp.asarray(IMAGES[:2], jnp.float32) / 255
    sums = [make(value_range=(0, 1), quantize=quantize) for quantize in (False, True)]
    exact, rounded = (jax.grad(lambda x, s=s: s.features(x).sum())(images) for s in sums)
    assert np.abs(exact).max() > 0.01
    # The images are whole pixels up to rounding, so both gradients are taken at the same place.
    np.testing.assert_allclose(rounded, exact, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("value_range", "values"),
    [
        ((0, 255), IMAGES.astype(np.float32)),
        ((0, 1), IMAGES / np.float32(255)),
        ((-1, 1), IMAGES / np.float32(127.5) - 1),
    ],
)
def test_floating_images_are_rounded_to_the_pixels_they_stand_for(value_range, values):
    rng = np.random.default_rng(3)
    noise = rng.uniform(-0.4, 0.4, IMAGES.shape) * (value_range[1] - value_range[0]) / 255
    check(
        add(make(value_range=value_range), make().init(), jnp.asarray(values + noise, jnp.float32))
    )


def test_without_rounding_values_pass_as_they_are():
    sums = [make(value_range=(0, 255), quantize=q) for q in (False, True)]
    values = jnp.asarray(IMAGES[:4].clip(1, 254) + 0.3, jnp.float32)
    exact, rounded = (s.features(values) for s in sums)
    np.testing.assert_allclose(rounded, make().features(IMAGES[:4].clip(1, 254)), atol=1e-6)
    assert np.abs(exact - rounded).max() > 1e-4


def test_wrong_arguments_are_named():
    sums = make()
    state = sums.init()
    with pytest.raises(InputError, match="images: float32 could be in any range"):
        sums.features(jnp.zeros((2, 8, 8, 3)))
    with pytest.raises(InputError, match="images: expected uint8 or floating point, found int32"):
        sums.features(jnp.zeros((2, 8, 8, 3), int))
    with pytest.raises(
        InputError, match=r"images: expected \(n, height, width, 3\), found \(2, 3, 8"
    ):
        sums.features(jnp.zeros((2, 3, 8, 8), jnp.uint8))
    features = sums.features(IMAGES)
    with pytest.raises(InputError, match=r"mask: expected shape \(32,\), found \(31,\)"):
        sums.update(state, features, np.ones(31, bool))
    with pytest.raises(InputError, match="state: expected sums of 6 features, shape"):
        sums.update(jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), state), features)
