// Rules that others judge kernels by, applied to the same tensors as the oracle's.
// SPDX-License-Identifier: MIT
//
// gradcheck       torch.autograd.gradcheck's defaults: eps 1e-6, atol 1e-5, rtol 1e-3, in double, as in its fast mode along
//                 a random direction of each input. Only the candidate's own forward is asked.
// flash           the rule of FlashAttention's tests: max error at most twice that of a low-precision run.
// liger           the tolerances of Liger-Kernel's test of its multi-token attention: |got - want| <= atol + rtol |want|
//                 with 1e-4 for float32 and 2e-2 for bfloat16.
#pragma once

#include <mta/oracle/diagnosis.hpp>

namespace mta::program {

/// True when the rule finds something wrong. `got` holds out and gradients.
bool flash_objects(const oracle::Problem& p, const oracle::Results& got, const oracle::Expected& expected);
bool liger_objects(const oracle::Problem& p, const oracle::Results& got, const oracle::Expected& expected);

/// The candidate is the model with this deviation, in double.
bool gradcheck_objects(const oracle::Problem& p, const oracle::Deviation& d);

}  // namespace mta::program
