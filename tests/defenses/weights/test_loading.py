import hashlib
import math
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from defenses.classifiers.architecture import Architecture
from defenses.classifiers.network import initial, template
from defenses.files.checkpoint import read_arrays
from defenses.weights.conversion import convert
from defenses.weights.loading import load_checkpoint
from tests.defenses.files.torch_files import archive, dictionary, legacy, storage, tensor
from tests.paths import WEIGHTS

BFLOAT16 = ml_dtypes.bfloat16
SIX = np.arange(6, dtype="<f4")
BOTH = dictionary(a=tensor(), b=tensor((2,), (2,), 1, storage("1", 4)))


def safetensors(path, arrays=None):
    save_file(arrays or {"a": SIX.reshape(2, 3), "b": SIX[1:4:2].copy()}, path)
    return path


def zipped(path):
    return archive(path, BOTH, {"0": SIX.tobytes(), "1": SIX[:4].tobytes()})


def pickled(path):
    return legacy(path, BOTH, {"0": (6, SIX.tobytes()), "1": (4, SIX[:4].tobytes())})


FORMATS = [(zipped, ".pth"), (pickled, ".th"), (safetensors, ".safetensors")]


@pytest.mark.parametrize(("write", "suffix"), FORMATS)
def test_the_same_arrays_from_every_format(write, suffix, tmp_path):
    arrays = read_arrays(write(tmp_path / f"weights{suffix}"))
    assert list(arrays) == ["a", "b"]
    np.testing.assert_array_equal(arrays["a"], SIX.reshape(2, 3))
    np.testing.assert_array_equal(arrays["b"], [1, 3])


def test_dtypes_of_safetensors(tmp_path):
    dtypes = ("f8", "f4", "f2", ml_dtypes.bfloat16, "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?")
    arrays = {f"{np.dtype(dtype).name}": SIX.astype(dtype) for dtype in dtypes} | {"empty": np.zeros((0, 3), "f4")}
    read = read_arrays(safetensors(tmp_path / "a.safetensors", arrays))
    assert list(read) == sorted(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
    with pytest.raises(ValueError, match="dtype C64, expected one of F64"):
        read_arrays(safetensors(tmp_path / "a.safetensors", {"a": SIX.astype("c8")}))


def test_a_safetensors_file_whose_length_looks_like_a_pickle(tmp_path):
    """Every 32nd header has a length whose first byte is that of pickles."""
    for width in range(1, 300):
        content = safetensors(tmp_path / "a.safetensors", {"a" * width: SIX}).read_bytes()
        if content[0] == 0x80:
            break
    else:
        pytest.fail("no header of such a length was written")
    assert list(read_arrays(tmp_path / "a.safetensors")) == ["a" * width]


@pytest.mark.parametrize(("write", "suffix"), FORMATS)
def test_a_file_cut_at_any_byte_is_refused(write, suffix, tmp_path):
    path = write(tmp_path / f"weights{suffix}")
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=rf"weights\{suffix}: \w"):
            read_arrays(path)


@pytest.mark.parametrize(("write", "suffix"), FORMATS)
def test_a_file_with_any_byte_changed_gives_arrays_or_a_value_error(write, suffix, tmp_path):
    path = write(tmp_path / f"weights{suffix}")
    content = path.read_bytes()
    refused = 0
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x81]) + content[position + 1 :])
        try:
            assert all(isinstance(array, np.ndarray) for array in read_arrays(path).values())
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017
            refused += 1
    assert refused > len(content) / 3


@pytest.mark.parametrize(("write", "suffix"), FORMATS)
def test_an_ending_of_the_other_format_is_refused(write, suffix, tmp_path):
    wrong = ".pth" if suffix == ".safetensors" else ".safetensors"
    with pytest.raises(ValueError, match=rf"a\{wrong}: expected a \w+ file as its name says, found \w+"):
        read_arrays(write(tmp_path / f"a{wrong}"))
    assert list(read_arrays(write(tmp_path / "a.download"))) == ["a", "b"]


def test_files_that_are_none(tmp_path):
    cases = {"missing.pth": "found none", "folder.pth": "found a folder", "empty.pth": "found an empty one"}
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.pth").write_text("<html>404 Not Found</html>")
    for name, found in {**cases, "text.pth": "found neither", "x" * 300: "can't be read"}.items():
        with pytest.raises(ValueError, match=found) as refusal:
            read_arrays(tmp_path / name)
        assert str(refusal.value).startswith(f"{tmp_path / name}: ")


def test_the_hash_is_held_to(tmp_path):
    path = zipped(tmp_path / "a.pth")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for sha256 in (digest, digest.upper(), digest[:8], ""):
        assert read_arrays(path, sha256)
    for sha256 in ("0" * 64, digest[:-1] + "0123456789abcdef"[int(digest[-1], 16) - 1], digest[1:9]):
        with pytest.raises(ValueError, match=f"a.pth: expected sha256 {sha256}, found {digest}"):
            read_arrays(path, sha256)
    for sha256 in ("xyz", digest + "0", digest[:8] + "\n"):
        with pytest.raises(ValueError, match="sha256 must be up to 64 hexadecimal digits, got"):
            read_arrays(path, sha256)


def test_the_digits_in_a_name_are_held_to(tmp_path):
    path = zipped(tmp_path / "a.pth")
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    advice = "rename the file if these digits are no hash"
    for suffix in (".pth", ".th"):
        assert read_arrays(path.rename(path.with_name(f"net-v1-{digits}{suffix}")))
        path = zipped(tmp_path / f"net-12345678{suffix}")
        with pytest.raises(
            ValueError, match=f"expected a sha256 that starts with 12345678 .*, found {digits}.*; {advice}$"
        ):
            read_arrays(path)
    assert read_arrays(zipped(tmp_path / "net-1234567.pth"))


@pytest.mark.parametrize("cut", [1, 1000, 500_000])
def test_published_weights_that_are_altered(cut, tmp_path):
    published = WEIGHTS / "resnet20-12fca82f.th"
    if not published.exists():
        pytest.skip("needs data/weights/resnet20-12fca82f.th")
    content = published.read_bytes()
    (tmp_path / published.name).write_bytes(content[:-cut])
    with pytest.raises(ValueError, match="starts with 12fca82f as the name says"):
        read_arrays(tmp_path / published.name)
    (tmp_path / "resnet20.th").write_bytes(content[:-cut])
    with pytest.raises(ValueError, match=r"resnet20\.th: has \d+ bytes in storage \d+, expected \d+"):
        read_arrays(tmp_path / "resnet20.th")


# A toy network: one convolution, a batch norm, two dense layers in a list.


class Toy(nnx.Module):
    def __init__(self, image_shape, num_classes, rngs):
        self.stem = nnx.Conv(image_shape[2], 4, (3, 3), use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.heads = nnx.List([nnx.Linear(4, 5, rngs=rngs), nnx.Linear(5, num_classes, rngs=rngs)])

    def __call__(self, images):
        features = nnx.relu(self.norm(self.stem(images))).mean((1, 2))
        return self.heads[1](nnx.relu(self.heads[0](features)))


NAMES = {"conv.weight": "stem/kernel", "bn.weight": "norm/scale", "bn.bias": "norm/bias"}
NAMES |= {"bn.running_mean": "norm/mean", "bn.running_var": "norm/var"}
NAMES |= {"fc0.weight": "heads/0/kernel", "fc0.bias": "heads/0/bias"}
NAMES |= {"fc1.weight": "heads/1/kernel", "fc1.bias": "heads/1/bias"}


def published(arrays):
    laid_out = {4: lambda a: a.transpose(2, 3, 1, 0), 2: lambda a: a.T, 1: lambda a: a}
    return {NAMES[name]: laid_out[np.ndim(array)](array) for name, array in arrays.items()}


def foreign(arrays):
    return {{}[name]: array for name, array in arrays.items()}


SHAPE = (6, 6, 3)
TOY = Architecture(Toy, {"foreign": foreign, "published": published}, smooth=False)
TEMPLATE = template(TOY, SHAPE, 7)
PATH = Path("toy.pth")


def named(tree):
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(keys, simple=True, separator="/"): leaf for keys, leaf in leaves}


@pytest.fixture(scope="module")
def params():
    return initial(TOY, SHAPE, 7, seed=3)


@pytest.fixture(scope="module")
def checkpoint(params):
    """The params as the publisher names and lays them out."""
    own = {name: np.asarray(leaf) for name, leaf in named(params).items()}
    arrays = {name: own[NAMES[name]] for name in NAMES}
    arrays = {name: a.transpose(3, 2, 0, 1) if a.ndim == 4 else a.T for name, a in arrays.items()}
    return {**arrays, "bn.num_batches_tracked": np.array(5)}


def same(converted, params):
    assert jax.tree.structure(converted) == jax.tree.structure(params)
    for name, leaf in named(converted).items():
        assert leaf.dtype == np.float32
        np.testing.assert_array_equal(leaf, named(params)[name])
    return True


def test_conversion_by_a_scheme_and_by_own_names(checkpoint, params):
    assert same(convert(checkpoint, TOY, TEMPLATE, PATH), params)
    assert same(convert(named(params), TOY, TEMPLATE, PATH), params)
    assert same(convert({**checkpoint, "fc0.bias": checkpoint["fc0.bias"].astype("f8")}, TOY, TEMPLATE, PATH), params)


def test_transposed_arrays_are_not_those_of_the_network(checkpoint, params):
    swapped = {**checkpoint, "fc1.weight": checkpoint["fc1.weight"][::-1]}
    with pytest.raises(AssertionError):
        same(convert(swapped, TOY, TEMPLATE, PATH), params)


def test_reduced_precision_becomes_float32(checkpoint, params):
    halves = {name: array.astype(ml_dtypes.bfloat16) for name, array in checkpoint.items() if array.ndim}
    converted = convert(halves, TOY, TEMPLATE, PATH)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(converted))
    close = jax.tree.map(lambda a, b: np.allclose(a, b, rtol=2**-8), converted, params)
    assert all(jax.tree.leaves(close))


def without(name):
    return lambda arrays: {key: array for key, array in arrays.items() if key != name}


def with_array(name, array):
    return lambda arrays: {**arrays, name: array}


MISFITS = [
    (without("bn.bias"), r"by published: norm/bias is missing, expected shape \(4,\)"),
    (
        with_array("fc2.weight", np.ones((7, 5))),
        "own names: conv.weight is unknown; .*published: fc2.weight is unknown",
    ),
    (
        with_array("fc1.weight", np.ones((9, 5))),
        r"fc1.weight of shape \(9, 5\) gives heads/1/kernel of shape \(5, 9\), expected \(5, 7\)",
    ),
    (
        with_array("conv.weight", np.ones((4, 3, 5, 5))),
        r"conv.weight of shape \(4, 3, 5, 5\) gives stem/kernel of shape \(5, 5, 3, 4\), expected \(3, 3, 3, 4\)",
    ),
    (with_array("conv.weight", np.ones((1, 1, 1))), "conv.weight is unknown; .*by published: 3 is unknown"),
    (with_array("fc0.bias", np.full(5, np.nan)), "heads/0/bias holds values that are not finite"),
    (with_array("fc0.bias", np.full(5, 1e300)), "heads/0/bias holds values that are not finite"),
    (with_array("fc0.bias", np.ones(5, bool)), "^toy.pth: fc0.bias holds truth values, expected numbers$"),
    (with_array("bn.running_var", np.array([1, 0, -0.5, 2])), "norm/var holds -0.5, variances must be >= 0$"),
    (with_array("bn.num_batches_tracked", np.array(5.0)), "published: bn.num_batches_tracked is unknown"),
    (with_array("bn.num_batches_tracked", np.array(True)), "bn.num_batches_tracked holds truth values"),
    (with_array("bn.num_batches_tracked", np.array([5])), "published: bn.num_batches_tracked is unknown"),
    (with_array("num_batches_tracked", np.array(5)), "published: num_batches_tracked is unknown"),
    (lambda arrays: {}, r"by own names: heads/0/bias is missing"),
]


@pytest.mark.parametrize(("change", "message"), MISFITS)
def test_arrays_of_another_network_are_refused(change, message, checkpoint):
    with pytest.raises(ValueError, match=message) as refusal:
        convert(change(checkpoint), TOY, TEMPLATE, PATH)
    assert str(refusal.value).startswith("toy.pth: ")
    assert "\n" not in str(refusal.value)
    if "holds" not in message:
        assert str(refusal.value).endswith("(tried own names, foreign, published)")


def test_unexpected_arrays_are_named_as_in_the_file(checkpoint):
    shallow = {**TEMPLATE, "heads": {0: TEMPLATE["heads"][0]}}
    with pytest.raises(ValueError, match=r"by published: fc1\.weight of shape \(7, 5\) is unexpected"):
        convert(checkpoint, TOY, shallow, PATH)


def test_a_scheme_that_fails_on_a_shape_is_no_crash(checkpoint):
    def reshaped(arrays):
        return {NAMES[name]: array.reshape(4, 3, 3, 3) for name, array in arrays.items()}

    with pytest.raises(ValueError, match="by reshaped: the arrays don't fit"):
        convert(checkpoint, TOY._replace(schemes={"reshaped": reshaped}), TEMPLATE, PATH)


def test_variances_may_be_zero_and_means_negative(checkpoint):
    arrays = {**checkpoint, "bn.running_var": np.zeros(4), "bn.running_mean": np.full(4, -1.0)}
    norm = convert(arrays, TOY, TEMPLATE, PATH)["norm"]
    np.testing.assert_array_equal(norm["var"], 0)
    np.testing.assert_array_equal(norm["mean"], -1)


def test_parts_of_an_array_may_have_different_dtypes(checkpoint, params):
    """A scheme that joins float16 and bfloat16, which have no common dtype."""

    def joined(arrays):
        rest = {name: array for name, array in arrays.items() if not name.startswith("fc1.weight")}
        return {**published(rest), "heads/1/kernel": np.concatenate([arrays["fc1.weight.a"], arrays["fc1.weight.b"]]).T}

    parts = {"a": checkpoint["fc1.weight"][:3].astype("f2"), "b": checkpoint["fc1.weight"][3:].astype(BFLOAT16)}
    with pytest.raises(TypeError):
        np.concatenate(list(parts.values()))
    arrays = without("fc1.weight")(checkpoint) | {f"fc1.weight.{part}": array for part, array in parts.items()}
    converted = convert(arrays, TOY._replace(schemes={"joined": joined}), TEMPLATE, PATH)
    np.testing.assert_allclose(converted["heads"][1]["kernel"], params["heads"][1]["kernel"], rtol=2**-8)


@pytest.mark.parametrize(("write", "suffix"), FORMATS[:2])
def test_tensors_that_share_more_than_the_file_holds_are_refused(write, suffix, tmp_path):
    """Each of them is a copy in float32 later on, so many names of one storage would fill the memory."""
    shared = dictionary(**{f"a{number}": tensor((50, 50), (50, 1), 0, storage("0", 2500)) for number in range(20)})
    content = bytes(10_000)
    path = tmp_path / f"a{suffix}"
    if write is zipped:
        archive(path, shared, {"0": content})
    else:
        legacy(path, shared, {"0": (2500, content)})
    size = path.stat().st_size
    with pytest.raises(ValueError, match=f"^{path}: holds arrays of 200000 bytes in {size}: they overlap$"):
        read_arrays(path)


def test_joined_arrays_are_named_as_the_network_names_them(checkpoint):
    """A scheme that makes one array of two: no single array of the file can be blamed."""

    def joined(arrays):
        halves = [arrays["fc1.weight.a"], arrays["fc1.weight.b"]]
        rest = {name: array for name, array in arrays.items() if not name.startswith("fc1.weight")}
        return {**published(rest), "heads/1/kernel": np.concatenate(halves).T}

    arrays = without("fc1.weight")(checkpoint) | {"fc1.weight.a": np.ones((3, 5)), "fc1.weight.b": np.ones((5, 5))}
    with pytest.raises(ValueError, match=r"by joined: heads/1/kernel gives .* shape \(5, 8\), expected \(5, 7\)"):
        convert(arrays, TOY._replace(schemes={"joined": joined}), TEMPLATE, PATH)


def test_loading_a_file(checkpoint, params, tmp_path):
    path = safetensors(tmp_path / "toy.safetensors", {name: a.copy(order="C") for name, a in checkpoint.items()})
    assert same(load_checkpoint(path, TOY, SHAPE, 7), params)
    with pytest.raises(ValueError, match=r"toy\.safetensors: .*fc1\.bias of shape \(7,\) .* expected \(8,\)"):
        load_checkpoint(path, TOY, SHAPE, 8)
    with pytest.raises(ValueError, match="expected sha256 abcdef"):
        load_checkpoint(path, TOY, SHAPE, 7, "abcdef")


def test_published_resnets_load_by_their_own_names():
    from defenses.classifiers.architectures import ARCHITECTURES

    paths = {"resnet20": WEIGHTS / "resnet20-12fca82f.th", "resnet56": WEIGHTS / "resnet56-4bfd9763.th"}
    if not all(path.exists() for path in paths.values()):
        pytest.skip("needs data/weights/*.th")
    for name, path in paths.items():
        loaded = load_checkpoint(path, ARCHITECTURES[name], (32, 32, 3), 10)
        arrays = read_arrays(path)
        counted = sum(math.prod(array.shape) for array in arrays.values())
        assert sum(leaf.size for leaf in jax.tree.leaves(loaded)) == counted
        np.testing.assert_array_equal(loaded["linear"]["kernel"], arrays["linear.weight"].T)
    with pytest.raises(ValueError, match=r"layer1\.3\.conv1\.weight of shape \(16, 16, 3, 3\) is unexpected"):
        load_checkpoint(paths["resnet56"], ARCHITECTURES["resnet20"], (32, 32, 3), 10)
