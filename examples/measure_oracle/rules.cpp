// The rules of rules.hpp.
// SPDX-License-Identifier: MIT
#include "rules.hpp"

#include <cmath>

namespace mta::program {

using namespace mta::oracle;

bool flash_objects(const Problem& p, const Results& got, const Expected& expected) {
    const oracle::detail::JudgedPositions judged(p);
    for (const auto& t : got.tensors) {
        const auto low = expected.error_of_low_precision(t.name);
        if (!low) continue;
        const double error = oracle::detail::largest_error(t, expected.reference.at(t.name), judged);
        if (!(error <= 2 * *low)) return true;
    }
    return false;
}

bool liger_objects(const Problem& p, const Results& got, const Expected& expected) {
    const double tolerance = p.dtype == io::DType::F32 ? 1e-4 : 2e-2;
    for (const auto& t : got.tensors) {
        const auto& want = expected.reference.at(t.name).values;
        for (std::size_t n = 0; n < want.size(); ++n)
            if (!(std::abs(t.values[n] - want[n]) <= tolerance + tolerance * std::abs(want[n]))) return true;
    }
    return false;
}

namespace {

double loss(const Problem& moved, const Deviation& d) {
    Problem forward = moved;
    forward.d_out.reset();
    auto exact = Arithmetic::exact();
    const auto out = run_model(forward, exact, d).at("out").values;
    double sum = 0;
    for (std::size_t n = 0; n < out.size(); ++n)
        sum += out[n] * moved.d_out->data()[n];
    return sum;
}

}  // namespace

bool gradcheck_objects(const Problem& p, const Deviation& d) {
    constexpr double eps = 1e-6, atol = 1e-5, rtol = 1e-3;
    auto exact = Arithmetic::exact();
    const Results at = run_model(p, exact, d);
    Problem ahead = p, behind = p;
    bool objects = false;
    std::uint64_t stream = 0;
    for_each_input(
        [&](std::string_view name, auto& x, auto& y, const auto& origin) {
            if (name == "d_out") return;
            Random random(23, ++stream);
            const auto& gradient = at.at("grad." + std::string(name)).values;
            std::vector<double> direction(gradient.size());
            double norm = 0, claimed = 0;
            for (double& v : direction)
                v = random.uniform(-1, 1), norm += v * v;
            for (std::size_t n = 0; n < direction.size(); ++n) {
                direction[n] /= std::sqrt(norm);
                claimed += gradient[n] * direction[n];
                x.data()[n] += eps * direction[n], y.data()[n] -= eps * direction[n];
            }
            const double measured = (loss(ahead, d) - loss(behind, d)) / (2 * eps);
            if (!(std::abs(claimed - measured) <= atol + rtol * std::abs(measured))) objects = true;
            std::copy_n(origin.data(), origin.size(), x.data());
            std::copy_n(origin.data(), origin.size(), y.data());
        },
        ahead, behind, p);
    return objects;
}

}  // namespace mta::program
