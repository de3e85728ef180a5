"""Writes the golden cases of the whole layer: configuration, inputs, and independent outputs and gradients.

SPDX-License-Identifier: MIT

    python tests/golden/layers/multi_token_attention.py

writes NAME.json, NAME.in.safetensors and NAME.out.safetensors for every case into the folder
multi_token_attention/ beside this file, and cases.txt with the names. The three files of a case are a candidate's
results in the oracle's sense too, so `mta-oracle check --results` reads the folder.
"""

import json
import sys
import zlib
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import mta_torch  # noqa: E402
from support import generator, randn, save  # noqa: E402

FOLDER = Path(__file__).resolve().with_suffix("")
MARGIN = 1e-3       # sparsemax cases keep every allowed score this far from its row's threshold
SCORE_LIMIT = 30.0  # beyond it the operator is ill-conditioned and 1e-12 means nothing
SENSITIVITY = 1e-13  # most that one rounding error in every input may move a tensor, relative to its maximum
BYTE_LIMIT = 1_500_000


def side(query_kernel=None, key_kernel=None, key_padding=None, mix_group=None):
    """One side of the softmax as the contract writes it; absent parts are left out."""
    keys = {"query_kernel": query_kernel, "key_kernel": key_kernel, "key_padding": key_padding, "mix_group": mix_group}
    return {key: value for key, value in keys.items() if value is not None}


def case(batch, length, heads, head_dim, **rest):
    """(batch, length, configuration)."""
    return batch, length, {"heads": heads, "head_dim": head_dim} | rest


CASES = {
    # Which stages are present.
    "all_off": case(2, 6, 2, 3),
    "all_off_gqa": case(1, 6, 4, 3, kv_heads=2),
    "conv_only": case(1, 8, 2, 3, pre=side(3, 5), post=side(2, 3)),
    "conv_only_gqa": case(1, 8, 4, 2, kv_heads=1, pre=side(2, 7), post=side(4, 3)),
    "mix_only": case(1, 6, 4, 3, pre=side(mix_group=2), post=side(mix_group=4)),
    "mix_only_batch": case(2, 5, 4, 2, kv_heads=2, pre=side(mix_group=4), post=side(mix_group=2), gate="scalar"),
    "pre_only": case(1, 8, 4, 3, pre=side(3, 5, mix_group=2)),
    "pre_only_rms": case(1, 7, 2, 4, pre=side(2, 3, mix_group=2), norm="rms", gate="scalar"),
    "post_only": case(1, 8, 4, 3, post=side(3, 5, mix_group=2)),
    "post_only_vector": case(1, 7, 2, 4, post=side(2, 3, mix_group=1), norm="rms", gate="vector"),
    "norm_gate_only": case(2, 5, 2, 4, norm="rms", gate="scalar"),
    "pre_conv_post_mix": case(1, 7, 4, 3, pre=side(3, 3), post=side(mix_group=4)),
    "pre_mix_post_conv": case(1, 7, 4, 3, pre=side(mix_group=2), post=side(3, 3)),
    # The paper's shape, and batches.
    "paper": case(1, 14, 4, 6, pre=side(6, 11, "both", 4), post=side(6, 11, "both", 4), norm="rms", gate="scalar"),
    "paper_batch_gqa": case(2, 8, 4, 3, kv_heads=2, pre=side(3, 5, "both", 2), post=side(2, 3, "both", 4),
                            norm="rms", gate="scalar"),
    "toy": case(1, 10, 2, 4, pre=side(2, 9)),
    # Lengths at the edge.
    # With one key the context is a multiple of v, whose RMS norm has no slope along v but for eps: hence a large one.
    "one_token": case(2, 1, 4, 3, kv_heads=2, pre=side(3, 5, mix_group=2), post=side(2, 3, mix_group=4), norm="rms",
                      eps=0.5, gate="scalar"),
    "one_token_exact": case(1, 1, 2, 2, mask="exact", pre=side(6, 11), post=side(6, 11), gate="vector"),
    "shorter_than_query_kernel": case(1, 3, 2, 3, pre=side(6, 3, mix_group=2), post=side(5, 3, mix_group=2)),
    "shorter_than_query_kernel_exact": case(1, 4, 2, 3, mask="exact", pre=side(6, 3), post=side(6, 3), norm="rms"),
    "shorter_than_key_kernel": case(1, 4, 2, 3, pre=side(2, 11), post=side(2, 9), norm="rms", gate="scalar"),
    "shorter_than_key_kernel_left": case(1, 3, 2, 3, pre=side(2, 8, "left"), post=side(2, 6, "right")),
    "two_tokens": case(2, 2, 2, 2, pre=side(4, 5, mix_group=2), post=side(4, 5), norm="rms", gate="vector"),
    # Extents and key padding.
    "one_by_one_kernels": case(1, 6, 2, 3, pre=side(1, 1), post=side(1, 1)),
    "query_extent_one": case(1, 7, 2, 3, pre=side(1, 5), post=side(1, 3, mix_group=2), norm="rms"),
    "key_extent_one": case(1, 7, 2, 3, pre=side(4, 1, mix_group=2), post=side(3, 1)),
    "key_extent_one_left_right": case(1, 6, 2, 3, mask="exact", pre=side(3, 1, "left"), post=side(2, 1, "right")),
    "left_even": case(1, 8, 2, 3, pre=side(2, 4, "left"), post=side(3, 2, "left", 2), norm="rms", gate="scalar"),
    "right_even": case(1, 8, 2, 3, pre=side(2, 4, "right"), post=side(3, 2, "right", 2), gate="vector"),
    "left_right_odd": case(1, 8, 2, 3, pre=side(3, 5, "left", 2), post=side(2, 3, "right")),
    "right_left_even_exact": case(1, 9, 2, 3, mask="exact", pre=side(4, 6, "right", 2), post=side(3, 4, "left")),
    # Masks.
    "exact": case(1, 9, 4, 3, kv_heads=2, mask="exact", pre=side(4, 5, mix_group=2), post=side(3, 3, mix_group=4),
                  norm="rms", gate="scalar"),
    "exact_left": case(2, 7, 2, 3, mask="exact", pre=side(3, 4, "left"), norm="rms"),
    "exact_without_pre_conv": case(1, 6, 2, 3, mask="exact", pre=side(mix_group=2), post=side(3, 3)),
    "none": case(1, 8, 4, 3, kv_heads=2, mask="none", pre=side(3, 5, mix_group=4), post=side(2, 3, mix_group=2),
                 norm="rms", gate="scalar"),
    "none_left_right": case(2, 6, 2, 2, mask="none", pre=side(2, 4, "right"), post=side(3, 4, "left"), gate="vector"),
    "none_all_off": case(1, 5, 2, 3, mask="none"),
    # Packed documents.
    "documents": case(2, 10, 2, 3, document_starts=[0, 4, 5], pre=side(3, 5, mix_group=2), post=side(2, 3, mix_group=2),
                      norm="rms", gate="scalar"),
    "documents_per_row": case(2, 9, 2, 3, document_starts=[[0, 4], [0, 1, 7]], pre=side(3, 5),
                              post=side(3, 3, mix_group=2)),
    "documents_per_row_gqa": case(3, 6, 4, 2, kv_heads=2, document_starts=[[0], [0, 3], [0, 1, 2, 3, 4, 5]],
                                  pre=side(2, 3), gate="scalar"),
    "documents_exact": case(1, 12, 2, 3, mask="exact", document_starts=[0, 5, 7], pre=side(4, 5, mix_group=2),
                            post=side(2, 3), norm="rms"),
    "documents_exact_left_per_row": case(2, 8, 2, 3, mask="exact", document_starts=[[0, 3], [0, 6]],
                                         pre=side(3, 4, "left"), post=side(3, 2, "right")),
    "documents_none": case(1, 9, 2, 3, mask="none", document_starts=[0, 2, 6], pre=side(3, 3), post=side(2, 5)),
    "documents_all_off": case(2, 7, 2, 3, document_starts=[0, 3]),
    # Sparsemax in every placement.
    "sparsemax": case(1, 8, 4, 3, kv_heads=2, normalise="sparsemax", pre=side(3, 5, mix_group=2),
                      post=side(2, 3, mix_group=4), norm="rms", gate="scalar"),
    "sparsemax_plain": case(2, 6, 2, 3, normalise="sparsemax"),
    "sparsemax_pre_only": case(1, 7, 2, 3, normalise="sparsemax", pre=side(2, 3)),
    "sparsemax_post_only": case(1, 7, 2, 3, normalise="sparsemax", post=side(2, 3)),
    "sparsemax_mix_only": case(1, 6, 4, 3, normalise="sparsemax", pre=side(mix_group=4), post=side(mix_group=2)),
    "sparsemax_exact": case(1, 8, 2, 3, normalise="sparsemax", mask="exact", pre=side(3, 5), post=side(3, 3)),
    "sparsemax_none_documents": case(1, 8, 2, 3, normalise="sparsemax", mask="none", document_starts=[0, 5],
                                     pre=side(2, 4, "left"), post=side(2, 3, mix_group=2), gate="scalar"),
    # Norm, gate, scale, eps.
    "rms_depth_layer_0": case(1, 6, 2, 4, norm="rms_depth", layer_index=0, pre=side(2, 3), gate="scalar"),
    "rms_depth_layer_5": case(1, 6, 2, 4, norm="rms_depth", layer_index=5, post=side(2, 3), gate="vector"),
    "rms_layer_layer_0": case(1, 6, 2, 4, norm="rms_layer", layer_index=0, post=side(mix_group=2)),
    "rms_layer_layer_5": case(1, 6, 2, 4, norm="rms_layer", layer_index=5, pre=side(mix_group=2), gate="scalar"),
    "rms_ignores_layer_index": case(1, 5, 2, 4, norm="rms", layer_index=5, pre=side(2, 3)),
    "gate_without_norm": case(1, 6, 2, 5, gate="vector", pre=side(2, 3, mix_group=2)),
    "large_eps": case(2, 5, 2, 3, norm="rms", eps=0.25, gate="scalar", post=side(2, 3)),
    "eps_with_depth": case(1, 5, 2, 3, norm="rms_depth", layer_index=2, eps=0.01),
    "scale": case(1, 7, 2, 4, scale=0.3, pre=side(3, 3), norm="rms"),
    "scale_negative": case(1, 6, 2, 3, scale=-0.7, post=side(2, 3, mix_group=2), gate="scalar"),
}


def random_inputs(name):
    """Inputs, parameters and cotangent of a case: asymmetric, distinct, nothing at its initial value."""
    batch, length, config = CASES[name]
    gen = generator(zlib.crc32(name.encode()))
    heads, dim = config["heads"], config["head_dim"]
    tensors = {"q": 1.5 * randn(gen, batch, heads, length, dim)}
    tensors |= {x: randn(gen, batch, config.get("kv_heads", heads), length, dim) for x in "kv"}
    for parameter, shape in mta_torch.parameter_shapes(config).items():
        centre = 1.0 if parameter == "norm.weight" else 0.0
        tensors[parameter] = centre + 0.5 * randn(gen, *shape)
    tensors["d_out"] = randn(gen, batch, heads, length, dim)
    return tensors


def check_conditioning(name, config, tensors, result):
    """Refuse a case on which a correct implementation could be told wrong."""
    for stage in ("logits", "pre_conv", "pre_mix"):
        top = result.get(f"stage.{stage}", torch.zeros(1)).abs().max().item()
        if top > SCORE_LIMIT:
            raise ValueError(f"{name}: stage {stage}: got |score| {top}, expected at most {SCORE_LIMIT}")
    if config.get("normalise") == "sparsemax":
        margin = mta_torch.sparsemax_margin(config, tensors)
        if margin < MARGIN:
            raise ValueError(f"{name}: sparsemax margin: got {margin}, expected at least {MARGIN}")
    gen, ulp = generator(1), torch.finfo(torch.float64).eps
    moved = mta_torch.evaluate(config, {k: t * (1 + ulp * randn(gen, *t.shape)) for k, t in tensors.items()})
    for key, want in result.items():
        shift = (moved[key] - want).abs().max().item()
        if shift > SENSITIVITY * want.abs().max().item():
            raise ValueError(f"{name}: {key}: got a shift of {shift} from rounding the inputs, expected a smaller one")


def check_coverage():
    """Every feature below occurs in at least two cases."""
    def either_side(test):
        return lambda batch, length, full: any(
            "query_kernel" in full[s] and test(length, full[s]) for s in ("pre", "post"))

    def packed(full):
        return full["document_starts"] != [0]

    features = {
        "S = 1": lambda batch, length, full: length == 1,
        "S < c_q": either_side(lambda length, part: length < part["query_kernel"]),
        "S < c_k": either_side(lambda length, part: length < part["key_kernel"]),
        "grouped-query heads": lambda batch, length, full: full["kv_heads"] < full["heads"],
        "more than one batch row": lambda batch, length, full: batch > 1,
        "explicit scale": lambda batch, length, full: full["scale"] != full["head_dim"] ** -0.5,
        "one list of documents": lambda batch, length, full: packed(full) and full["document_starts"][0] == 0,
        "documents per row": lambda batch, length, full: full["document_starts"][0] != 0,
        "documents under exact": lambda batch, length, full: packed(full) and full["mask"] == "exact",
        "documents under none": lambda batch, length, full: packed(full) and full["mask"] == "none",
    }
    for padding, parity in (("both", 1), ("left", 0), ("left", 1), ("right", 0), ("right", 1)):
        features[f"{padding} with {'odd' if parity else 'even'} keys"] = either_side(
            lambda length, part, p=padding, r=parity: (part["key_padding"], part["key_kernel"] % 2) == (p, r))
    choices = {"normalise": ["softmax", "sparsemax"], "mask": ["twice", "exact", "none"],
               "norm": ["none", "rms", "rms_depth", "rms_layer"], "gate": ["none", "scalar", "vector"]}
    for key, values in choices.items():
        for value in values:
            features[f"{key} {value}"] = lambda batch, length, full, k=key, v=value: full[k] == v
    for name, has in features.items():
        count = sum(has(batch, length, mta_torch.complete(config)) for batch, length, config in CASES.values())
        if count < 2:
            raise ValueError(f"check_coverage: {name}: got {count} cases, expected at least 2")


def main():
    """Write every case and say how large the folder is."""
    torch.set_num_threads(1)  # the bits of a sum may depend on the number of threads
    check_coverage()
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        if old.name.endswith((".json", ".safetensors", ".txt")):
            old.unlink()
    for name, (_, _, config) in CASES.items():
        tensors = random_inputs(name)
        result = mta_torch.evaluate(config, tensors)
        check_conditioning(name, config, tensors, result)
        (FOLDER / f"{name}.json").write_text(json.dumps(config) + "\n")
        save(FOLDER / f"{name}.in.safetensors", tensors)
        save(FOLDER / f"{name}.out.safetensors", result)
    (FOLDER / "cases.txt").write_text("".join(f"{name}\n" for name in CASES))
    size = sum(path.stat().st_size for path in FOLDER.iterdir())
    if size > BYTE_LIMIT:
        raise ValueError(f"main: folder size: got {size} bytes, expected at most {BYTE_LIMIT}")
    print(f"{len(CASES)} cases, {size} bytes in {FOLDER.name}/")


if __name__ == "__main__":
    main()
