"""A worked example: a PyTorch implementation is judged, case by case and as a whole; wrong ones are caught.

SPDX-License-Identifier: MIT

    examples/python/run.sh            # or: pytest examples/python, where PyTorch and pytest are installed
"""

import numpy as np
import pytest
import torch
from torch_attention import attention

import mta_oracle
import mta_oracle_torch

PAPER = "paper-880m/B2_H4_kv2_S9_D8_cq3_ck5_g2 fill=asymmetric seed=3"


@mta_oracle.parametrize("smoke")
def test_each_case(case):
    mta_oracle_torch.check(attention, case=case, rounding="fp32", diagnose=False).assert_agrees()


def test_the_whole_suite_could_have_failed():
    report = mta_oracle_torch.check(attention, suite="smoke", rounding="fp32")
    report.assert_agrees(trusted=True)
    assert report.exit_code == 0
    assert {case["verdict"] for case in report.data["cases"]} <= {"agrees", "mistrusted"}


def test_refused_cases_are_no_failures():
    def causal_only(config, inputs):
        if config.get("mask", "twice") != "twice":
            raise NotImplementedError("masks other than twice")
        return attention(config, inputs)

    report = mta_oracle_torch.check(causal_only, suite="smoke", rounding="fp32")
    report.assert_agrees(trusted=True)
    refused = [case["sentence"] for case in report.data["cases"] if case["verdict"] == "unsupported"]
    assert 0 < len(refused) < len(report.data["cases"])
    assert "masks other than twice" in refused[0]


def test_bfloat16_in_and_out():
    mta_oracle_torch.check(attention, case=PAPER + " io=bf16", rounding="io=bf16 acc=fp32").assert_agrees()


# Each bug is planted by changing what the candidate reads; the stage is where it must be seen first.
def _flipped_keys(inputs):
    return inputs | {"pre.kernel": inputs["pre.kernel"].flip(2)}


def _transposed_mix(inputs):
    return inputs | {"post.mix": inputs["post.mix"].transpose(1, 2)}


def _next_kv_head(inputs):
    return inputs | {"k": inputs["k"].roll(1, dims=1)}


@pytest.mark.parametrize("bug, stage", [(_flipped_keys, "pre_conv"), (_transposed_mix, "post_mix"),
                                        (_next_kv_head, "logits")])
def test_a_wrong_candidate_is_caught(bug, stage):
    report = mta_oracle_torch.check(lambda config, inputs: attention(config, bug(inputs)), case=PAPER, rounding="fp32")
    assert report.verdict == "mismatch"
    assert report.exit_code == 1
    assert report.first_wrong_stage == stage
    with pytest.raises(mta_oracle.Disagreement, match=stage):
        report.assert_agrees()


def test_a_wrong_gradient_is_caught():
    class Halved(torch.autograd.Function):
        """The identity, whose gradient is wrong."""

        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, d):
            return d / 2

    report = mta_oracle_torch.check(lambda config, inputs: attention(config, inputs | {"v": Halved.apply(inputs["v"])}),
                                    case=PAPER, rounding="fp32")
    assert report.verdict == "mismatch"
    wrong = [t["name"] for t in report.data["cases"][0]["tensors"] if not t["agrees"]]
    assert wrong == ["grad.v"]


def test_what_a_candidate_raises_is_reported():
    def broken(config, inputs):
        raise RuntimeError("out of shared memory")

    report = mta_oracle_torch.check(broken, case=PAPER)
    assert (report.verdict, report.exit_code) == ("crashed", 4)
    assert "RuntimeError: out of shared memory" in report.text

    def misshapen(config, inputs):
        return inputs["q"][:, :, :-1]

    assert "out: got shape [2, 4, 8, 8], expected [2, 4, 9, 8]" in mta_oracle_torch.check(misshapen, case=PAPER).text


def test_the_reference_is_an_autograd_function():
    problem = mta_oracle.Problem(PAPER + " io=fp64")
    inputs = mta_oracle_torch.problem_tensors(problem)
    d_out = inputs.pop("d_out")
    mine = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    theirs = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    out = mta_oracle_torch.attention(problem.config, mine)
    expected = attention(problem.config, theirs)["out"]
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    out.backward(d_out)
    expected.backward(d_out)
    for name, x in mine.items():
        torch.testing.assert_close(x.grad, theirs[name].grad, rtol=1e-11, atol=1e-11, msg=name)


def test_gradcheck_of_the_reference():
    problem = mta_oracle.Problem("paper-880m/B1_H2_S4_D3_cq2_ck3_g2 fill=normal seed=1 io=fp64")
    names = [name for name in problem.inputs if name != "d_out"]
    tensors = [x.requires_grad_() for name, x in mta_oracle_torch.problem_tensors(problem).items() if name in names]
    assert torch.autograd.gradcheck(lambda *x: mta_oracle_torch.attention(problem.config, dict(zip(names, x))), tensors)


def test_arrays_of_any_kind_and_stride_give_the_same_bits():
    problem = mta_oracle.Problem(PAPER)
    expected = problem.expected(stages=True)
    strided = {name: np.asfortranarray(x) for name, x in problem.inputs.items()}
    tensors = mta_oracle_torch.problem_tensors(problem)
    for inputs in (strided, tensors):
        results = mta_oracle.reference(problem.config, inputs, stages=True)
        assert results.keys() == expected.keys()
        for name, x in expected.items():
            np.testing.assert_array_equal(results[name], x, err_msg=name)


def test_numpy_functions_are_candidates_too():
    def plain(config, inputs):
        logits = inputs["q"] @ inputs["k"].swapaxes(-1, -2) * config["head_dim"] ** -0.5
        logits = np.where(np.tri(logits.shape[-1], dtype=bool), logits, -np.inf)
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True) @ inputs["v"]

    case = "sdpa/B2_H2_S9_D4 fill=normal seed=1"
    assert mta_oracle.check(plain, case=case, expect="forward").verdict in ("agrees", "mistrusted")
    assert mta_oracle.check(lambda c, x: 1.001 * plain(c, x), case=case, expect="forward").verdict == "mismatch"


@pytest.mark.parametrize("call, sentence", [
    (lambda: mta_oracle.cases("smokes"), "unknown suite 'smokes', the nearest known is 'smoke'"),
    (lambda: mta_oracle.Problem("paper-880n/B1"), "paper-880m"),
    (lambda: mta_oracle.check(print, suites="smoke"), "unknown key 'suites', the nearest known is 'suite'"),
    (lambda: mta_oracle.reference({"heads": 1}, {"q": np.zeros((1, 1, 2, 3))}), "head_dim: got none"),
    (lambda: mta_oracle.reference({"heads": 1, "head_dim": 3}, {"q": np.zeros((1, 1, 2, 3))}), "input 'k'"),
    (lambda: mta_oracle.reference({"heads": 2, "head_dim": 3}, {x: np.zeros((1, 1, 2, 3)) for x in "qkv"}),
     "q: got shape [1, 1, 2, 3], expected shape [1, 2, 2, 3]")])
def test_bad_input_is_one_sentence(call, sentence):
    with pytest.raises(mta_oracle.OracleError) as error:
        call()
    assert sentence in str(error.value)
    assert error.value.code == 2
