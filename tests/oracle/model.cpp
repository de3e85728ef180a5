// The model: equal to the reference without switches, and to the reference of another problem with them.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <mta/oracle/model.hpp>
#include <numeric>

#include "support/problem.hpp"

namespace mta_test_model {
using namespace mta;
using namespace mta::oracle;

namespace {

Results exact_run(const Problem& p, const Deviation& deviation = {}, const Results* candidate = nullptr) {
    auto arithmetic = Arithmetic::exact();
    return run_model(p, arithmetic, deviation, candidate);
}

// The same switches forward and backward: the gradient of another operator.
template <class Set>
Deviation everywhere(Set&& set) {
    Deviation d;
    for (Knobs* k : {&d.forward, &d.backward, &d.parameters})
        set(*k);
    return d;
}

const std::vector<std::string> inputs_side{"out", "grad.q", "grad.k", "grad.v"};

Problem full_problem() {
    return test::random_problem(test::full_config(), 2, 9, {{0, 4}, {0}});
}

// Changes a problem so that the right operator does what the switch does wrong.
template <class Set, class Change>
void same_as(const char* what, Set&& set, Change&& change,
             const std::vector<std::string>& names = inputs_side) {
    CAPTURE(what);
    const Problem p = full_problem();
    Problem changed = p;
    change(changed);
    const Results got = test::only(exact_run(p, everywhere(set)), names);
    const Results want = test::only(reference_results(changed), names);
    CHECK(test::worst_difference(got, want) < 1e-12);
    CHECK(test::worst_difference(got, test::only(reference_results(p), names)) >
          1e-3);  // the switch does something
}

template <class Move>
void move_elements(Tensor<double, 3>& t, Move&& from) {
    const Tensor<double, 3> old = t;
    for (Index h = 0; h < t.dimension(0); ++h)
        for (Index a = 0; a < t.dimension(1); ++a)
            for (Index c = 0; c < t.dimension(2); ++c)
                t(h, a, c) = from(old, h, a, c);
}

}  // namespace

TEST_CASE("without switches the model is the reference: every option, every tensor") {
    for (const auto& starts : std::vector<std::vector<std::vector<Index>>>{{{0}}, {{0, 4, 9}, {0, 1}}})
        for (const auto& config : test::varied_configs())
            for (const Index S : {1, 2, 13}) {
                const auto documents = S > 9 ? starts : std::vector<std::vector<Index>>{{0}};
                const Problem p =
                    test::random_problem(config, 2, S, documents, static_cast<std::uint64_t>(S));
                const Results want = reference_results(p), got = exact_run(p);
                CHECK(got.tensors.size() == want.tensors.size());
                // With one token the context is parallel to v, and the norm's gradient cancels.
                CHECK(test::worst_difference(got, want) < (S == 1 ? 1e-11 : 1e-12));
                // Resynchronised with the truth nothing moves.
                CHECK(test::worst_difference(exact_run(p, {}, &want), want) < 1e-12);
            }
}

TEST_CASE("without d_out there is a forward pass alone") {
    Problem p = full_problem();
    p.d_out.reset();
    const Results got = exact_run(p), want = reference_results(p);
    CHECK(test::worst_difference(got, want) < 1e-12);
    CHECK(got.tensors.size() == want.tensors.size());
}

TEST_CASE("switches of the scores") {
    same_as(
        "scale", [](Knobs& k) { k.scale = ScaleKnob::one; },
        [](Problem& p) { p.config.attention.scale = 1; });
    same_as(
        "scale over D", [](Knobs& k) { k.scale = ScaleKnob::over_head_dim; },
        [](Problem& p) { p.config.attention.scale = 1.0 / 3; });
    same_as(
        "documents", [](Knobs& k) { k.ignore_documents = true; },
        [](Problem& p) { p.config.document_starts = {{0}}; });
    same_as(
        "mask rule", [](Knobs& k) { k.other_mask = true; },
        [](Problem& p) { p.config.attention.mask = MaskRule::exact; });
    same_as(
        "flipped on keys", [](Knobs& k) { k.pre.flip_keys = true; },
        [](Problem& p) {
            move_elements(p.params.pre.conv->kernel,
                          [](const auto& t, Index h, Index a, Index c) { return t(h, a, 2 - c); });
        });
    same_as(
        "flipped on queries", [](Knobs& k) { k.post.flip_queries = true; },
        [](Problem& p) {
            move_elements(p.params.post.conv->kernel,
                          [](const auto& t, Index h, Index a, Index c) { return t(h, 1 - a, c); });
        });
    same_as(
        "first kernel for all", [](Knobs& k) { k.post.head = HeadKnob::first; },
        [](Problem& p) {
            move_elements(p.params.post.conv->kernel,
                          [](const auto& t, Index, Index a, Index c) { return t(Index{0}, a, c); });
        });
    same_as(
        "memory read as (Ck, Cq)", [](Knobs& k) { k.post.swap_axes = true; },
        [](Problem& p) {
            move_elements(p.params.post.conv->kernel, [](const auto& t, Index h, Index a, Index c) {
                return t.data()[h * 8 + c * 2 + a];
            });
        });
    same_as(
        "padding of the other side", [](Knobs& k) { k.post.key_shift = 3; },
        [](Problem& p) { p.config.attention.post.key_padding = KeyPadding::right; });
    same_as(
        "a lost tap", [](Knobs& k) { k.pre.lost_query_tap = 0; },
        [](Problem& p) {
            move_elements(p.params.pre.conv->kernel,
                          [](const auto& t, Index h, Index a, Index c) { return a == 0 ? 0 : t(h, a, c); });
        });
    same_as(
        "transposed mix", [](Knobs& k) { k.pre_mix.transposed = true; },
        [](Problem& p) {
            move_elements(p.params.pre.mix->mix,
                          [](const auto& t, Index g, Index r, Index c) { return t(g, c, r); });
        });
    same_as(
        "first group's mix", [](Knobs& k) { k.pre_mix.first_group = true; },
        [](Problem& p) {
            move_elements(p.params.pre.mix->mix,
                          [](const auto& t, Index, Index r, Index c) { return t(Index{0}, r, c); });
        });
}

TEST_CASE("stages that are left out") {
    same_as(
        "pre.kernel", [](Knobs& k) { k.pre.skip = true; },
        [](Problem& p) {
            p.config.attention.pre.query_kernel = p.config.attention.pre.key_kernel = 0;
            p.params.pre.conv.reset();
        });
    same_as(
        "post.mix", [](Knobs& k) { k.post_mix.skip = true; },
        [](Problem& p) {
            p.config.attention.post.mix_group = 0;
            p.params.post.mix.reset();
        });
    same_as(
        "norm", [](Knobs& k) { k.norm.skip = true; },
        [](Problem& p) {
            p.config.attention.norm.reset();
            p.params.norm.reset();
        });
    same_as(
        "gate", [](Knobs& k) { k.gate.skip = true; },
        [](Problem& p) {
            p.config.attention.gate.reset();
            p.params.gate.reset();
        });
}

TEST_CASE("switches of weights, norm and gate") {
    same_as(
        "sparsemax", [](Knobs& k) { k.softmax = SoftmaxKnob::other_kind; },
        [](Problem& p) { p.config.attention.normalise = Normalise::sparsemax; });
    same_as(
        "depth factor", [](Knobs& k) { k.norm.no_factor = true; },
        [](Problem& p) { p.config.attention.norm = RmsNormFactor::one; });
    same_as(
        "layers from one", [](Knobs& k) { k.norm.layer_from_one = true; },
        [](Problem& p) { p.config.attention.layer_index += 1; });
    same_as(
        "norm weight", [](Knobs& k) { k.norm.no_weight = true; },
        [](Problem& p) { fill(p.params.norm->weight, 1.0); });
    same_as(
        "gate bias", [](Knobs& k) { k.gate.no_bias = true; },
        [](Problem& p) { fill(p.params.gate->bias, 0.0); });
    same_as(
        "gate transposed", [](Knobs& k) { k.gate.transposed = true; },
        [](Problem& p) {
            const Tensor<double, 2> old = p.params.gate->weight;
            for (Index r = 0; r < 3; ++r)
                for (Index c = 0; c < 3; ++c)
                    p.params.gate->weight(r, c) = old(c, r);
        });
}

TEST_CASE("gradients of wrong operators are their derivatives, by central differences along a direction") {
    const std::vector<std::pair<const char*, void (*)(Knobs&)>> switches{
        {"plus one", [](Knobs& k) { k.softmax = SoftmaxKnob::plus_one; }},
        {"base two", [](Knobs& k) { k.softmax = SoftmaxKnob::base_two; }},
        {"twice", [](Knobs& k) { k.softmax = SoftmaxKnob::twice; }},
        {"leaked", [](Knobs& k) { k.future = FutureKnob::leaked; }},
        {"future is zero", [](Knobs& k) { k.future = FutureKnob::zero; }},
        {"post mask missing", [](Knobs& k) { k.post.output_masked = false; }},
        {"zero mask missing", [](Knobs& k) { k.pre.input_masked = false; }},
        {"clamped", [](Knobs& k) { k.pre.edge = EdgeKnob::clamped; }},
        {"wrapped", [](Knobs& k) { k.post.edge = EdgeKnob::wrapped; }},
        {"tiles", [](Knobs& k) { k.pre.query_tile = 4, k.post.key_tile = 4; }},
        {"residual", [](Knobs& k) { k.post.residual = k.pre_mix.residual = k.gate.residual = true; }},
        {"strided", [](Knobs& k) { k.pre_mix.strided_groups = true; }},
        {"renormalised", [](Knobs& k) { k.renormalised = true; }},
        {"clipped", [](Knobs& k) { k.clipped = true; }},
        {"centred", [](Knobs& k) { k.norm.centred = true; }},
        {"all heads", [](Knobs& k) { k.norm.all_heads = true; }},
        {"sum of squares", [](Knobs& k) { k.norm.sum_of_squares = true; }},
        {"eps outside", [](Knobs& k) { k.norm.eps_outside = true; }},
        {"tanh", [](Knobs& k) { k.gate.tanh = true; }},
        {"gate reads context", [](Knobs& k) { k.gate.reads_context = true; }},
        {"interleaved", [](Knobs& k) { k.keys_interleaved = k.values_interleaved = true; }}};
    for (const auto& s : switches) {
        CAPTURE(s.first);
        const Problem p = test::random_problem(test::full_config(), 2, 9);
        const Deviation d = everywhere(s.second);
        const Results r = exact_run(p, d);
        CHECK(test::worst_difference(test::only(r, {"out"}), test::only(reference_results(p), {"out"})) >
              1e-4);
        const double step = 1e-6;
        Problem up = p, down = p;
        double want = 0, size = 0;
        std::uint64_t seed = 90;
        for_each_input(
            [&](std::string_view name, auto& plus, auto& minus) {
                if (name == "d_out") return;
                Random random(++seed);
                for (std::size_t n = 0; n < static_cast<std::size_t>(plus.size()); ++n) {
                    const double along = random.uniform(-1, 1),
                                 term = along * r.at("grad." + std::string(name)).values[n];
                    plus.data()[n] += step * along, minus.data()[n] -= step * along;
                    want += term, size += std::abs(term);
                }
            },
            up, down);
        const auto loss = [&](const Problem& q) {
            const auto out = exact_run(q, d).at("out").values;
            return std::inner_product(out.begin(), out.end(), p.d_out->data(), 0.0);
        };
        CHECK(std::abs((loss(up) - loss(down)) / (2 * step) - want) < 1e-7 * size);
    }
}

TEST_CASE("local expectations: a stage is computed from what the candidate exported before it") {
    const Problem p = full_problem();
    Results candidate = exact_run(p, everywhere([](Knobs& k) { k.pre.flip_keys = true; }));
    const Results truth = reference_results(p), local = exact_run(p, {}, &candidate);
    const auto off = [&](const char* name) {
        return test::worst_difference(test::only(candidate, {name}), test::only(local, {name}));
    };
    CHECK(off("stage.logits") < 1e-12);
    CHECK(off("stage.pre_conv") > 1e-2);  // the wrong one
    for (const char* name :
         {"stage.pre_mix", "stage.weights", "stage.post_conv", "stage.post_mix", "stage.context",
          "stage.norm", "stage.gate", "out", "stage.d_weights", "stage.d_pre_mix", "stage.d_pre_conv",
          "grad.v", "grad.post.kernel", "grad.gate.weight"}) {
        CAPTURE(name);
        CHECK(off(name) < 1e-12);
        if (std::string(name) != "stage.d_weights")
            CHECK(test::worst_difference(test::only(candidate, {name}), test::only(truth, {name})) > 1e-3);
    }
    CHECK(off("stage.d_logits") > 1e-2);  // and the backward pass flips it too
    CHECK(off("grad.q") < 1e-12);
}

TEST_CASE("arithmetic: perturbed runs differ by the profile's unit, rounded ones are in its types") {
    const Problem p = test::random_problem(test::full_config(), 1, 9);
    const Results truth = exact_run(p);
    for (const char* name : {"fp32", "bf16-flash", "fp16-eager", "tf32", "io=bf16 o=fp32"}) {
        CAPTURE(name);
        const auto profile = parse_rounding(name);
        const double u = std::max(unit_roundoff(profile.io), unit_roundoff(profile.multiply));
        auto a = Arithmetic::perturbed(profile, 7), again = Arithmetic::perturbed(profile, 7),
             other = Arithmetic::perturbed(profile, 8), rounded = Arithmetic::rounded(profile);
        const Results r = run_model(p, a);
        CHECK(test::worst_difference(r, run_model(p, again)) == 0);
        CHECK(test::worst_difference(r, run_model(p, other)) > 0);
        for (const Results& moved : {r, run_model(p, rounded)}) {
            CHECK(test::worst_difference(moved, truth) > 0.1 * u);
            CHECK(test::worst_difference(moved, truth) < 1000 * u);
        }
        auto rounds = Arithmetic::rounded(profile);
        const Results in_types = run_model(p, rounds);
        for (const char* tensor : {"out", "grad.q", "grad.pre.kernel"})
            for (const double x : in_types.at(tensor).values)
                CHECK(round_to(profile.io, x) == x);
    }
}
}  // namespace mta_test_model
