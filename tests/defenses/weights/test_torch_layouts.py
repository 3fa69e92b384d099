"""Checkpoints as the libraries of others write them: the file is made by the library, and the scores are PyTorch's."""
# pyright: reportMissingImports=false, reportMissingModuleSource=false
# torch is an extra, the other libraries are tried where they are installed

import argparse
import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from defenses import zoo
from defenses.classifiers import wide_resnet
from defenses.classifiers.architecture import Architecture
from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.schemes import WIDE_RESNET
from defenses.command_line import main
from defenses.data.dataset import Dataset, Split
from defenses.data.normalization import NORMALIZATIONS, Normalization
from defenses.files.folders import Folders
from defenses.weights import pretrained

torch = pytest.importorskip("torch", reason="needs the extra [torch]")
from torch import nn  # noqa: E402

from tests.defenses.classifiers import torch_references as references  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' own
TOLERANCE, NOTICED = 1e-4, 1e-2
IMAGES = np.random.default_rng(0).uniform(size=(4, 32, 32, 3)).astype(np.float32)
NAMES = tuple("0123456789")
OPTIONS = argparse.Namespace(
    model="resnet18", lr=0.1, milestones=[100, 150], device=torch.device("cpu"), opt="sgd", clip_grad=None
)


def library(name) -> Any:
    """A library that is there and can be imported: one for CUDA may fail in ways of its own beside PyTorch for CPUs."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # what fails is not ours
        pytest.skip(f"needs {name} ({error!r:.80})")


@pytest.fixture(autouse=True)
def _images(monkeypatch):
    """The images in the place of CIFAR-10, whose files are not asked for."""
    split = Split(IMAGES, np.zeros(len(IMAGES), np.int32))
    data = Dataset("cifar10", (32, 32, 3), NAMES, None, split)
    monkeypatch.setattr(pretrained, "load", lambda name, folder, resize: data)


@pytest.fixture(scope="module")
def twin():
    return references.twin("resnet20", (32, 32, 3), 10, seed=0)


@pytest.fixture(scope="module")
def other():
    return references.twin("resnet20", (32, 32, 3), 10, seed=1)


def ours(path, name="resnet20", key=None):
    classifier = zoo.classifier(name, "cifar10", 0, Folders(), path, key)
    return np.asarray(jax.jit(classifier.logits)(classifier.params, IMAGES))


def theirs(module, normalization=NORMALIZATIONS["cifar10"]):
    """What PyTorch says about the images, normalised."""
    mean, std = np.asarray(normalization, np.float32)
    return references.scores(module.eval(), (IMAGES - mean) / std)


def error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def assert_ours_are(path, expected, *arguments):
    assert error(ours(path, *arguments), expected) <= TOLERANCE


# wrappers


class Lightning(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "torch.compile": torch.compile,
    "DataParallel": nn.DataParallel,
    "Lightning": Lightning,
    "torch.compile in DataParallel": lambda module: nn.DataParallel(torch.compile(module)),
    "DataParallel in torch.compile": lambda module: torch.compile(nn.DataParallel(module)),
    "all in one another": lambda module: torch.compile(nn.DataParallel(Lightning(torch.compile(module)))),
}


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrapped_networks(wrapper, kind, twin, tmp_path):
    state = WRAPPERS[wrapper](twin).state_dict()
    assert not set(state) & set(twin.state_dict())
    if kind == "safetensors":
        from safetensors.torch import save_file

        save_file(state, path := tmp_path / "a.safetensors")
    else:
        torch.save(state, path := tmp_path / "a.pth", _use_new_zipfile_serialization=kind == "zip")
    assert_ours_are(path, theirs(twin))


def test_a_lightning_run(twin, tmp_path):
    lightning = library("pytorch_lightning")

    class Module(lightning.LightningModule):
        def __init__(self, lr, folder):
            super().__init__()
            self.save_hyperparameters()
            self.model = twin

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), self.hparams["lr"])
            return [optimizer], [torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 3, 5])]

    rows = torch.utils.data.TensorDataset(torch.rand(4, 3, 32, 32), torch.zeros(4, dtype=torch.long))
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path
    )
    trainer.fit(Module(0.0, tmp_path), torch.utils.data.DataLoader(rows, 2))
    trainer.save_checkpoint(path := tmp_path / "run.ckpt")
    assert_ours_are(path, theirs(twin))


# training runs


def averaged_of(module, other):
    """PyTorch's average of the two networks, as torchvision's training keeps it."""
    average = torch.optim.swa_utils.AveragedModel(module, use_buffers=True)
    average.update_parameters(module)
    average.update_parameters(other)
    return average


def optimizer_of(module):
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    torch.stack([parameter.sum() for parameter in module.parameters()]).sum().backward()
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("zipped", [True, False])
def test_a_run_of_torchvision(zipped, other, tmp_path, capsys):
    module = references.twin("resnet20", (32, 32, 3), 10, seed=0)
    optimizer = optimizer_of(module)
    average = averaged_of(module, other)
    run = {
        "model": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": torch.optim.lr_scheduler.MultiStepLR(optimizer, [100, 150, 150]).state_dict(),
        "epoch": 3,
        "args": OPTIONS,
        "model_ema": average.state_dict(),
    }
    assert "n_averaged" in run["model_ema"]
    torch.save(run, path := tmp_path / "checkpoint.pth", _use_new_zipfile_serialization=zipped)
    assert_ours_are(path, theirs(module))
    assert (
        "weights: model of checkpoint.pth; --weights-key chooses one of model_ema instead\n" in capsys.readouterr().err
    )
    assert_ours_are(path, theirs(average.module), "resnet20", "model_ema")
    assert error(theirs(average.module), theirs(module)) > NOTICED


def test_the_names_and_scalars_of_a_run_of_timm(twin, other, tmp_path):
    run = {
        "epoch": 299,
        "arch": "resnet20",
        "state_dict": nn.DataParallel(twin).state_dict(),
        "optimizer": optimizer_of(references.twin("resnet20", (32, 32, 3), 10, seed=0)).state_dict(),
        "version": 2,
        "args": OPTIONS,
        "amp_scaler": {"scale": 65536.0, "growth_tracker": 0},
        "state_dict_ema": other.state_dict(),
        "metric": np.float64(91.25),
        "numbers": [np.float32(1), np.int64(2), np.bool_(True), np.float16(0.5)],
    }
    torch.save(run, path := tmp_path / "model_best.pth.tar")
    assert_ours_are(path, theirs(twin))
    assert_ours_are(path, theirs(other), "resnet20", "state_dict_ema")
    torch.save({name: run[name] for name in ("arch", "state_dict_ema", "args", "metric")}, path)
    assert_ours_are(path, theirs(other))


def test_a_run_that_timm_saves(tmp_path):
    timm, saver = library("timm"), library("timm.utils.checkpoint_saver")
    torch.manual_seed(0)
    module = small_stem(timm.create_model("resnet18", num_classes=10))
    averaged = library("timm.utils.model_ema").ModelEmaV3(module, decay=0.5)
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            references.randomize(key, tensor)
    averaged.update(module)
    optimizer = optimizer_of(module)
    keeper = saver.CheckpointSaver(
        module, optimizer, args=OPTIONS, model_ema=averaged, checkpoint_dir=tmp_path, recovery_dir=tmp_path
    )
    keeper.save_checkpoint(0, metric=np.float64(91.2))
    path = tmp_path / "last.pth.tar"
    assert_ours_are(path, theirs(module), "resnet18-cifar")
    assert_ours_are(path, theirs(averaged.module), "resnet18-cifar", "state_dict_ema")
    assert error(theirs(averaged.module), theirs(module)) > NOTICED


# networks


def small_stem(resnet):
    """A residual network of timm or torchvision for small images, as they are made."""
    resnet.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    resnet.maxpool = nn.Identity()
    return resnet


class NamedShortcut(nn.Module):
    """A basic block by the names of kuangliu/pytorch-cifar."""

    def __init__(self, width_in, width_out, stride):
        super().__init__()
        self.conv1, self.bn1 = references.conv3(width_in, width_out, stride=stride), nn.BatchNorm2d(width_out)
        self.conv2, self.bn2 = references.conv3(width_out, width_out), nn.BatchNorm2d(width_out)
        self.shortcut = references.downsample(width_in, width_out, stride) or nn.Sequential()

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


def pytorch_cifar(blocks):
    module = references.ResNet(NamedShortcut, blocks, 1, 3, 10, small=True)
    module.linear = module.fc
    module.forward = partial(_pytorch_cifar, module)
    del module.fc
    return module


def _pytorch_cifar(module, x):
    x = torch.relu(module.bn1(module.conv1(x)))
    return module.linear(module.layer4(module.layer3(module.layer2(module.layer1(x)))).mean((2, 3)))


SMALL_STEMS = {
    ("timm", "resnet18-cifar"): lambda: small_stem(library("timm").create_model("resnet18", num_classes=10)),
    ("timm", "resnet34-cifar"): lambda: small_stem(library("timm").create_model("resnet34", num_classes=10)),
    ("torchvision", "resnet18-cifar"): lambda: small_stem(library("torchvision.models").resnet18(num_classes=10)),
    ("pytorch-cifar", "resnet18-cifar"): lambda: pytorch_cifar((2, 2, 2, 2)),
    ("pytorch-cifar", "resnet34-cifar"): lambda: pytorch_cifar((3, 4, 6, 3)),
}


@pytest.mark.parametrize(("origin", "name"), SMALL_STEMS)
def test_residual_networks_for_small_images(origin, name, tmp_path):
    torch.manual_seed(0)
    module = SMALL_STEMS[origin, name]()
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            references.randomize(key, tensor)
    torch.save({"net": nn.DataParallel(module).state_dict(), "acc": 95.4, "epoch": 199}, path := tmp_path / "ckpt.pth")
    assert_ours_are(path, theirs(module), name)


def test_the_unused_block_of_trades(tmp_path, monkeypatch):
    class Trades(references.WideResNet):
        def __init__(self):
            super().__init__(10, 1, 3, 10)
            self.sub_block1 = references.WideStage(1, 16, 16, 1)

    small = Architecture(partial(wide_resnet.Network, 10, 1), WIDE_RESNET, smooth=False)
    monkeypatch.setitem(ARCHITECTURES, "wide-resnet-34-10", small)
    torch.manual_seed(0)
    module = Trades()
    assert any(name.startswith("sub_block1.") for name in module.state_dict())
    torch.save(nn.DataParallel(module).state_dict(), path := tmp_path / "model_cifar_wrn.pt")
    assert_ours_are(path, theirs(module), "wide-resnet-34-10")


class RobustBench(nn.Module):
    """A network behind the buffers that RobustBench's models have."""

    def __init__(self, model, mean, std):
        super().__init__()
        self.register_buffer("mu", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("sigma", torch.tensor(std).view(1, 3, 1, 1))
        self.model = model

    def forward(self, x):
        return self.model((x - self.mu) / self.sigma)


class Layer(nn.Module):
    def __init__(self, mean, std):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def forward(self, x):
        return (x - self.mean) / self.std


class Normalized(nn.Module):
    def __init__(self, model, mean, std):
        super().__init__()
        self.normalize, self.model = Layer(mean, std), model

    def forward(self, x):
        return self.model(self.normalize(x))


@pytest.mark.parametrize("wrapper", [RobustBench, Normalized])
@pytest.mark.parametrize("parallel", [True, False])
def test_a_normalisation_of_the_network(parallel, wrapper, twin, tmp_path):
    mean, std = (0.3, 0.5, 0.6), (0.1, 0.2, 0.4)
    module = wrapper(twin, mean, std)
    torch.save((nn.DataParallel(module) if parallel else module).state_dict(), path := tmp_path / "a.pt")
    assert_ours_are(path, references.scores(module.eval(), IMAGES))
    assert_ours_are(path, theirs(twin, Normalization(mean, std)))
    assert error(theirs(twin), theirs(twin, Normalization(mean, std))) > NOTICED


def test_a_transformer_of_torchvision_with_a_head_of_its_users(tmp_path):
    vision = library("torchvision.models.vision_transformer")
    torch.manual_seed(0)
    module = vision.VisionTransformer(32, 16, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768)
    module.heads = nn.Linear(192, 10)
    assert "heads.weight" in module.state_dict()
    torch.save(module.state_dict(), path := tmp_path / "vit.pth")
    assert_ours_are(path, theirs(module), "vit-tiny-16")


# several files, and what is no network


def test_a_network_in_shards(twin, tmp_path):
    hub = library("huggingface_hub")
    hub.save_torch_state_dict(twin.state_dict(), tmp_path, max_shard_size=300_000)
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert_ours_are(tmp_path / "model.safetensors.index.json", theirs(twin))
    shard = sorted(tmp_path.glob("*.safetensors"))[1]
    with pytest.raises(
        ValueError, match=r"is one of \d shards of a network: give their index, model\.safetensors\.ind"
    ):
        ours(shard)


def test_an_adapter(tmp_path, capsys):
    peft = library("peft")
    adapted = peft.get_peft_model(
        references.twin("vit-tiny-16", (32, 32, 3), 10, seed=0), peft.LoraConfig(target_modules=["qkv"])
    )
    adapted.save_pretrained(tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    out = ["--out", str(tmp_path / "out")]
    assert main(["evaluate", "vit-tiny-16", "--dataset", "cifar10", "--weights", str(path), *out]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {path}: holds a LoRA adapter (")
    assert (printed.out, printed.err.count("\n")) == ("", 1)


# negative controls


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {f"network.{name}": tensor for name, tensor in state.items()},
        lambda state: {f"model.{name}" if "conv" in name else name: tensor for name, tensor in state.items()},
        lambda state: state | {"sub_block1.layer.0.bn1.weight": torch.ones(16)},
        lambda state: state | {"mu": torch.ones(3)},
    ],
)
def test_other_names_are_refused(change, twin, tmp_path):
    torch.save(change(twin.state_dict()), path := tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth: its arrays are not those of the network"):
        ours(path)


def test_other_weights_are_noticed(twin, other, tmp_path):
    torch.save(other.state_dict(), path := tmp_path / "a.pth")
    assert error(ours(path), theirs(twin)) > NOTICED
