"""Networks: sizes, layers, initial weights, cost, and that each can be trained."""

import csv
import math
import runpy
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from torch import nn

from lossbench.config.options import Init, ModelConfig
from lossbench.models.build import (
    Shape,
    build_model,
    count_parameters,
    describe,
    flops_per_image,
)
from lossbench.models.cnn2c import Cnn2c, Head
from lossbench.models.cnn5c import Cnn5c, Padding
from lossbench.models.features import num_features, output_layer
from lossbench.models.mobilenetv2 import MobileNetV2
from lossbench.models.resnet18 import ResNet18

GRAY, COLOUR = (1, 28, 28), (3, 32, 32)
NETWORKS: list[ModelConfig] = [Cnn2c(), Cnn5c(), MobileNetV2(), ResNet18()]
SIZES = [
    (Cnn2c(), GRAY, 431_080),
    (Cnn2c(head=Head.direct), GRAY, 33_580),
    *((Cnn5c(padding=padding), GRAY, 1_573_834) for padding in Padding),
    (ResNet18(), COLOUR, 11_173_962),
    (MobileNetV2(), COLOUR, 2_296_922),
]


def name(config: ModelConfig) -> str:
    return config.name


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters())


@pytest.mark.parametrize(("config", "shape", "expected"), SIZES, ids=lambda value: getattr(value, "name", None))
def test_number_of_parameters_for_ten_classes(config: ModelConfig, shape: Shape, expected: int) -> None:
    assert count_parameters(build_model(config, shape, 10, seed=0)) == expected


@pytest.mark.parametrize("padding", Padding)
def test_cnn5c_ends_in_512_features(padding: Padding) -> None:
    model = build_model(Cnn5c(padding=padding), GRAY, 10, seed=0)
    assert isinstance(model, nn.Sequential)
    assert model[:-1](torch.zeros(2, *GRAY)).shape == (2, 512)
    assert output_layer(model).in_features == 512


def test_cnn5c_paddings_differ_in_the_maps_they_name() -> None:
    def sizes(padding: Padding) -> list[int]:
        layers = build_model(Cnn5c(padding=padding), GRAY, 10, seed=0)
        found, maps = [], torch.zeros(2, *GRAY)
        for layer in layers:
            maps = layer(maps)
            if isinstance(layer, nn.Conv2d):
                found.append(maps.shape[-1])
        return found

    assert {padding.value: sizes(padding) for padding in Padding} == {
        "first": [28, 26, 24, 10, 8],
        "second": [26, 26, 24, 10, 8],
        "third": [26, 24, 24, 10, 8],
        "valid_k7": [26, 24, 22, 9, 7],
        "same_adaptive": [28, 28, 28, 14, 14],
    }
    for size in (28, 9):  # odd sides too
        whole = build_model(Cnn5c(padding=Padding.same_adaptive), (1, size, size), 10, seed=0)
        assert isinstance(whole, nn.Sequential)
        maps = whole[:13](torch.randn(2, 1, size, size))
        assert torch.equal(whole[13](maps), nn.AdaptiveMaxPool2d(1)(maps))


def test_cnn5c_normalises_after_convolutions_one_two_and_four() -> None:
    layers = list(build_model(Cnn5c(), GRAY, 10, seed=0).children())
    after = [type(layers[place + 1]) for place, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    assert after == [nn.BatchNorm2d, nn.BatchNorm2d, nn.MaxPool2d, nn.BatchNorm2d, nn.MaxPool2d]
    assert sum(isinstance(layer, nn.ReLU) for layer in layers) == 5


@pytest.mark.parametrize("config", NETWORKS, ids=name)
@pytest.mark.parametrize("shape", [GRAY, COLOUR], ids=str)
@pytest.mark.parametrize("num_classes", [2, 100])
def test_any_image_shape_and_number_of_classes(config: ModelConfig, shape: Shape, num_classes: int) -> None:
    model = build_model(config, shape, num_classes, seed=0).to("meta")
    assert model(torch.empty(3, *shape, device="meta")).shape == (3, num_classes)
    assert output_layer(model).out_features == num_classes


def test_num_features_of_layers() -> None:
    assert num_features(nn.Sequential(nn.Conv2d(3, 7, 5), nn.MaxPool2d(2)), (3, 12, 20)) == 7 * 4 * 8


def test_cifar_stems_keep_the_resolution() -> None:
    maps: dict[str, torch.Size] = {}
    for config, last in ((ResNet18(), "layer4"), (MobileNetV2(), "features")):
        model = build_model(config, COLOUR, 10, seed=0).to("meta")
        first = next(layer for layer in model.modules() if isinstance(layer, nn.Conv2d))
        first.register_forward_hook(lambda layer, x, y: maps.update(first=y.shape))
        model.get_submodule(last).register_forward_hook(lambda layer, x, y: maps.update(last=y.shape))
        model(torch.empty(1, *COLOUR, device="meta"))
        assert maps["first"][-2:] == (32, 32)
        assert maps["last"][-2:] == (4, 4)


@pytest.mark.parametrize("config", NETWORKS, ids=name)
def test_initial_weights_are_a_function_of_the_seed(config: ModelConfig) -> None:
    before = torch.get_rng_state()
    first, again, other = (weights(build_model(config, COLOUR, 10, seed)) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)  # the global generator has no say
    later = weights(build_model(config, COLOUR, 10, 5))
    assert all(torch.equal(first[key], again[key]) and torch.equal(first[key], later[key]) for key in first)
    drawn = [key for key in first if first[key].ndim > 1]
    assert not any(torch.equal(first[key], other[key]) for key in drawn)


def test_default_weights_are_those_of_torch_layers() -> None:
    model = build_model(Cnn2c(head=Head.direct), GRAY, 10, seed=3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        twin = nn.ModuleList([nn.Conv2d(1, 20, 5), nn.Conv2d(20, 50, 5), nn.Linear(800, 10)])
    pairs = list(zip(model.parameters(), twin.parameters(), strict=True))
    assert len(pairs) == 6
    assert all(torch.equal(own, expected) for own, expected in pairs)


@pytest.mark.parametrize("config", [MobileNetV2(), ResNet18()], ids=name)
def test_torchvision_networks_start_as_torch_layers_do(config: ModelConfig) -> None:
    model = build_model(config, COLOUR, 10, seed=0)
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            bound = 1 / math.sqrt(layer.weight[0].numel())  # of kaiming_uniform(a=sqrt(5)): U(-bound, bound)
            assert layer.weight.abs().max() <= bound
            if layer.weight.numel() > 4000:
                assert layer.weight.abs().max() > 0.99 * bound
                assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
            if layer.bias is not None:
                assert 0 < layer.bias.abs().max() <= bound
        elif isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all()
            assert (layer.bias == 0).all()


def test_he_fan_out_is_torchvisions_resnet_initialisation() -> None:
    model = build_model(ResNet18(init=Init.he_fan_out), COLOUR, 10, seed=0)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            expected = math.sqrt(2 / (layer.out_channels * layer.kernel_size[0] ** 2))
            assert layer.weight.std().item() == pytest.approx(expected, rel=0.05)
    assert output_layer(model).weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert (output_layer(model).bias == 0).all()
    assert (build_model(Cnn2c(init=Init.he_fan_out), GRAY, 10, seed=0)[0].bias == 0).all()


def test_flops_of_cnn2c_by_hand() -> None:
    first, second = 2 * 24 * 24 * 20 * 5 * 5, 2 * 8 * 8 * 50 * 20 * 5 * 5
    forward = first + second + 2 * 800 * 500 + 2 * 500 * 10
    assert flops_per_image(Cnn2c(), GRAY, 10) == (forward, 3 * forward - first)  # no gradient of the images


def test_flops_of_the_cifar_networks() -> None:
    forward, training = flops_per_image(ResNet18(), COLOUR, 10)
    assert forward == pytest.approx(1.11e9, rel=0.005)
    assert training == 3 * forward - 2 * 32 * 32 * 64 * 3 * 9
    # A depthwise convolution has one input channel a filter.
    assert flops_per_image(MobileNetV2(), COLOUR, 10)[0] == pytest.approx(0.182e9, rel=0.005)


@pytest.mark.parametrize("config", NETWORKS, ids=name)
def test_a_step_in_bf16_is_finite(config: ModelConfig) -> None:
    shape = GRAY if config.name.startswith("cnn") else (3, 16, 16)
    model = build_model(config, shape, 10, seed=0)
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(images)
    assert logits.dtype == torch.bfloat16
    assert logits.isfinite().all()
    assert logits.std() > 0
    nn.functional.cross_entropy(logits.float(), torch.tensor([1, 2])).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert all(gradient.dtype == torch.float32 for gradient in gradients)


def paper_text(config: ModelConfig) -> str:
    """A network as Table 2 prints it, which leaves out ReLU."""
    return "-".join(layer.text for layer in describe(config, GRAY, 10) if layer.text != "ReLU")


def test_descriptions_read_as_table_2() -> None:
    assert paper_text(Cnn2c(head=Head.direct)) == "CV(C20K5S1)-MP(K2S2)-CV(C50K5S1)-MP(K2S2)-800-10"
    assert paper_text(Cnn2c()) == "CV(C20K5S1)-MP(K2S2)-CV(C50K5S1)-MP(K2S2)-800-500-10"
    convolutions = "CV(C32K3S1)-BN-CV(C64K3S1)-BN-CV(C128K3S1)-MP(K2S2)-CV(C256K3S1)-BN-CV(C512K3S1)"
    printed = f"{convolutions}-MP(K8S1)-512-10"  # of which one has to be padded
    assert paper_text(Cnn5c()) == printed.replace("C32K3S1", "C32K3S1P1")
    assert paper_text(Cnn5c(padding=Padding.valid_k7)) == printed.replace("K8", "K7")
    assert "MP(global)-512-10" in paper_text(Cnn5c(padding=Padding.same_adaptive))


@pytest.mark.parametrize(("config", "shape", "expected"), SIZES, ids=lambda value: getattr(value, "name", None))
def test_rows_of_a_description_have_all_parameters(config: ModelConfig, shape: Shape, expected: int) -> None:
    rows = describe(config, shape, 10)
    assert sum(row.num_parameters for row in rows) == expected
    assert (rows[-1].text, rows[-1].shape) == ("10", (10,))


def test_shapes_and_parameters_of_cnn2c_by_hand() -> None:
    assert [tuple(row) for row in describe(Cnn2c(head=Head.direct), GRAY, 10)] == [
        ("CV(C20K5S1)", (20, 24, 24), 20 * 26),
        ("MP(K2S2)", (20, 12, 12), 0),
        ("ReLU", (20, 12, 12), 0),
        ("CV(C50K5S1)", (50, 8, 8), 50 * (20 * 25 + 1)),
        ("MP(K2S2)", (50, 4, 4), 0),
        ("ReLU", (50, 4, 4), 0),
        ("800", (800,), 0),
        ("10", (10,), 8010),
    ]


def test_the_cifar_networks_are_described_by_their_blocks() -> None:
    blocks = [row for row in describe(ResNet18(), COLOUR, 10) if row.text == "BasicBlock"]
    assert [row.shape for row in blocks[::2]] == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    assert len(blocks) == 8
    blocks = [row for row in describe(MobileNetV2(), COLOUR, 10) if row.text == "InvertedResidual"]
    assert [row.shape[0] for row in blocks] == [16] + [24] * 2 + [32] * 3 + [64] * 4 + [96] * 3 + [160] * 3 + [320]
    rest = [row.text for row in describe(MobileNetV2(), COLOUR, 10) if row not in blocks]
    assert rest == ["CV(C32K3S1P1)", "BN", "ReLU", "CV(C1280K1S1)", "BN", "ReLU", "10"]
    rest = [row.text for row in describe(ResNet18(), COLOUR, 10) if row.text != "BasicBlock"]
    assert rest == ["CV(C64K3S1P1)", "BN", "ReLU", "AP(global)", "10"]


def test_table_2_of_the_report_is_that_of_the_networks() -> None:
    rows = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "write_networks.py"))["rows"]()
    lines = csv.reader(files("lossbench.studies.aaai20.paper").joinpath("networks.csv").read_text().splitlines()[1:])
    assert list(lines) == rows
