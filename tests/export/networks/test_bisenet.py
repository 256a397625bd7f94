"""BiSeNet: the official checkpoint's layout, and the whole network against its definition in float64."""

import numpy as np
import pytest
import torch

from trtswap.export.networks.bisenet import BiSeNet


def test_layout_is_the_official_checkpoints(layout):
    with torch.device("meta"):
        network = BiSeNet()
    assert {key: tuple(t.shape) for key, t in network.state_dict().items()} == layout("bisenet")
    assert sum(p.numel() for p in network.parameters()) == 13_300_416


@pytest.mark.parametrize("head", [0, 1, 2])
def test_network_is_its_definition(randomised, agree, head):
    network = randomised(BiSeNet(7, width=0.125))
    faces = torch.randn(5, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    if head > 0:
        network.forward = lambda x: network.heads(x)[head]
    agree(network, lambda net, x: definition(net, x)[head], faces)


def test_inference_does_not_run_the_auxiliary_heads(randomised):
    network = randomised(BiSeNet(3, width=0.125))
    network.conv_out16 = network.conv_out32 = torch.nn.Identity()
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 64, 64)


def definition(net, x):
    """Scores of the three heads, layer by layer."""

    def conv_bn(conv, bn, x, **options):
        return net.batch_norm(bn, net.conv(conv, x, **options))

    def conv_bn_relu(name, x, pad):
        return net.relu(conv_bn(f"{name}.conv", f"{name}.bn", x, pad=pad))

    def basic_block(name, x, stride):
        y = net.relu(conv_bn(f"{name}.conv1", f"{name}.bn1", x, stride=stride, pad=1))
        y = conv_bn(f"{name}.conv2", f"{name}.bn2", y, pad=1)
        if stride == 2:
            x = conv_bn(f"{name}.downsample.0", f"{name}.downsample.1", x, stride=2)
        return net.relu(x + y)

    def refined(name, x):
        x = conv_bn_relu(f"{name}.conv", x, pad=1)
        gate = conv_bn(f"{name}.conv_atten", f"{name}.bn_atten", x.mean((2, 3), keepdims=True))
        return x * net.sigmoid(gate)

    def head(name, x, factor):
        scores = net.conv(f"{name}.conv_out", conv_bn_relu(f"{name}.conv", x, pad=1))
        return net.resize(scores, factor, align_corners=True)

    def twice(x):
        return x.repeat(2, axis=2).repeat(2, axis=3)

    x = net.relu(conv_bn("cp.resnet.conv1", "cp.resnet.bn1", x, stride=2, pad=3))
    x = net.max_pool(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf), 3, 2)
    features = []
    for layer in range(1, 5):
        x = basic_block(f"cp.resnet.layer{layer}.0", x, stride=1 if layer == 1 else 2)
        x = basic_block(f"cp.resnet.layer{layer}.1", x, stride=1)
        features.append(x)
    _, at8, at16, at32 = features
    whole = conv_bn_relu("cp.conv_avg", at32.mean((2, 3), keepdims=True), pad=0)
    context16 = conv_bn_relu("cp.conv_head32", twice(refined("cp.arm32", at32) + whole), pad=1)
    context8 = conv_bn_relu("cp.conv_head16", twice(refined("cp.arm16", at16) + context16), pad=1)
    fused = conv_bn_relu("ffm.convblk", np.concatenate([at8, context8], 1), pad=0)
    gate = net.conv("ffm.conv2", net.relu(net.conv("ffm.conv1", fused.mean((2, 3), keepdims=True))))
    fused = fused * net.sigmoid(gate) + fused
    return head("conv_out", fused, 8), head("conv_out16", context8, 8), head("conv_out32", context16, 16)
