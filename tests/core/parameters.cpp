// Walking parameters: names, side by side, optional members, shapes without storage.
// SPDX-License-Identifier: MIT
#include <complex>
#include <mta/core/parameters.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/checks.hpp"

namespace mta_test_parameters {
using namespace mta;
using namespace mta::test;

namespace {

// A small stage: one matrix.
template <class Scalar>
struct StageParams {
    Parameter<Scalar, 2> kernel;

    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        f("kernel", p.kernel...);
    }
};

// A layer with a tensor of its own, a stage that is always there and one that may be absent.
template <class Scalar>
struct LayerParams {
    Parameter<Scalar, 1> weight;
    StageParams<Scalar> pre;
    std::optional<StageParams<Scalar>> post;

    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        f("weight", p.weight...);
        StageParams<Scalar>::for_each(with_prefix("pre", f), p.pre...);
        for_each_optional("post", with_prefix("post", f), p.post...);
    }

    template <class From>
    static LayerParams with_members_of(const LayerParams<From>& other) {
        LayerParams p;
        if (other.post) p.post.emplace();
        return p;
    }
};

LayerParams<double> layer(bool with_post) {
    LayerParams<double> p{random_tensor(1, 3), {random_tensor(2, 2, 2)}, {}};
    if (with_post) p.post = StageParams<double>{random_tensor(3, 1, 4)};
    return p;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("parameters: shapes without elements") {
    const Shape<3> shape(4, 5, 6);
    CHECK(shape.size() == 120);
    CHECK(shape.dimension(1) == 5);
    CHECK(shape.dimensions() == std::array<Index, 3>{4, 5, 6});
    CHECK(Shape<2>().size() == 0);
    CHECK(Shape<2>(3, 0).size() == 0);
    static_assert(std::is_same_v<Parameter<ShapeOnly, 2>, Shape<2>>);
    static_assert(std::is_same_v<Parameter<float, 2>, Tensor<float, 2>>);
    // 10^18 scalars would need 8 exabytes.
    CHECK(make_parameter<ShapeOnly>(1000000000, 1000000000).size() == 1000000000000000000);
    static_assert(!std::is_convertible_v<Index, Shape<1>>);
}

TEST_CASE("parameters: make_parameter gives zeros") {
    const auto p = make_parameter<double>(2, 3);
    static_assert(std::is_same_v<decltype(p), const Tensor<double, 2>>);
    check_same_bits("zeros", p, zeros<double>(2, 3));
}

TEST_CASE("parameters: walk with names") {
    Names names;
    std::vector<Index> sizes;
    const auto visit = [&](std::string_view name, const auto& p) {
        names.emplace_back(name);
        sizes.push_back(p.size());
    };
    const auto full = layer(true);
    LayerParams<double>::for_each(visit, full);
    CHECK(names == Names{"weight", "pre.kernel", "post.kernel"});
    CHECK(sizes == std::vector<Index>{3, 4, 4});
    names.clear();
    const auto bare = layer(false);
    LayerParams<double>::for_each(visit, bare);
    CHECK(names == Names{"weight", "pre.kernel"});
    // Prefixes nest: that of the function called stands in front.
    names.clear();
    LayerParams<double>::for_each(with_prefix("model", with_prefix("layers.0", visit)), bare);
    CHECK(names == Names{"layers.0.model.weight", "layers.0.model.pre.kernel"});
}

TEST_CASE("parameters: walk several side by side") {
    auto params = layer(true);
    const auto before = params;
    const auto gradients = layer(true);
    Names names;
    LayerParams<double>::for_each(
        [&](std::string_view name, auto& p, const auto& g) {
            names.emplace_back(name);
            for (Index n = 0; n < p.size(); ++n)
                p.data()[n] -= 0.5 * g.data()[n];
        },
        params, gradients);
    CHECK(names.size() == 3);
    // params and gradients were equal: every element is halved, and written through.
    LayerParams<double>::for_each(
        [](std::string_view name, const auto& now, const auto& then) {
            for (Index n = 0; n < now.size(); ++n)
                CHECK_MESSAGE(now.data()[n] == 0.5 * then.data()[n], name);
        },
        params, before);
}

TEST_CASE("parameters: optional members must be present in all or none") {
    auto with = layer(true);
    auto without = layer(false);
    const auto walk = [](auto& a, auto& b) {
        LayerParams<double>::for_each([](std::string_view, auto&, auto&) {}, a, b);
    };
    const char* sentence =
        "for_each: post: present in some of the parameter sets only, expected in all or none";
    CHECK_THROWS_WITH_AS(walk(with, without), sentence, ShapeError);
    CHECK_THROWS_WITH_AS(walk(without, with), sentence, ShapeError);
    CHECK_NOTHROW(walk(with, with));
    CHECK_NOTHROW(walk(without, without));
    const auto walk_three = [&](auto& third) {
        LayerParams<double>::for_each([](std::string_view, auto&, auto&, auto&) {}, with, with, third);
    };
    CHECK_NOTHROW(walk_three(with));
    CHECK_THROWS_AS(walk_three(without), ShapeError);
}

TEST_CASE("parameters: count") {
    CHECK(parameter_count(layer(true)) == 3 + 4 + 4);
    CHECK(parameter_count(layer(false)) == 3 + 4);
    // The key-query convolution kernels of the paper's 880M model: 6 layers, pre and post, 16 heads of 6
    // x 11.
    StageParams<ShapeOnly> kernels{make_parameter<ShapeOnly>(16, 6 * 11)};
    CHECK(6 * 2 * parameter_count(kernels) == 12672);
    LayerParams<ShapeOnly> shapes{Shape<1>(7), {Shape<2>(100000000, 100000000)}, {}};
    CHECK(parameter_count(shapes) == 10000000000000007);
    shapes.post = StageParams<ShapeOnly>{Shape<2>(2, 5)};
    CHECK(parameter_count(shapes) == 10000000000000017);
}

TEST_CASE("parameters: cast to another scalar") {
    for (const bool with_post : {true, false}) {
        const auto params = layer(with_post);
        const auto narrow = cast_params<float>(params);
        static_assert(std::is_same_v<decltype(narrow), const LayerParams<float>>);
        REQUIRE(narrow.post.has_value() == with_post);
        check_same_bits("weight", narrow.weight, cast<float>(params.weight));
        check_same_bits("pre", narrow.pre.kernel, cast<float>(params.pre.kernel));
        if (with_post) check_same_bits("post", narrow.post->kernel, cast<float>(params.post->kernel));

        const auto complex = cast_params<std::complex<double>>(params);
        Index compared = 0;
        LayerParams<double>::for_each(
            [&](std::string_view, const auto& z, const auto& x) {
                REQUIRE(z.size() == x.size());
                for (Index n = 0; n < x.size(); ++n, ++compared)
                    CHECK(z.data()[n] == std::complex<double>(x.data()[n], 0));
            },
            complex, params);
        CHECK(compared == parameter_count(params));
    }
    // A struct without optional members needs no with_members_of.
    const StageParams<double> stage{random_tensor(4, 2, 3)};
    check_same_bits("stage", cast_params<float>(stage).kernel, cast<float>(stage.kernel));
}
}  // namespace mta_test_parameters
