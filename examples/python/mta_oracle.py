"""The oracle of multi-token attention from Python: reference values, cases, and the judgement of your function.

SPDX-License-Identifier: MIT

Needs NumPy and the library libmta_oracle.so (target mta-oracle-c), found through the environment variable
MTA_ORACLE_LIBRARY or in build/*/lib of this source tree. PyTorch is in mta_oracle_torch.py.

    results = reference(config, {"q": q, "k": k, "v": v, "pre.kernel": kernel})          # {"out": ...}
    report = check(my_function, suite="smoke")                                           # report.verdict, report.text

    @parametrize("smoke")
    def test_mine(case):
        check(my_function, case=case).assert_agrees()

Tensors have the names of the file contract (docs/oracle.md). Arrays are passed by pointer, with their strides; what is
no NumPy array is taken through DLPack.
"""

import ctypes
import json
import os
from pathlib import Path

import numpy as np

from mta_oracle_abi import (Call, Function, Tensor, TensorList, UNSUPPORTED, as_array, dtype_code, message_into, names_of,
                            write_array)


class OracleError(Exception):
    """What the oracle refused, in its own sentence. `code` is the exit code that the command line would have."""

    def __init__(self, code, sentence):
        super().__init__(sentence)
        self.code = code


class Disagreement(AssertionError):
    """The report of a candidate that does not agree."""


def _found_library():
    if "MTA_ORACLE_LIBRARY" in os.environ:
        return os.environ["MTA_ORACLE_LIBRARY"]
    root = Path(__file__).resolve().parents[2]
    found = sorted(root.glob("build/*/lib/libmta_oracle.so"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise OracleError(3, f"libmta_oracle.so: none below {root / 'build'}, expected one; build the target "
                             "mta-oracle-c or set MTA_ORACLE_LIBRARY")
    return str(found[-1])


def _loaded_library():
    library = ctypes.CDLL(_found_library())
    library.mta_oracle_last_error.restype = ctypes.c_char_p
    library.mta_oracle_version.restype = ctypes.c_char_p
    library.mta_oracle_free.argtypes = [ctypes.c_void_p]
    library.mta_oracle_cases.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_uint64, ctypes.POINTER(ctypes.c_void_p)]
    library.mta_oracle_problem_new.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)]
    library.mta_oracle_problem_free.argtypes = [ctypes.c_void_p]
    library.mta_oracle_problem_call.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.mta_oracle_problem_call.restype = ctypes.POINTER(Call)
    library.mta_oracle_check.argtypes = [Function, Function, ctypes.c_char_p] + [ctypes.POINTER(ctypes.c_void_p)] * 2
    return library


_library = _loaded_library()
version = _library.mta_oracle_version().decode()


def _require(code):
    if code != 0:
        raise OracleError(code, _library.mta_oracle_last_error().decode(errors="replace"))


def _taken(text):
    """The text at a pointer that the library gave away, or None."""
    if not text.value:
        return None
    try:
        return ctypes.string_at(text.value).decode(errors="replace")
    finally:
        _library.mta_oracle_free(text.value)


def stages_of(config):
    """The stages that a configuration has, in the order of the pipeline."""
    def side(key, name):
        return [f"{key}_conv"] * ("query_kernel" in config.get(key, {})) + [f"{key}_mix"] * (name in config.get(key, {}))
    norm, gate = (config.get(key, "none") != "none" for key in ("norm", "gate"))
    return ["logits", *side("pre", "mix_group"), "weights", *side("post", "mix_group"), "context",
            *["norm"] * norm, *["gate"] * gate]


def _outputs(config, inputs, stages):
    """Empty float64 arrays for everything that one call computes."""
    B, H, S, D = np.shape(inputs["q"])
    shapes = {"out": (B, H, S, D)}
    if "d_out" in inputs:
        shapes |= {f"grad.{name}": np.shape(x) for name, x in inputs.items() if name != "d_out"}
    for prefix in [""] + ["d_"] * ("d_out" in inputs) if stages else []:
        shapes |= {f"stage.{prefix}{name}": (B, H, S, D if name in ("context", "norm", "gate") else S)
                   for name in stages_of(config)}
    return {name: np.empty(shape) for name, shape in shapes.items()}


def reference(config, inputs, stages=False):
    """What the reference computes, in float64, as {name: array}.

    config: the configuration, a dict as in the JSON files. inputs: {name: array} with q (B, H, S, D), k and v
    (B, Hkv, S, D), the parameters that the configuration has and, for gradients, d_out. stages: stage.* too.
    Raises OracleError for a configuration or a shape that cannot be.
    """
    outputs = _outputs(config, inputs, stages)
    given, wanted = TensorList(inputs), TensorList(outputs)
    message = ctypes.create_string_buffer(512)
    call = Call(given, wanted, json.dumps(config), message)
    function = _library.mta_reference_backward if "d_out" in inputs else _library.mta_reference_forward
    code = function(ctypes.byref(call))
    if code != 0:
        raise OracleError(8 if code == UNSUPPORTED else 2, message.value.decode(errors="replace"))
    return outputs


def cases(suite="smoke", profile="", io="fp32", seed=0):
    """The descriptors of a suite's cases; each is a line of text that names the case for ever."""
    lines = ctypes.c_void_p()
    _require(_library.mta_oracle_cases(suite.encode(), profile.encode(), io.encode(), seed, ctypes.byref(lines)))
    return _taken(lines).split("\n")


class Problem:
    """The inputs of a case: `config`, `inputs` (with d_out) and `dtype`; expected() is what the reference makes of it.

    Elements of bfloat16, which NumPy lacks, are widened to float32.
    """

    def __init__(self, descriptor):
        made = ctypes.c_void_p()
        _require(_library.mta_oracle_problem_new(descriptor.encode(), ctypes.byref(made)))
        try:
            call = _library.mta_oracle_problem_call(made, 1).contents
            self.descriptor = descriptor
            self.config = json.loads(call.config_json)
            self.dtype = names_of[call.inputs[0].dtype]
            self.inputs = {t.name.decode(): as_array(t).copy() for t in call.inputs[:call.n_inputs]}
        finally:
            _library.mta_oracle_problem_free(made)

    def expected(self, stages=False):
        return reference(self.config, self.inputs, stages)


def parametrize(suite="smoke", argument="case", **options):
    """A pytest mark that runs a test once for each case of a suite; the test's id is the case's descriptor."""
    import pytest
    descriptors = cases(suite, **options)
    return pytest.mark.parametrize(argument, descriptors, ids=[d.replace(" ", ",") for d in descriptors])


class Report:
    """What check found: `verdict`, `exit_code`, `first_wrong_stage`, `text` (one screen) and `data` (the JSON report)."""

    def __init__(self, exit_code, data, text):
        self.exit_code, self.data, self.text = exit_code, data, text
        self.verdict, self.first_wrong_stage = data["verdict"], data["first_wrong_stage"]

    def __repr__(self):
        return f"<Report {self.verdict}>"

    def assert_agrees(self, trusted=False):
        """Raises Disagreement with the one-screen report. One case alone can be one that could not have failed
        (a single token, say), so `mistrusted` passes unless `trusted` is asked for; `unsupported` skips under pytest."""
        if self.verdict == "unsupported":
            import pytest
            pytest.skip("; ".join(case["sentence"] for case in self.data["cases"]) or "refused")
        if self.verdict != "agrees" and (trusted or self.verdict != "mistrusted"):
            raise Disagreement("\n" + self.text)


class _Callback:
    """A Python function as a function of the C interface. What it raises becomes a code and a sentence."""

    def __init__(self, function):
        self.raised = None
        self._function = function
        self.c = Function(self._call)

    def _call(self, pointer):
        call = pointer.contents
        try:
            inputs = {t.name.decode(): t for t in call.inputs[:call.n_inputs]}
            results = self._function(json.loads(call.config_json), inputs)
            for t in call.outputs[:call.n_outputs]:
                name = t.name.decode()
                if name in results:
                    write_array(t, results[name])
            return 0
        except NotImplementedError as refusal:
            message_into(call, str(refusal))
            return UNSUPPORTED
        except Exception as error:  # pylint: disable=broad-except  # nothing may cross the C interface
            message_into(call, f"{type(error).__name__}: {error}")
            return 2
        except BaseException as interruption:  # pylint: disable=broad-except  # Ctrl-C: raised again afterwards
            self.raised = interruption
            return 2


def check_tensors(forward, backward=None, **options):
    """check for functions of (config, {name: mta_oracle_abi.Tensor}); mta_oracle_torch is built on it."""
    first, second = _Callback(forward), _Callback(backward) if backward else None
    options.setdefault("name", getattr(forward, "__name__", "candidate"))
    report, text = ctypes.c_void_p(), ctypes.c_void_p()
    code = _library.mta_oracle_check(first.c, second.c if second else Function(), json.dumps(options).encode(),
                                     ctypes.byref(report), ctypes.byref(text))
    data, screen = _taken(report), _taken(text)
    for callback in filter(None, (first, second)):
        if callback.raised is not None:
            raise callback.raised
    if data is None:
        _require(code)
    return Report(code, json.loads(data), screen)


def _on_arrays(function):
    def on_tensors(config, tensors):
        results = function(config, {name: as_array(t) for name, t in tensors.items()})
        return results if isinstance(results, dict) else {"out": results}
    on_tensors.__name__ = getattr(function, "__name__", "candidate")
    return on_tensors


def check(forward, backward=None, **options):
    """Judges functions of NumPy arrays; returns a Report.

    forward(config, inputs) returns `out`, or a dict with out and any stage.<name>. backward(config, inputs), whose
    inputs also hold d_out, returns a dict of grad.<name> and any stage.d_<name>; without it the output alone is judged.
    Raise NotImplementedError for a configuration that you do not have.
    options: case (a descriptor or a list) or suite, profile, io, seed; rounding; expect; deterministic; diagnose; name.
    """
    return check_tensors(_on_arrays(forward), _on_arrays(backward) if backward else None, **options)
