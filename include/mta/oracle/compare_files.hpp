// Compares two safetensors files tensor by tensor: what was expected against what came.
// SPDX-License-Identifier: MIT
//
// Floating-point types are widened to double; integer tensors must be equal. A tensor that is missing is a
// mismatch, an extra one a note. Tensors without elements agree on their shape; if there is nothing else,
// nothing was compared. Tensors are judged in the order in which they are computed, stages first and gradients
// from the output back, so that the first wrong one is where to look.
#pragma once

#include <algorithm>
#include <mta/check/compare.hpp>
#include <mta/io/json.hpp>
#include <mta/io/safetensors.hpp>
#include <mta/oracle/exit_code.hpp>
#include <mta/oracle/results.hpp>
#include <string>
#include <vector>

namespace mta::oracle {

/// One expected tensor and what became of it.
struct TensorComparison {
    std::string name;
    bool missing = false;
    check::Comparison comparison;
};

struct FileComparison {
    std::vector<TensorComparison> tensors;  // in the order of the pipeline, others last
    std::vector<std::string> extra;         // names that only the actual file holds

    /// The first tensor that is wrong or missing, or nullptr.
    const TensorComparison* first_wrong() const {
        for (const auto& t : tensors)
            if (t.missing || t.comparison.verdict == check::Verdict::mismatch) return &t;
        return nullptr;
    }

    /// agrees, mismatch, or mistrusted when no element was compared.
    ExitCode exit_code() const {
        if (first_wrong() != nullptr) return ExitCode::mismatch;
        for (const auto& t : tensors)
            if (t.comparison.compared > 0) return ExitCode::agrees;
        return ExitCode::mistrusted;
    }
};

namespace detail {

// The elements of a floating-point tensor as double, exactly.
inline std::vector<double> widened(const io::StoredTensor& t) {
    io::StoredTensor flat = t;
    flat.shape = {static_cast<std::int64_t>(t.bytes.size() / io::dtype_size(t.dtype))};
    const auto values = io::to_tensor<double, 1>(flat);
    return {values.data(), values.data() + values.size()};
}

inline check::Comparison compare_spans(const std::string& name, std::span<const double> got,
                                       std::span<const double> want, const std::vector<Index>& shape,
                                       check::Tolerance tolerance) {
    return check::compare_elements(name, got, want, shape, tolerance);
}

inline check::Comparison kinds_differ(const io::StoredTensor& got, const io::StoredTensor& want) {
    check::Comparison c;
    c.verdict = check::Verdict::mismatch;
    c.error = std::numeric_limits<double>::infinity();
    c.sentence = mta::detail::sentence(want.name, ": got dtype ", io::dtype_name(got.dtype), ", expected ",
                                       io::dtype_name(want.dtype));
    return c;
}

inline check::Comparison compare_stored(const io::StoredTensor& got, const io::StoredTensor& want,
                                        check::Tolerance tolerance) {
    const std::vector<Index> got_shape(got.shape.begin(), got.shape.end());
    const std::vector<Index> want_shape(want.shape.begin(), want.shape.end());
    if (got_shape != want_shape) return check::detail::shapes_differ(want.name, got_shape, want_shape);
    if (io::is_floating(got.dtype) != io::is_floating(want.dtype)) return kinds_differ(got, want);
    if (io::is_floating(want.dtype)) {
        const auto g = widened(got), w = widened(want);
        return compare_spans(want.name, g, w, want_shape, tolerance);
    }
    std::vector<double> g, w;
    for (std::size_t n = 0; n < got.bytes.size() / io::dtype_size(got.dtype); ++n) {
        const auto a = io::detail::integer_element(got, n), b = io::detail::integer_element(want, n);
        w.push_back(static_cast<double>(b));
        g.push_back(static_cast<double>(a));
        // Beyond 2^53 different integers may round to one double.
        if (a != b && g.back() == w.back()) g.back() = std::nextafter(w.back(), a > b ? HUGE_VAL : -HUGE_VAL);
    }
    return compare_spans(want.name, g, w, want_shape, {.relative = 0, .absolute = 0});
}

}  // namespace detail

/// Judges every tensor of `expected`.
inline FileComparison compare_files(const io::SafetensorsFile& expected, const io::SafetensorsFile& actual,
                                    check::Tolerance tolerance = {}) {
    FileComparison result;
    for (const auto& want : expected.tensors) {
        const auto* got = actual.find(want.name);
        if (got != nullptr) {
            result.tensors.push_back({want.name, false, detail::compare_stored(*got, want, tolerance)});
            continue;
        }
        TensorComparison missing{want.name, true, {}};
        missing.comparison.verdict = check::Verdict::mismatch;
        missing.comparison.error = std::numeric_limits<double>::infinity();
        missing.comparison.sentence = want.name + ": missing, expected it in the actual file";
        result.tensors.push_back(std::move(missing));
    }
    std::stable_sort(result.tensors.begin(), result.tensors.end(), [](const auto& a, const auto& b) {
        return pipeline_position(a.name) < pipeline_position(b.name);
    });
    for (const auto& got : actual.tensors)
        if (expected.find(got.name) == nullptr) result.extra.push_back(got.name);
    return result;
}

/// The comparison as data: schema, verdict, and for each tensor its error, bound, worst element and sentence.
/// Numbers that are not finite are written as text, since JSON has none.
inline io::Json to_json(const FileComparison& files, check::Tolerance tolerance) {
    const auto number = [](double x) -> io::Json {
        if (std::isfinite(x)) return x;
        return std::isnan(x) ? "nan" : x > 0 ? "inf" : "-inf";
    };
    const ExitCode code = files.exit_code();
    io::Json j{{"schema", "mta.compare/1"},
               {"verdict", code == ExitCode::agrees     ? "agrees"
                           : code == ExitCode::mismatch ? "mismatch"
                                                        : "mistrusted"},
               {"first_wrong",
                files.first_wrong() == nullptr ? io::Json(nullptr) : io::Json(files.first_wrong()->name)},
               {"rtol", number(tolerance.relative)},
               {"atol", number(tolerance.absolute)},
               {"tensors", io::Json::array()},
               {"extra", files.extra}};
    for (const auto& t : files.tensors) {
        const auto& c = t.comparison;
        j["tensors"].push_back({{"name", t.name},
                                {"agrees", c.verdict != check::Verdict::mismatch},
                                {"missing", t.missing},
                                {"compared", c.compared},
                                {"beyond", c.beyond},
                                {"not_finite", c.not_finite},
                                {"error", number(c.error)},
                                {"bound", number(c.bound)},
                                {"where", c.where},
                                {"got", number(c.got)},
                                {"expected", number(c.want)},
                                {"sentence", c.sentence}});
    }
    return j;
}

}  // namespace mta::oracle
