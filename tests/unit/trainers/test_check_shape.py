"""What a person is told who asks an architecture for what it is not. (The contract suite asks all.)"""

from __future__ import annotations

import pytest

from trainers.errors import SettingsError
from trainers.networks import Shape
from trainers.networks.check import check_shape


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (
            "stylegan9",
            Shape(64, 100, 64),
            "--arch stylegan9: there is no such architecture. Use one of dcgan, ",
        ),
        (
            "dcgan",
            Shape(64, 100, 64, blocks=2),
            "--set blocks=2: dcgan has no such option. Leave it out; "
            "dcgan takes attention, multi_scale, upsampling.",
        ),
        (
            "mlp",
            Shape(64, 100, 64, attention=True, d_norm="none"),
            "--set attention=true: mlp has no such option. Leave it out; mlp takes none of this kind.",
        ),
        (
            "mlp",
            Shape(512, 100, 64, d_norm="none"),
            "--size 512: mlp cannot be built so. Use --size 28 or --size 32 or --size 64.",
        ),
        (
            "resgan",
            Shape(64, 100, 64, d_norm="batch"),
            "--set d_norm=batch: resgan cannot be built so. "
            "Use --set d_norm=none or --set d_norm=spectral.",
        ),
        (
            "resgan",
            Shape(64, 100, 64, d_norm="none", blocks=3),
            "--set blocks=3: resgan cannot be built so. Use --set blocks=1 or --set blocks=2.",
        ),
        (
            "dcgan",
            Shape(64, 100, 64, upsampling="cubic"),
            "--upsampling cubic: dcgan cannot be built so. Use --upsampling transposed or --upsampling resize.",
        ),
    ],
)
def test_a_refusal_names_the_option_the_value_and_the_remedy(
    name: str, shape: Shape, message: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        check_shape(name, shape)
    assert str(refused.value).startswith(message)
    assert refused.value.exit_code == 2
