// Tests of oracle/compare_files.hpp: every verdict, every type, and differences that a double cannot show.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>
#include <limits>
#include <mta/oracle/compare_files.hpp>
#include <string>
#include <vector>

#include "support/checks.hpp"

namespace mta_test_compare_files {
using namespace mta;
using namespace mta::oracle;
using io::DType;
using io::SafetensorsFile;
using io::StoredTensor;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
const double nan_value = std::nan("");

/// Values as a vector tensor of a floating-point type.
StoredTensor reals(const std::string& name, const std::vector<double>& values, DType dtype = DType::F64) {
    auto t = zeros<double>(static_cast<Index>(values.size()));
    std::copy(values.begin(), values.end(), t.data());
    return io::from_tensor(name, t, dtype);
}

StoredTensor integers(const std::string& name, const std::vector<std::int64_t>& values,
                      DType dtype = DType::I64) {
    auto t = zeros<std::int64_t>(static_cast<Index>(values.size()));
    std::copy(values.begin(), values.end(), t.data());
    return io::from_integer_tensor(name, t, dtype);
}

StoredTensor with_shape(StoredTensor t, std::vector<std::int64_t> shape) {
    t.shape = std::move(shape);
    return t;
}

SafetensorsFile file_of(std::vector<StoredTensor> tensors) {
    SafetensorsFile file;
    file.tensors = std::move(tensors);
    return file;
}

/// The verdict on one tensor.
check::Comparison judged(const StoredTensor& want, const StoredTensor& got, check::Tolerance tolerance = {}) {
    const auto result = compare_files(file_of({want}), file_of({got}), tolerance);
    REQUIRE(result.tensors.size() == 1);
    CHECK(result.extra.empty());
    return result.tensors.front().comparison;
}

bool agrees(const StoredTensor& want, const StoredTensor& got, check::Tolerance tolerance = {}) {
    return judged(want, got, tolerance).verdict == check::Verdict::agrees;
}

void check_contains(const std::string& sentence, const std::string& part) {
    CHECK_MESSAGE(sentence.find(part) != sentence.npos, "got: ", sentence, "\nexpected to contain: ", part);
}

}  // namespace

TEST_CASE("compare_files: hand values") {
    // max|want| = 4, so 4e-12 is accepted.
    const auto want = reals("out", {1, -4, 2, 0});
    CHECK(agrees(want, reals("out", {1 + 3e-12, -4, 2, 3e-12})));
    const auto c = judged(want, reals("out", {1, -4, 2.5, 5e-12}));
    CHECK(c.verdict == check::Verdict::mismatch);
    CHECK(c.beyond == 2);
    CHECK(c.compared == 4);
    CHECK(c.where == std::vector<Index>{2});
    CHECK(c.got == 2.5);
    CHECK(c.want == 2);
    CHECK(c.error == 0.125);  // 0.5 / 4
    CHECK(agrees(want, reals("out", {1, -4, 2.5, 0}), {.relative = 0.125}));
    CHECK_FALSE(agrees(want, reals("out", {1, -4, 2.5, 0}), {.relative = 0.12}));
    CHECK(agrees(want, reals("out", {1, -4, 2.5, 0}), {.relative = 0, .absolute = 0.5}));
    CHECK(judged(with_shape(want, {2, 1, 2}), with_shape(reals("out", {1, -4, 2, 1}), {2, 1, 2})).where ==
          std::vector<Index>{1, 0, 1});
}

TEST_CASE("compare_files: the first wrong tensor in the order of the pipeline") {
    const std::vector<std::string> in_order{
        "stage.logits",    "stage.pre_conv",  "stage.weights",    "stage.gate",     "out",
        "stage.d_gate",    "stage.d_weights", "stage.d_pre_conv", "stage.d_logits", "grad.k",
        "grad.pre.kernel", "something"};
    std::vector<StoredTensor> right, wrong;
    for (const auto& name : in_order) {
        right.push_back(reals(name, {1}));
        wrong.push_back(reals(name, {2}));
    }
    auto expected = right;
    std::reverse(expected.begin(), expected.end());
    std::swap(expected[1], expected[2]);  // the two gradients keep the order of the file
    for (std::size_t first = 0; first < in_order.size(); ++first) {
        auto actual = wrong;
        std::copy_n(right.begin(), first, actual.begin());
        const auto result = compare_files(file_of(expected), file_of(actual));
        REQUIRE(result.first_wrong() != nullptr);
        CHECK(result.first_wrong()->name == in_order[first]);
    }
    CHECK(compare_files(file_of(expected), file_of(right)).first_wrong() == nullptr);
}

TEST_CASE("compare_files: the whole file") {
    const auto a = reals("a", {1, 2}), b = reals("b", {3});
    CHECK(compare_files(file_of({a, b}), file_of({b, a})).exit_code() == ExitCode::agrees);

    const auto missing = compare_files(file_of({a, b}), file_of({a}));
    CHECK(missing.exit_code() == ExitCode::mismatch);
    REQUIRE(missing.tensors.size() == 2);
    CHECK_FALSE(missing.tensors[0].missing);
    CHECK(missing.tensors[1].missing);
    CHECK(missing.tensors[1].comparison.sentence == "b: missing, expected it in the actual file");
    CHECK(missing.tensors[1].comparison.error == inf);

    const auto extra = compare_files(file_of({a}), file_of({b, a, reals("c", {1})}));
    CHECK(extra.exit_code() == ExitCode::agrees);
    CHECK(extra.extra == std::vector<std::string>{"b", "c"});

    // One wrong tensor spoils a file of right ones, wherever it stands.
    const auto wrong = reals("a", {1, 3});
    CHECK(compare_files(file_of({a, b}), file_of({wrong, b})).exit_code() == ExitCode::mismatch);
    CHECK(compare_files(file_of({b, a}), file_of({wrong, b})).exit_code() == ExitCode::mismatch);
}

TEST_CASE("compare_files: edge shapes, nothing to compare") {
    const auto empty = with_shape(reals("e", {}), {2, 0, 3}), full = reals("f", {1});
    const auto nothing = compare_files(file_of({empty}), file_of({empty}));
    CHECK(nothing.exit_code() == ExitCode::mistrusted);
    CHECK(nothing.tensors.front().comparison.verdict == check::Verdict::nothing);
    CHECK(compare_files(file_of({}), file_of({})).exit_code() == ExitCode::mistrusted);
    CHECK(compare_files(file_of({}), file_of({full})).exit_code() == ExitCode::mistrusted);
    CHECK(compare_files(file_of({empty, full}), file_of({empty, full})).exit_code() == ExitCode::agrees);
    CHECK(compare_files(file_of({empty, full}), file_of({empty})).exit_code() == ExitCode::mismatch);
    CHECK(compare_files(file_of({empty}), file_of({with_shape(empty, {2, 3, 0})})).exit_code() ==
          ExitCode::mismatch);
    const auto no_integers = with_shape(integers("e", {}), {0});
    CHECK(compare_files(file_of({no_integers}), file_of({no_integers})).exit_code() == ExitCode::mistrusted);
    // A scalar has no dimensions and one element.
    const auto scalar = with_shape(reals("s", {2}), {});
    CHECK(agrees(scalar, scalar));
    CHECK(judged(scalar, with_shape(reals("s", {3}), {})).where.empty());
    CHECK(judged(scalar, reals("s", {2})).sentence == "s: got shape [1], expected shape []");
    CHECK(judged(reals("t", {1, 2}), reals("t", {1, 2, 3})).sentence ==
          "t: got shape [3], expected shape [2]");
    CHECK(judged(reals("t", {1, 2}), reals("t", {1, 2, 3})).error == inf);
}

TEST_CASE("compare_files: zeros demand zeros") {
    CHECK(agrees(reals("z", {0, 0}), reals("z", {0, -0.0})));
    const auto c = judged(reals("z", {0, 0}), reals("z", {0, 5e-324}));
    CHECK(c.verdict == check::Verdict::mismatch);
    CHECK(c.error == inf);
    CHECK(agrees(reals("z", {0, 0}), reals("z", {0, 1e-9}), {.absolute = 1e-9}));
}

TEST_CASE("compare_files: NaN and infinities never agree") {
    for (const double bad : {nan_value, inf, -inf}) {
        CAPTURE(bad);
        for (const DType dtype : {DType::F64, DType::F32, DType::F16, DType::BF16}) {
            const auto clean = reals("t", {1, 2, 3}, dtype), spoilt = reals("t", {1, bad, 3}, dtype);
            CHECK(judged(clean, spoilt, {.relative = 1, .absolute = 1e300}).not_finite == 1);
            CHECK_FALSE(agrees(clean, spoilt, {.relative = 1, .absolute = 1e300}));
            CHECK_FALSE(agrees(spoilt, clean, {.relative = 1, .absolute = 1e300}));
            CHECK_FALSE(agrees(spoilt, spoilt));
            CHECK(judged(clean, spoilt).where == std::vector<Index>{1});
        }
    }
    for (const double tolerance : {nan_value, inf, -1e-3}) {
        CHECK_FALSE(agrees(reals("t", {1}), reals("t", {1}), {.relative = tolerance}));
        CHECK_FALSE(agrees(reals("t", {1}), reals("t", {1}), {.absolute = tolerance}));
    }
}

TEST_CASE("compare_files: types are widened") {
    // 0.5, -3 and 65504 are exact in all four types, 0.1 in none.
    const std::vector<double> exact{0.5, -3, 96}, inexact{0.1, 0.2};
    for (const DType want : {DType::F64, DType::F32, DType::F16, DType::BF16})
        for (const DType got : {DType::F64, DType::F32, DType::F16, DType::BF16}) {
            CHECK(agrees(reals("t", exact, want), reals("t", exact, got), {.relative = 0}));
            CHECK(agrees(reals("t", inexact, want), reals("t", inexact, got), {.relative = 0}) ==
                  (want == got));
        }
    const auto c = judged(reals("t", {0.1}), reals("t", {0.1}, DType::F32));
    CHECK(c.got == static_cast<double>(0.1f));
    CHECK(judged(reals("t", {65504}), reals("t", {65504}, DType::F16)).got == 65504);

    const auto kinds = judged(reals("t", {1}), integers("t", {1}));
    CHECK(kinds.verdict == check::Verdict::mismatch);
    CHECK(kinds.sentence == "t: got dtype I64, expected F64");
    CHECK(judged(integers("t", {1}, DType::U8), reals("t", {1}, DType::BF16)).sentence ==
          "t: got dtype BF16, expected U8");
    for (const DType want : {DType::I64, DType::I32, DType::U8, DType::BOOL})
        for (const DType got : {DType::I64, DType::I32, DType::U8, DType::BOOL}) {
            CHECK(agrees(integers("t", {1, 0, 1}, want), integers("t", {1, 0, 1}, got)));
            CHECK_FALSE(agrees(integers("t", {1, 0, 1}, want), integers("t", {1, 0, 0}, got)));
        }
}

TEST_CASE("compare_files: integers are equal or not") {
    const std::int64_t two53 = std::int64_t{1} << 53, most = std::numeric_limits<std::int64_t>::max();
    const std::vector<std::int64_t> large{two53, two53 + 3, -two53 - 1, most, -most - 1};
    CHECK(agrees(integers("n", large), integers("n", large)));
    for (std::size_t at = 0; at < large.size(); ++at)
        for (const std::int64_t step : {-1, 1}) {
            if ((step > 0 && large[at] == most) || (step < 0 && large[at] == -most - 1)) continue;
            auto moved = large;
            moved[at] += step;
            // No tolerance excuses an integer.
            const auto c = judged(integers("n", large), integers("n", moved), {.relative = 1, .absolute = 1});
            CHECK(c.verdict == check::Verdict::mismatch);
            CHECK(c.beyond == 1);
            CHECK(c.where == std::vector<Index>{static_cast<Index>(at)});
        }
    // Where a double can show them, the values are the true ones.
    const auto c = judged(integers("n", {7, 5}), integers("n", {7, 3}));
    CHECK(c.got == 3);
    CHECK(c.want == 5);
    check_contains(c.sentence, "got 3, expected 5");
}

TEST_CASE("compare_files: as data") {
    const auto file =
        file_of({reals("good", {1, 2}), reals("bad", {1, 2}), reals("gone", {1}), reals("nan", {1})});
    const auto actual = file_of(
        {reals("good", {1, 2}), reals("bad", {1, 3}), reals("nan", {nan_value}), reals("\xc3\xbc\"\n", {1})});
    const check::Tolerance tolerance{.relative = 1e-3, .absolute = 0.5};
    const auto text = to_json(compare_files(file, actual, tolerance), tolerance).dump();
    const auto j = io::parse_json(text, "comparison");
    CHECK(j.at("schema") == "mta.compare/1");
    CHECK(j.at("verdict") == "mismatch");
    CHECK(j.at("first_wrong") == "bad");
    CHECK(j.at("rtol") == 1e-3);
    CHECK(j.at("atol") == 0.5);
    CHECK(j.at("extra") == io::Json::array({"\xc3\xbc\"\n"}));
    const auto& tensors = j.at("tensors");
    REQUIRE(tensors.size() == 4);
    CHECK(tensors[0].at("name") == "good");
    CHECK(tensors[0].at("agrees") == true);
    CHECK(tensors[0].at("error") == 0.0);
    CHECK(tensors[1].at("agrees") == false);
    CHECK(tensors[1].at("error") == 0.5);  // |3 - 2| / 2
    CHECK(tensors[1].at("bound") == 0.5 + 1e-3 * 2);
    CHECK(tensors[1].at("beyond") == 1);
    CHECK(tensors[1].at("compared") == 2);
    CHECK(tensors[1].at("where") == io::Json::array({1}));
    CHECK(tensors[1].at("got") == 3.0);
    CHECK(tensors[1].at("expected") == 2.0);
    CHECK(tensors[1].at("missing") == false);
    CHECK(tensors[2].at("missing") == true);
    CHECK(tensors[2].at("agrees") == false);
    CHECK(tensors[2].at("error") == "inf");
    CHECK(tensors[2].at("sentence") == "gone: missing, expected it in the actual file");
    CHECK(tensors[3].at("got") == "nan");
    CHECK(tensors[3].at("not_finite") == 1);
}

TEST_CASE("compare_files: as data, the other verdicts and odd numbers") {
    const auto one = file_of({reals("t", {1})}), none = file_of({});
    CHECK(to_json(compare_files(one, one), {}).at("verdict") == "agrees");
    CHECK(to_json(compare_files(one, one), {}).at("first_wrong").is_null());
    CHECK(to_json(compare_files(none, one), {}).at("verdict") == "mistrusted");
    const auto odd = to_json(compare_files(one, one), {.relative = nan_value, .absolute = -inf});
    CHECK(odd.at("rtol") == "nan");
    CHECK(odd.at("atol") == "-inf");
    const auto negative = to_json(compare_files(one, file_of({reals("t", {-inf})})), {});
    CHECK(negative.at("tensors")[0].at("got") == "-inf");
}
}  // namespace mta_test_compare_files
