"""Writes docs/paper_to_code.md: every equation beside the line that computes it.

python docs/paper_to_code.py

A line is given by its text, which must be in its file once; so the links follow the code, and what has gone is noticed.
"""

import pathlib

from keras_frnn.files import atomic_path

ROOT = pathlib.Path(__file__).parent.parent
PAGE = ROOT / "docs" / "paper_to_code.md"

GRU, LAYER = "layers/conv_gru_cell.py", "layers/folded_conv_gru.py"
CONV, POOL, NETWORK = "layers/folded_conv2d.py", "layers/folded_max_pooling2d.py", "models/folded_rnn.py"
BRIDGE, LADDER = "layers/bridge_ladder.py", "models/ladder_rnn.py"

# By section: what it says, and rows of (equation, meaning, file, text of the line).
SECTIONS = {
    "The gated update": (
        "State `h`, inputs `x`, `s` the logistic function, `conv([x, h], W)` a convolution of joined channels. It "
        "is a sum of two convolutions: that of `x` is taken for all steps beforehand, as `x_rz` and `x_c`. "
        "The paper writes `z` where the authors' implementation, and this one, has `1 - z`: here `z` weighs the "
        "candidate.",
        [
            (
                "`conv(x, W) + b`",
                "the inputs' part of all gates",
                GRU,
                "x = backend.upsampled_conv(x, kernel, upsampling) + bias",
            ),
            ("`r, z = s(conv([x, h], W) + b)`", "reset and update gate", GRU, "rz = ops.sigmoid(x_rz + "),
            ("`c = tanh(conv([x, r * h], W_c) + b_c)`", "candidate", GRU, "c = backend.tanh(x_c + "),
            ("`h' = z * c + (1 - z) * h`", "the next state", GRU, "return h + z * (c - h), rz, c"),
        ],
    ),
    "The folded recurrent layer (bGRU)": (
        "Input state `i`, output state `o`; `x` from the layer below, `y` from the layer above.",
        [
            ("`o' = update(o, x)`", "encode, all steps", LAYER, "outputs = self.encoder.iterate(o, sequence, "),
            (
                "`i' = x`",
                "after encoding, the input state is the last input",
                LAYER,
                "return outputs, (sequence[-1], outputs[-1])",
            ),
            ("`i' = update(i, y)`", "decode, all steps", LAYER, "return self.decoder.iterate(i, sequence, "),
            (
                "`o_0`",
                "the state at the beginning, trained, one value a channel",
                LAYER,
                "self.initial_output_state = self.add_weight(",
            ),
            (
                "`i' = update(i, o)`",
                "the deepest layer decodes without a layer above",
                LAYER,
                "            i = decode(i, ",
            ),
            ("`o' = update(o, i)`", "and goes on by itself", LAYER, "o = encode(o, encoder_projection(i))"),
        ],
    ),
    "Layers without memory": (
        "One kernel in both directions, two biases.",
        [
            ("`tanh(conv(x, W) + b)`", "encode", CONV, "self.bias), ()"),
            (
                "`tanh(conv(y, W') + b')`",
                "decode; `W'` is `W` flipped, its channel axes swapped",
                CONV,
                "self.decoder_bias, upsampling)",
            ),
            ("max pooling", "encode", POOL, "backend.max_pool(x, self.pool_size), sequence), ()"),
            ("nearest-neighbour upsampling", "decode", POOL, "return backend.upsample(sequence, "),
        ],
    ),
    "The network": (
        "Up the layers over the given frames, down the layers over the future ones.",
        [
            ("encode", "bottom to top, each layer over all steps", NETWORK, "sequence, layer_state = layer.encode("),
            (
                "decode, the deepest layer",
                "it alone goes on by itself",
                NETWORK,
                "self.stack[-1].rollout(state[-1], steps)",
            ),
            (
                "decode, the others",
                "top to bottom; their output states are not read",
                NETWORK,
                "layer.decode(sequence, layer_state, upsampling, self.remat)",
            ),
            ("layer removal", "the first layers, weights shared", NETWORK, "model = FoldedRNN(self.stack[:depth], "),
        ],
    ),
    "RLadder, the baseline": (
        "Encoder state `o`, decoder state `d`, joined by bridges.",
        [
            (
                "`update(own, [x, other])`",
                "`o' = update(o, [x, d])`, `d' = update(d, [y, o])`",
                BRIDGE,
                "return transition(own, projection(ops.concatenate([x, other], axis=-1)))",
            ),
            ("up, then down, at every frame", "", LADDER, "x = encode[index](x, (o, d))"),
            ("a prediction is the next input", "", LADDER, "def feed_back(carry, _):"),
        ],
    ),
    "Training": (
        "Ten frames given, ten predicted, L1 loss, 500,000 steps of 12 sequences: the preset `paper` of the "
        "[recipes](paper.md).",
        [
            (
                "orthogonal, columns scaled to `2 / sqrt(rows + columns)`",
                "the published initialisation",
                "layers/scaled_orthogonal.py",
                "deviation = 2 / math.sqrt(",
            ),
            (
                "`w - rate * g / sqrt(m + epsilon)`",
                "TensorFlow 1's RMSProp",
                "optimizers.py",
                "rate * gradient * ops.rsqrt(mean_square + self.epsilon)",
            ),
            ("14 layers", "the paper's topology", "topology.py", "PAPER_TOPOLOGY = ("),
        ],
    ),
    "Scores": (
        "Frames in [0, 1]; [how that compares with other packages](metrics.md).",
        [
            ("`mean((y - p)^2)`", "MSE", "metrics/image_quality.py", "return ops.mean(ops.square(y_true - y_pred)"),
            ("`10 log10(1 / MSE)`", "PSNR", "metrics/image_quality.py", "return -10 / np.log(10)"),
            (
                "`(1 - SSIM) / 2`",
                "DSSIM",
                "metrics/image_quality.py",
                "return ops.mean(other_means + (1 - other_means) * other_structure, axis=(2, 3, 4)) / 2",
            ),
        ],
    ),
}


def page() -> str:
    """The text of the page."""
    lines = [
        "# From paper to code",
        "",
        "The equations of [the paper](https://arxiv.org/abs/1712.00311), and the lines that compute them. Values and "
        "gradients of both networks equal those of the authors' implementation: `tests/models/test_golden.py`. Written "
        "by `python docs/paper_to_code.py`.",
    ]
    for title, (text, rows) in SECTIONS.items():
        lines += ["", f"## {title}", "", text, "", "| equation | | code |", "| --- | --- | --- |"]
        for equation, meaning, file, line in rows:
            number = line_number(file, line)
            link = f"[{file}:{number}](../keras_frnn/{file}#L{number})"
            lines.append(f"| {equation} | {meaning} | {link} |")
    return "\n".join(lines) + "\n"


def line_number(file: str, text: str) -> int:
    content = (ROOT / "keras_frnn" / file).read_text()
    if content.count(text) != 1:
        raise SystemExit(f"keras_frnn/{file} must have this text once; it has it {content.count(text)} times: {text!r}")
    return content[: content.index(text)].count("\n") + 1


def main():
    with atomic_path(PAGE) as temporary:
        temporary.write_text(page())


if __name__ == "__main__":
    main()
