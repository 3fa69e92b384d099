"""The names that published checkpoints give to the arrays of our networks."""

import numpy as np
import pytest

from defenses.classifiers.architectures import ARCHITECTURES

CONVOLUTION, DENSE, VECTOR = (5, 3, 2, 1), (5, 3), (5,)
NORM = ("weight", "bias", "running_mean", "running_var")
random = np.random.default_rng(0)

# one row per layer: its names in timm, torchvision (file and memory), Hugging Face (file and memory)
VIT_LAYERS = [
    ("patch_embed.proj", "conv_proj", "conv_proj", *["vit.embeddings.patch_embeddings.projection"] * 2),
    ("norm", "encoder.ln", "encoder.ln", "vit.layernorm", "vit.layernorm"),
    ("head", "heads.head", "heads.head", "classifier", "classifier"),
]
VIT_BLOCK_LAYERS = [
    ("norm1", "ln_1", "ln_1", "layernorm_before", "layernorm_before"),
    ("attn.proj", "self_attention.out_proj", "self_attention.out_proj", "attention.output.dense", "attention.o_proj"),
    ("norm2", "ln_2", "ln_2", "layernorm_after", "layernorm_after"),
    ("mlp.fc1", "mlp.linear_1", "mlp.0", "intermediate.dense", "mlp.fc1"),
    ("mlp.fc2", "mlp.linear_2", "mlp.3", "output.dense", "mlp.fc2"),
]
VIT_BLOCKS = (
    "blocks.{}.",
    *["encoder.layers.encoder_layer_{}."] * 2,
    "vit.encoder.layer.{}.",
    "vit.layers.{}.",
)
VIT_TOKENS = [
    ("cls_token", *["class_token"] * 2, *["vit.embeddings.cls_token"] * 2),
    ("pos_embed", *["encoder.pos_embedding"] * 2, *["vit.embeddings.position_embeddings"] * 2),
]
VIT_QKV = (
    ["attn.qkv.{}"],
    *[["self_attention.in_proj_{}"]] * 2,
    [f"attention.attention.{part}.{{}}" for part in ("query", "key", "value")],
    [f"attention.{part}_proj.{{}}" for part in "qkv"],
)
VIT_SCHEMES = ("timm", "torchvision", "torchvision", "hugging-face", "hugging-face")


def vit_checkpoints():
    """The same arrays under each of the five ways of naming."""
    found = [{} for _ in VIT_SCHEMES]

    def add(names, array):
        for checkpoint, name in zip(found, names, strict=True):
            checkpoint[name] = array

    rows = [*VIT_LAYERS]
    for block in (0, 7, 11):
        prefixes = [prefix.format(block) for prefix in VIT_BLOCKS]
        rows += [[a + b for a, b in zip(prefixes, row, strict=True)] for row in VIT_BLOCK_LAYERS]
        for leaf, shape in (("weight", (6, 2)), ("bias", (6,))):
            array = random.normal(size=shape)
            for checkpoint, prefix, names in zip(found, prefixes, VIT_QKV, strict=True):
                parts = np.split(array, len(names))
                checkpoint |= {prefix + name.format(leaf): part for name, part in zip(names, parts, strict=True)}
    for row in rows:
        shape = CONVOLUTION if row[0].startswith("patch") else VECTOR if "norm" in row[0] else DENSE
        add([f"{name}.weight" for name in row], random.normal(size=shape))
        add([f"{name}.bias" for name in row], random.normal(size=VECTOR))
    for row in VIT_TOKENS:
        add(row, random.normal(size=(1, 4, 5)))
    return found


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("way", range(1, len(VIT_SCHEMES)))
def test_vision_transformers_by_any_name(way):
    schemes, checkpoints = ARCHITECTURES["vit-base-16"].schemes, vit_checkpoints()
    expected = schemes["timm"](checkpoints[0])
    assert len(expected) == 2 * len(VIT_LAYERS) + 3 * 2 * (len(VIT_BLOCK_LAYERS) + 1) + len(VIT_TOKENS)
    assert_same(schemes[VIT_SCHEMES[way]](checkpoints[way]), expected)


def test_vision_transformer_names_and_layouts():
    checkpoint = vit_checkpoints()[0]
    own = ARCHITECTURES["vit-tiny-16"].schemes["timm"](checkpoint)
    assert_same(
        {name: own[name] for name in own if not name.startswith("blocks/layers") or "/7/attn" in name},
        {
            "cls_token": checkpoint["cls_token"],
            "pos_embed": checkpoint["pos_embed"],
            "patch_embed/kernel": checkpoint["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
            "patch_embed/bias": checkpoint["patch_embed.proj.bias"],
            "norm/scale": checkpoint["norm.weight"],
            "norm/bias": checkpoint["norm.bias"],
            "head/kernel": checkpoint["head.weight"].T,
            "head/bias": checkpoint["head.bias"],
            "blocks/layers/7/attn/qkv/kernel": checkpoint["blocks.7.attn.qkv.weight"].T,
            "blocks/layers/7/attn/qkv/bias": checkpoint["blocks.7.attn.qkv.bias"],
            "blocks/layers/7/attn/proj/kernel": checkpoint["blocks.7.attn.proj.weight"].T,
            "blocks/layers/7/attn/proj/bias": checkpoint["blocks.7.attn.proj.bias"],
        },
    )


def residual_checkpoints(*rows):
    """Convolutions and norms under the two names of each row."""
    first, second = {}, {}
    for a, b in rows:
        convolution = "conv" in a or a.endswith("downsample.0")
        for leaf in ("weight",) if convolution else NORM:
            first[f"{a}.{leaf}"] = second[f"{b}.{leaf}"] = random.normal(size=CONVOLUTION if convolution else VECTOR)
    return first, second


def test_imagenet_residual_networks_by_hugging_face_names():
    stages = "resnet.encoder.stages"
    torchvision, hugging_face = residual_checkpoints(
        ("conv1", "resnet.embedder.embedder.convolution"),
        ("bn1", "resnet.embedder.embedder.normalization"),
        ("layer1.0.conv1", f"{stages}.0.layers.0.layer.0.convolution"),
        ("layer1.0.bn3", f"{stages}.0.layers.0.layer.2.normalization"),
        ("layer1.0.downsample.0", f"{stages}.0.layers.0.shortcut.convolution"),
        ("layer4.2.downsample.1", f"{stages}.3.layers.2.shortcut.normalization"),
        ("layer3.5.conv2", f"{stages}.2.layers.5.layer.1.convolution"),
    )
    torchvision["fc.weight"] = hugging_face["classifier.1.weight"] = random.normal(size=DENSE)
    schemes = ARCHITECTURES["resnet50"].schemes
    expected = schemes["torchvision"](torchvision)
    assert_same(schemes["timm"](torchvision), expected)
    assert_same(schemes["hugging-face"](hugging_face), expected)
    kernel = torchvision["layer1.0.downsample.0.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(expected["layer1/layers/0/downsample/layers/0/kernel"], kernel)


def test_wide_residual_networks():
    published, own = residual_checkpoints(
        ("conv1", "conv1"),
        ("block1.layer.0.bn1", "block1.layers.0.bn1"),
        ("block3.layer.3.conv2", "block3.layers.3.conv2"),
        ("block2.layer.0.convShortcut", "block2.layers.0.shortcut"),
    )
    leaves = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
    expected = {}
    for name, array in own.items():
        layer, _, leaf = name.rpartition(".")
        path = layer.replace(".", "/")
        expected |= (
            {f"{path}/{leaves[leaf]}": array} if array.ndim == 1 else {f"{path}/kernel": array.transpose(2, 3, 1, 0)}
        )
    assert_same(ARCHITECTURES["wide-resnet-28-10"].schemes["wide-resnet-pytorch"](published), expected)


def test_the_unused_block_of_trades_is_dropped():
    layers = [f"sub_block1.layer.{number}.{name}" for number in (0, 4) for name in ("conv1", "conv2", "convShortcut")]
    unused = {f"{layer}.weight": random.normal(size=CONVOLUTION) for layer in layers}
    unused |= {f"sub_block1.layer.3.bn{n}.{leaf}": random.normal(size=VECTOR) for n in "12" for leaf in NORM}
    used = {"block1.layer.0.conv1.weight": random.normal(size=CONVOLUTION)}
    rename = ARCHITECTURES["wide-resnet-34-10"].schemes["wide-resnet-pytorch"]
    assert_same(rename({**unused, **used}), rename(used))
    assert rename(used)


def test_residual_networks_for_small_images():
    timm, pytorch_cifar = residual_checkpoints(
        ("conv1", "conv1"),
        ("bn1", "bn1"),
        ("layer1.1.conv2", "layer1.1.conv2"),
        ("layer4.0.bn1", "layer4.0.bn1"),
        ("layer2.0.downsample.0", "layer2.0.shortcut.0"),
        ("layer2.0.downsample.1", "layer2.0.shortcut.1"),
    )
    timm["fc.weight"] = pytorch_cifar["linear.weight"] = random.normal(size=DENSE)
    schemes = ARCHITECTURES["resnet34-cifar"].schemes
    expected = schemes["timm"](timm)
    assert_same(schemes["pytorch-cifar"](pytorch_cifar), expected)
    kernel = pytorch_cifar["layer2.0.shortcut.0.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(expected["layer2/layers/0/downsample/layers/0/kernel"], kernel)


def test_dense_layers_of_vgg_see_channels_last():
    features = random.normal(size=(7, 7, 512))
    kernel, second = random.normal(size=(3, 512, 7, 7)), random.normal(size=(2, 3))
    expected = np.einsum("hwc,ochw->o", features, kernel)
    schemes = ARCHITECTURES["vgg16"].schemes
    torchvision = schemes["torchvision"]({"classifier.0.weight": kernel.reshape(3, -1), "classifier.3.weight": second})
    timm = schemes["timm"]({"pre_logits.fc1.weight": kernel, "pre_logits.fc2.weight": second[..., None, None]})
    assert_same(timm, torchvision)
    np.testing.assert_allclose(features.ravel() @ torchvision["hidden/layers/0/kernel"], expected)
    np.testing.assert_array_equal(torchvision["hidden/layers/2/kernel"], second.T)


def test_a_head_of_torchvisions_transformer_that_a_user_replaced():
    weight = random.normal(size=DENSE)
    rename = ARCHITECTURES["vit-base-16"].schemes["torchvision"]
    assert_same(rename({"heads.weight": weight}), rename({"heads.head.weight": weight}))


def test_heads_of_vgg():
    weight, convolution = random.normal(size=DENSE), random.normal(size=CONVOLUTION)
    schemes = ARCHITECTURES["vgg16-bn"].schemes
    expected = {"head/kernel": weight.T, "features/layers/40/kernel": convolution.transpose(2, 3, 1, 0)}
    features = {"features.40.weight": convolution}
    assert_same(schemes["torchvision"]({"classifier.6.weight": weight, **features}), expected)
    assert_same(schemes["torchvision"]({"classifier.weight": weight, **features}), expected)
    assert_same(schemes["timm"]({"head.fc.weight": weight, **features}), expected)


@pytest.mark.parametrize(
    ("name", "scheme", "unknown"),
    [
        ("resnet20", "pytorch-resnet-cifar10", "layer4.0.conv1.weight"),
        ("resnet20", "pytorch-resnet-cifar10", "xlinear.weight"),
        ("wide-resnet-28-10", "wide-resnet-pytorch", "sub_block2.layer.0.bn1.weight"),
        ("wide-resnet-28-10", "wide-resnet-pytorch", "sub_block1.layer.0.fc.weight"),
        ("wide-resnet-28-10", "wide-resnet-pytorch", "sub_block1.layer.0.conv1"),
        ("wide-resnet-28-10", "wide-resnet-pytorch", "module.sub_block1.layer.0.conv1.weight"),
        ("resnet18-cifar", "timm", "layer1.0.shortcut.0.weight"),
        ("resnet18-cifar", "pytorch-cifar", "layer1.0.downsample.0.weight"),
        ("vgg16", "torchvision", "classifier.1.weight"),
        ("resnet50", "torchvision", "layer1.0.conv4.weight"),
        ("vit-base-16", "timm", "head_dist.weight"),
        ("vit-base-16", "hugging-face", "deit.embeddings.distillation_token"),
        ("vit-base-16", "hugging-face", "vit.encoder.layer.0.attention.attention.key.weight"),
    ],
)
def test_unknown_names(name, scheme, unknown):
    with pytest.raises(KeyError, match=unknown):
        ARCHITECTURES[name].schemes[scheme]({unknown: random.normal(size=DENSE)})


TORCHVISION_MLP, MLP = "encoder.layers.encoder_layer_3.mlp", "blocks/layers/3/mlp/fc1"


@pytest.mark.parametrize(
    ("name", "scheme", "one", "other", "own"),
    [
        ("vgg16", "torchvision", "classifier.weight", "classifier.6.weight", "head/kernel"),
        ("vit-base-16", "torchvision", "heads.bias", "heads.head.bias", "head/bias"),
        ("vit-base-16", "torchvision", f"{TORCHVISION_MLP}.linear_1.bias", f"{TORCHVISION_MLP}.0.bias", f"{MLP}/bias"),
        ("vit-base-16", "hugging-face", "vit.encoder.layer.3.mlp.fc1.bias", "vit.layers.3.mlp.fc1.bias", f"{MLP}/bias"),
    ],
)
def test_two_names_of_one_array_are_refused(name, scheme, one, other, own):
    rename = ARCHITECTURES[name].schemes[scheme]
    array = random.normal(size=DENSE if own.endswith("kernel") else VECTOR)
    assert list(rename({one: array})) == list(rename({other: array})) == [own]
    with pytest.raises(ValueError, match=f"^{one} and {other} are two names of {own}$"):
        rename({one: array, other: array})


@pytest.mark.parametrize("parts", [("query", "key", "value"), ("q_proj", "k_proj", "v_proj")])
@pytest.mark.parametrize("fused_first", [True, False])
def test_an_attention_that_is_there_whole_and_in_parts_is_refused(parts, fused_first):
    layer = "vit.layers.3.attention"
    whole = {f"{layer}.qkv.bias": random.normal(size=15)}
    split = {f"{layer}.{part}.bias": random.normal(size=5) for part in parts}
    arrays = {**whole, **split} if fused_first else {**split, **whole}
    with pytest.raises(ValueError, match=rf"{layer}.qkv.bias and {layer}.{parts[0]}.bias are two names of {layer}.qkv"):
        ARCHITECTURES["vit-base-16"].schemes["hugging-face"](arrays)


def test_an_attention_under_both_names_of_its_parts_is_refused():
    names = ("query", "key", "value", "q_proj", "k_proj", "v_proj")
    arrays = {f"vit.layers.3.attention.{name}.bias": random.normal(size=5) for name in names}
    with pytest.raises(ValueError, match=r"attention.query.bias and .*attention.q_proj.bias are two names of "):
        ARCHITECTURES["vit-base-16"].schemes["hugging-face"](arrays)
