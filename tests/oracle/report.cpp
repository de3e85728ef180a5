// Tests of oracle/report.hpp: the screen, the JSON document and JUnit, with hostile names.
// SPDX-License-Identifier: MIT
#include <limits>
#include <mta/oracle/report.hpp>

#include "judge_support.hpp"

namespace mta_test_report {
namespace {

using namespace mta;
using namespace mta::oracle;

constexpr double inf = std::numeric_limits<double>::infinity();
const RoundingProfile fp32 = parse_rounding("fp32");

Report report_on(const Candidate& candidate, const std::vector<const char*>& descriptors,
                 bool diagnose = true) {
    CheckOptions options;
    options.rounding = fp32;
    options.suite = "suite smoke";
    options.arguments = "--rounding fp32";
    options.diagnose = diagnose;
    options.repeats = 0;
    std::vector<Case> cases;
    for (const char* d : descriptors)
        cases.push_back(parse_case(d));
    return oracle::check(candidate, check_cases(cases), options);
}

Candidate wrong_model(const char* bug) {
    auto candidate = model_candidate(deviation(bug), fp32, /*stages=*/true);
    candidate.reproduce = "--lib ./x.so --symbol f";
    return candidate;
}

const Report& wrong_report() {
    static const Report r =
        report_on(wrong_model("pre.kernel flipped on the key axis"), {test::every_stage, test::packed});
    return r;
}
const Report& right_report() {
    static const Report r = report_on(model_candidate({}, fp32, true), {test::every_stage, test::packed});
    return r;
}

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

std::size_t line_count(const std::string& text) {
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

/// A crash whose name and sentence try to break out of every format.
Report hostile_report() {
    Report r;
    r.candidate = "<evil>&\"'\x1b[31m\n\xff";
    r.verdict = CheckVerdict::crashed;
    CaseReport c;
    c.name = "case <1> & \"2\"";
    c.verdict = CheckVerdict::crashed;
    c.sentence = "]]> \x01 &amp; \n caf\xc3\xa9 \xff";
    r.cases.push_back(c);
    return r;
}

}  // namespace

TEST_CASE("a failing report is one screen that names stage, bug, trust and how to do it again") {
    const std::string text = to_text(wrong_report());
    CHECK(text.starts_with(std::string("FAIL  ") + test::every_stage + "\n"));
    CHECK(has(text, "  first wrong stage : pre_conv (local)      upstream logits ok, "));
    CHECK(has(text, "  worst err/tol  where (b,h,i,j)  got "));
    CHECK(has(text, "  consistent with   : pre.kernel flipped on the key axis ("));
    CHECK(has(text, "next best: "));
    CHECK(has(text, "  trust             : this case detects "));
    CHECK(has(text, std::string("  reproduce         : mta-oracle check --case '") + test::every_stage +
                        "' --rounding fp32 --lib ./x.so --symbol f\n"));
    CHECK(has(text, std::string("FAIL  ") + std::string(test::packed).substr(0, 60)));
    CHECK(has(text, "mismatch: 0/2 cases agree"));
    CHECK(text.ends_with("exit code 1\n"));
    CHECK(line_count(text) <= 40);
}

TEST_CASE("a case whose values are wrong is shown before one that fails a probe alone, and was asked") {
    Report r = wrong_report();
    CaseReport probe = r.cases.front();
    probe.name = "probe";
    probe.judgement = {};
    r.cases.insert(r.cases.begin(), probe);
    CHECK(r.shown() == &r.cases[1]);
    CHECK(r.first_wrong_stage() == "pre_conv");
    CHECK(has(to_text(r), "   (2 of 3 cases asked)\n"));
    const Report many = report_on(wrong_model("pre.kernel flipped on the key axis"),
                                  {test::every_stage, test::packed, test::packed, test::packed, test::packed,
                                   test::packed, test::packed, test::packed});
    CHECK(many.asked_cases == 6);
    CHECK(many.shown_power);  // the shown case is among them, although it is the largest
}

TEST_CASE("an agreeing report says how closely and how far to trust it") {
    const std::string text = to_text(right_report());
    CHECK(has(text, "  worst             : "));
    CHECK(has(text, "x that of a low-precision reference (decides nothing; "));
    CHECK(has(text, "  trust             : these cases detect "));
    CHECK(has(text, "agrees: 2/2 cases agree"));
    CHECK(line_count(text) <= 8);
}

TEST_CASE("what the wrong stage really computes stands below the bug, in the JSON document in full") {
    const std::string text = to_text(wrong_report());
    CHECK(has(text, "  effective taps    : pre.kernel, head "));
    CHECK(has(text, " (mirrored on keys) = "));
    CHECK(text.find("effective") > text.find("consistent with"));
    const Json j = to_json(wrong_report());
    REQUIRE(j["effects"].size() == 1);
    const Json& effect = j["effects"][0];
    CHECK(effect["reading"] == "pre.kernel");
    CHECK(effect["relation"] == "mirrored on keys");
    CHECK(effect["found"].size() == 3);
    CHECK(effect["found"][0].get<double>() == doctest::Approx(effect["expected"][2].get<double>()));
    CHECK(has(text, effect["text"].get<std::string>()));
    CHECK(to_json(right_report())["effects"].empty());
    Report r = hostile_report();
    r.effects.push_back({"pre.mix", "other", "head 0", {inf, std::nan("")}, {1, 2}});
    CHECK(to_json(r)["effects"][0]["found"][0] == "inf");
    CHECK(to_json(r)["effects"][0]["found"][1] == "nan");
}

TEST_CASE("the verdict in one sentence") {
    CHECK(to_sentence(right_report()) == "agrees: 2 of 2 cases agree");
    CHECK(has(to_sentence(wrong_report()), std::string("mismatch: ") + test::every_stage + ": "));
    CHECK(has(to_sentence(wrong_report()), "x tolerance"));
    CHECK(to_sentence(hostile_report()).find("crashed: case <1> & \"2\": ]]>") == 0);
    Report r;
    r.verdict = CheckVerdict::mistrusted;
    r.trust.reasons = {"every row has one key"};
    CHECK(to_sentence(r) == "mistrusted: every row has one key");
    r.verdict = CheckVerdict::unsupported;
    CaseReport refused;
    refused.name = "sdpa";
    refused.sentence = "only 8 heads";
    refused.verdict = CheckVerdict::unsupported;
    r.cases.push_back(refused);
    CHECK(to_sentence(r) == "unsupported: sdpa: only 8 heads");
}

TEST_CASE("numbers are short, and columns stand below each other") {
    CHECK(oracle::detail::multiple(0.3149) == "0.31");
    CHECK(oracle::detail::multiple(8123) == "8.1e+03");
    CHECK(oracle::detail::multiple(inf) == "inf");
    CHECK(oracle::detail::index_text({1, 2, 17, 3}) == "(1,2,17,3)");
    CHECK(oracle::detail::shortened("abcdefgh", 6) == "abc...");
    oracle::detail::Columns columns;
    columns.row({"a", "bb", "c"});
    columns.row({"aaa", "b", "c"});
    CHECK(columns.text("> ") == "> a    bb  c\n> aaa  b   c\n");
}

TEST_CASE("the JSON document has every member of the schema") {
    const Json j = io::parse_json(to_json_text(wrong_report()), "report");
    CHECK(j["schema"] == "mta.check/1");
    CHECK(j["verdict"] == "mismatch");
    CHECK(j["exit_code"] == 1);
    CHECK(j["first_wrong_stage"] == "pre_conv");
    CHECK(j["first_wrong"]["direction"] == "forward");
    CHECK(j["first_wrong"]["upstream"] == "stage.logits");
    CHECK(j["consistent_with"][0]["name"] == "pre.kernel flipped on the key axis");
    for (const char* key : {"sentence", "tensors", "of_tensors", "cases", "of_cases"})
        CHECK(j["consistent_with"][0].contains(key));
    CHECK(j.contains("next_best"));
    CHECK(j["cases"].size() == 2);
    const Json& tensor = j["cases"][0]["tensors"][1];
    CHECK(tensor["name"] == "stage.pre_conv");
    CHECK(tensor["agrees"] == false);
    for (const char* key :
         {"error", "where", "got", "expected", "tolerance", "compared", "beyond", "pattern", "local"})
        CHECK(tensor.contains(key));
    CHECK(tensor["error"].get<double>() > 1);
    CHECK(j["trust"]["trusted"].is_null());
    const Json right = to_json(right_report());
    CHECK(right["verdict"] == "agrees");
    CHECK(right["first_wrong_stage"].is_null());
    CHECK(right["consistent_with"].empty());
    CHECK(right["trust"]["trusted"] == true);
    CHECK(right["trust"]["known"].get<int>() > 100);
}

TEST_CASE("gradients that are wrong first are named by their tensor") {
    const Report r = report_on(wrong_model("softmax backward: row term missing"), {test::every_stage}, false);
    const Json j = to_json(r);
    CHECK(j["first_wrong"]["direction"] == "backward");
    CHECK(j["first_wrong"]["stage"] == "weights");
    CHECK(j["first_wrong_stage"] == "d_pre_mix");
}

TEST_CASE("numbers that are not finite are texts, since JSON has none") {
    Report r = hostile_report();
    TensorVerdict t;
    t.name = "out";
    t.state = TensorVerdict::State::wrong;
    t.worst.error = inf;
    t.worst.got = std::nan("");
    t.worst.expected = -inf;
    r.cases.front().judgement.tensors.push_back(t);
    const Json j = to_json(r)["cases"][0]["tensors"][0];
    CHECK(j["error"] == "inf");
    CHECK(j["got"] == "nan");
    CHECK(j["expected"] == "-inf");
}

TEST_CASE("hostile names break neither the screen, nor JSON, nor XML") {
    const Report r = hostile_report();
    for (const char c : to_text(r))
        CHECK((c == '\n' || (c >= 0x20 && c < 0x7F)));
    CHECK_NOTHROW(io::parse_json(to_json_text(r), "report"));
    const std::string xml = to_junit(r);
    CHECK(has(xml, "classname=\"&lt;evil&gt;&amp;&quot;&apos;?[31m&#10;?\""));
    CHECK(has(xml, "name=\"case &lt;1&gt; &amp; &quot;2&quot;\""));
    CHECK(!has(xml, "]]>"));
    for (const char c : xml)
        CHECK((c == '\n' || (c >= 0x20 && c < 0x7F)));
}

TEST_CASE("JUnit: one testcase per case, each kind of verdict under its element") {
    Report r;
    for (const auto v : {CheckVerdict::agrees, CheckVerdict::mismatch, CheckVerdict::crashed,
                         CheckVerdict::unsupported, CheckVerdict::contract, CheckVerdict::nondeterministic}) {
        CaseReport c;
        c.name = std::string(name_of(v));
        c.verdict = v;
        r.cases.push_back(c);
    }
    r.verdict = CheckVerdict::crashed;
    const std::string xml = to_junit(r);
    CHECK(has(xml, "tests=\"6\" failures=\"2\" errors=\"2\" skipped=\"1\""));
    CHECK(has(xml, "name=\"agrees\" time=\"0.000000\"/>"));
    CHECK(has(xml, "<failure message=\"mismatch"));
    CHECK(has(xml, "<error message=\"crashed"));
    CHECK(has(xml, "<error message=\"contract"));
    CHECK(has(xml, "<failure message=\"nondeterministic"));
    CHECK(has(xml, "<skipped message=\"unsupported"));
    Report mistrusted;
    mistrusted.verdict = CheckVerdict::mistrusted;
    mistrusted.trust.reasons = {"every row has one key"};
    CHECK(has(to_junit(mistrusted), "tests=\"1\" failures=\"1\""));
    CHECK(has(to_junit(mistrusted), "mistrusted: every row has one key"));
}

TEST_CASE("exit codes are those of the contract") {
    const auto code = [](CheckVerdict v) { return static_cast<int>(exit_code(v)); };
    CHECK(code(CheckVerdict::agrees) == 0);
    CHECK(code(CheckVerdict::mismatch) == 1);
    CHECK(code(CheckVerdict::crashed) == 4);
    CHECK(code(CheckVerdict::mistrusted) == 5);
    CHECK(code(CheckVerdict::contract) == 6);
    CHECK(code(CheckVerdict::nondeterministic) == 7);
    CHECK(code(CheckVerdict::unsupported) == 8);
}
}  // namespace mta_test_report
