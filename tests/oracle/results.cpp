// Named tensors: order of the pipeline, finding, putting.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <mta/oracle/results.hpp>

namespace mta_test_results {
using namespace mta;
using namespace mta::oracle;

TEST_CASE("pipeline_position: stages, out, gradients of stages backwards, gradients, then the unknown") {
    const std::vector<std::string> order{
        "stage.logits", "stage.pre_conv",  "stage.weights",   "stage.context",  "stage.gate", "out",
        "stage.d_gate", "stage.d_context", "stage.d_weights", "stage.d_logits", "grad.q",     "mystery"};
    for (std::size_t n = 1; n < order.size(); ++n) {
        CAPTURE(order[n]);
        CHECK(pipeline_position(order[n - 1]) < pipeline_position(order[n]));
    }
    CHECK(pipeline_position("grad.q") == pipeline_position("grad.post.mix"));
    CHECK(pipeline_position("stage.nothing") == pipeline_position("mystery"));
}

TEST_CASE("Results: put copies in memory order and replaces by name; at names what is missing") {
    Tensor<float, 2> t(2, 3);
    for (Index n = 0; n < 6; ++n)
        t.data()[n] = static_cast<float>(n) / 4;
    Results r;
    r.put("out", t);
    CHECK(r.at("out").shape == std::vector<Index>{2, 3});
    CHECK(r.at("out").values == std::vector<double>{0, 0.25, 0.5, 0.75, 1, 1.25});
    CHECK(r.at("out").row_length() == 3);
    r.put(NamedTensor{"grad.q", {}, {7}});
    CHECK(r.at("grad.q").row_length() == 1);
    r.put(NamedTensor{"out", {1}, {9}});
    CHECK(r.tensors.size() == 2);
    CHECK(r.at("out").values == std::vector<double>{9});
    CHECK(r.find("grad.k") == nullptr);
    CHECK_THROWS_WITH_AS(r.at("grad.k"),
                         "Results::at: name: got 'grad.k', expected one of the 2 tensors that are there",
                         ArgumentError);
}
}  // namespace mta_test_results
