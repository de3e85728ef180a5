// Every operation, layer, model, optimizer, task, fast twin and check; io, oracle and train are included by themselves.
// SPDX-License-Identifier: MIT
//
// Written by tests/hygiene/check.py --write-umbrella and compared with its output by the tests.
#pragma once

#include <mta/check/adjoint.hpp>
#include <mta/check/central_difference.hpp>
#include <mta/check/compare.hpp>
#include <mta/check/complex_step.hpp>
#include <mta/core/attention_mask.hpp>
#include <mta/core/key_query_taps.hpp>
#include <mta/core/numeric.hpp>
#include <mta/core/parallel.hpp>
#include <mta/core/parameters.hpp>
#include <mta/core/random.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <mta/fast/attention_cache.hpp>
#include <mta/fast/dense_backend.hpp>
#include <mta/fast/linear.hpp>
#include <mta/fast/multi_token_attention.hpp>
#include <mta/fast/online_softmax.hpp>
#include <mta/fast/rms_norm.hpp>
#include <mta/fast/swiglu.hpp>
#include <mta/layers/attention_backend.hpp>
#include <mta/layers/initialisers.hpp>
#include <mta/layers/multi_token_attention.hpp>
#include <mta/layers/multi_token_attention_config.hpp>
#include <mta/layers/standard_attention.hpp>
#include <mta/ops/causal_mask.hpp>
#include <mta/ops/cross_entropy.hpp>
#include <mta/ops/dropout.hpp>
#include <mta/ops/embedding.hpp>
#include <mta/ops/gate.hpp>
#include <mta/ops/gelu.hpp>
#include <mta/ops/head_mix.hpp>
#include <mta/ops/key_query_conv.hpp>
#include <mta/ops/layer_norm.hpp>
#include <mta/ops/linear.hpp>
#include <mta/ops/rms_norm.hpp>
#include <mta/ops/rotary.hpp>
#include <mta/ops/scaled_scores.hpp>
#include <mta/ops/score_conv3d.hpp>
#include <mta/ops/softmax.hpp>
#include <mta/ops/sparsemax.hpp>
#include <mta/ops/swiglu.hpp>
#include <mta/ops/weighted_values.hpp>
#include <mta/version.hpp>
