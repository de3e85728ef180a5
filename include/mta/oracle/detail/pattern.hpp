// Where the wrong elements of a tensor are, in words: "heads 2,3, rows >= 5", "only diagonal".
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <mta/oracle/detail/judged_positions.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace mta::oracle::detail {

/// What the axes of a tensor are called in a sentence, for each of its axes.
inline std::vector<std::string> axis_names(std::string_view tensor, std::size_t rank) {
    if (rank == 4) return {"batch", "head", "row", is_score_stage(tensor) ? "key" : "column"};
    if (rank == 3 && tensor.ends_with(".kernel")) return {"head", "query tap", "key tap"};
    if (rank == 3 && tensor.ends_with(".mix")) return {"group", "output head", "input head"};
    std::vector<std::string> names(rank, "column");
    if (rank > 1) names[rank - 2] = "row";
    return names;
}

/// The letters under which a report gives an index: "b,h,i,j".
inline std::string axis_letters(std::string_view tensor, std::size_t rank) {
    if (rank == 4) return is_score_stage(tensor) ? "b,h,i,j" : "b,h,i,d";
    if (rank == 3 && tensor.ends_with(".kernel")) return "h,a,c";
    if (rank == 3 && tensor.ends_with(".mix")) return "g,out,in";
    return rank == 2 ? "r,c" : "d";
}

inline std::string plural(const std::string& name) {
    return name == "batch" ? "batches" : name + "s";
}

// The step of an arithmetic progression of at least 3 members that spans `extent`, or 0.
inline Index step_of(const std::vector<Index>& members, Index extent) {
    if (members.size() < 3) return 0;
    const Index step = members[1] - members[0];
    for (std::size_t n = 1; n < members.size(); ++n)
        if (members[n] - members[n - 1] != step) return 0;
    return step >= 2 && members.front() < step && members.back() + step >= extent ? step : 0;
}

/// Which of the indices in `candidates` are in `members` (both sorted); empty when all are.
inline std::string describe_members(const std::string& name, const std::vector<Index>& members,
                                    const std::vector<Index>& candidates) {
    const std::size_t n = members.size();
    if (n == 0 || n == candidates.size()) return "";
    if (n == 1) return sentence(name, " ", members.front(), " only");
    if (std::equal(members.begin(), members.end(), candidates.begin()))
        return sentence(plural(name), " <= ", members.back());
    if (std::equal(members.rbegin(), members.rend(), candidates.rbegin()))
        return sentence(plural(name), " >= ", members.front());
    if (const Index step = step_of(members, candidates.back() + 1)) {
        const std::string from = members.front() > 0 ? sentence(" from ", members.front()) : "";
        return sentence("every ", step, step == 2 ? "nd " : step == 3 ? "rd " : "th ", name, from);
    }
    if (n > 4) return sentence(n, " of ", candidates.size(), " ", plural(name));
    std::string list = plural(name) + " ";
    for (std::size_t m = 0; m < n; ++m)
        list += sentence(m == 0 ? "" : ",", members[m]);
    return list;
}

/// Collects which elements are wrong, then says where they are.
class Pattern {
  public:
    Pattern(const NamedTensor& t, const JudgedPositions& judged) : tensor_{t}, axes_(t.shape.size()) {
        for (std::size_t axis = 0; axis < axes_.size(); ++axis)
            axes_[axis].resize(static_cast<std::size_t>(t.shape[axis]));
        judged.for_each(t, [&](std::size_t n, Index, Index) { visit(n, judged_bit), ++judged_; });
    }

    void wrong(std::size_t n, double got, double want) {
        visit(n, wrong_bit);
        ++wrong_;
        not_a_number_ += std::isnan(got);
        zero_ += got == 0 && want != 0;
        if (tensor_.shape.size() == 4 && is_score_stage(tensor_.name)) note_distance(n);
        if (std::isfinite(got) && std::isfinite(want)) cross_ += got * want, square_ += want * want;
        got_square_ += std::isfinite(got) ? got * got : 0;
    }

    std::string words() const {
        std::string text;
        const auto say = [&](const std::string& part) {
            if (!part.empty()) text += (text.empty() ? "" : ", ") + part;
        };
        if (wrong_ == 0) return text;
        const auto names = axis_names(tensor_.name, axes_.size());
        for (std::size_t axis = 0; axis < axes_.size(); ++axis)
            say(describe_members(names[axis], with(axis, wrong_bit), with(axis, judged_bit)));
        say(distance());
        if (text.empty() && wrong_ == judged_) say("everywhere");
        if (text.empty()) say("scattered");
        say(values());
        return text;
    }

  private:
    static constexpr unsigned char judged_bit = 1, wrong_bit = 2;

    void visit(std::size_t n, unsigned char bit) {
        for (std::size_t axis = axes_.size(); axis-- > 0;) {
            const auto extent = static_cast<std::size_t>(tensor_.shape[axis]);
            axes_[axis][n % extent] |= bit;
            n /= extent;
        }
    }
    std::vector<Index> with(std::size_t axis, unsigned char bit) const {
        std::vector<Index> found;
        for (std::size_t n = 0; n < axes_[axis].size(); ++n)
            if (axes_[axis][n] & bit) found.push_back(static_cast<Index>(n));
        return found;
    }

    // Row minus key: 0 on the diagonal.
    void note_distance(std::size_t n) {
        const Index width = tensor_.shape[3], rows = tensor_.shape[2];
        const Index distance = static_cast<Index>(n) / width % rows - static_cast<Index>(n) % width;
        nearest_ = seen_distance_ ? std::min(nearest_, distance) : distance;
        furthest_ = seen_distance_ ? std::max(furthest_, distance) : distance;
        seen_distance_ = true;
    }
    std::string distance() const {
        if (!seen_distance_ || tensor_.shape[2] < 4) return "";
        if (nearest_ == 0 && furthest_ == 0) return "only diagonal";
        if (furthest_ < 0) return "only above the diagonal";
        if (furthest_ * 2 <= tensor_.shape[2]) return sentence("only keys >= row - ", furthest_);
        if (nearest_ > 0) return sentence("only keys <= row - ", nearest_);
        return "";
    }

    // All NaN, all zero, or one factor times what was expected.
    std::string values() const {
        if (not_a_number_ == wrong_) return "all NaN";
        if (not_a_number_ > 0) return sentence(not_a_number_, " NaN");
        if (zero_ == wrong_) return "all 0";
        if (wrong_ < 4 || square_ == 0 || got_square_ == 0) return "";
        const double factor = cross_ / square_;
        const double unexplained = 1 - cross_ * cross_ / (square_ * got_square_);
        if (unexplained > 1e-6 || std::abs(factor - 1) < 1e-3) return "";
        char text[48];
        std::snprintf(text, sizeof text, "%.4g x expected", factor);
        return text;
    }

    const NamedTensor& tensor_;
    std::vector<std::vector<unsigned char>> axes_;
    std::size_t judged_ = 0, wrong_ = 0, not_a_number_ = 0, zero_ = 0;
    Index nearest_ = 0, furthest_ = 0;
    bool seen_distance_ = false;
    double cross_ = 0, square_ = 0, got_square_ = 0;
};

}  // namespace mta::oracle::detail
