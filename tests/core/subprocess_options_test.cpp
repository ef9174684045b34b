// SPDX-License-Identifier: MIT
#include <plait/core/subprocess_options.hpp>

#include "support/catch.hpp"

#include <array>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

using namespace plait;
using Texts = std::vector<std::string>;

namespace {

Texts words_of(Command command) { return command.copy(); }
Texts entries_of(EnvironmentView view) { return view.copy(); }
detail::ProgramPlan plan_of(const Command& command, SubprocessOptions options = {}) { return {command, options}; }

}  // namespace

TEST_CASE("a command is words in braces of every kind, a single word, or a range of strings") {
    const std::string name = "file name";
    const std::string_view view = "view";
    const char* const pointer = "pointer";
    CHECK(words_of({"cp", name, view, pointer, std::string("to")}) ==
          Texts{"cp", "file name", "view", "pointer", "to"});
    CHECK(words_of("ls") == Texts{"ls"});
    CHECK(words_of({"ls"}) == Texts{"ls"});
    CHECK(words_of(name) == Texts{"file name"});
    const Texts texts{"a", "b"};
    CHECK(words_of(texts) == texts);
    CHECK(words_of(std::span{texts}) == texts);
    CHECK(words_of(std::array{"a", "b"}) == texts);
    const char* const array[] = {"a", "b"};
    CHECK(words_of(array) == texts);
    CHECK(words_of({"", "b c"}) == Texts{"", "b c"});
}

TEST_CASE("an environment is texts in braces, a range of them, or a map, and one that is empty is given too") {
    CHECK(entries_of({"A=1"}) == Texts{"A=1"});
    CHECK(entries_of({"A=1", "B="}) == Texts{"A=1", "B="});
    CHECK(entries_of(Texts{"A=1"}) == Texts{"A=1"});
    CHECK(entries_of(std::map<std::string, std::string>{{"A", "1"}, {"B", "2=3"}}) == Texts{"A=1", "B=2=3"});
    CHECK(entries_of(std::vector<std::pair<const char*, std::string_view>>{{"A", "1"}}) == Texts{"A=1"});
    CHECK_FALSE(EnvironmentView{}.is_given());
    const Texts none;
    CHECK(EnvironmentView{none}.is_given());
    CHECK(entries_of(none).empty());
}

TEST_CASE("options can stand in an awaiting expression: they are trivially destructible") {
    STATIC_REQUIRE(std::is_trivially_destructible_v<Command>);
    STATIC_REQUIRE(std::is_trivially_destructible_v<SubprocessOptions>);
    STATIC_REQUIRE(SubprocessOptions{}.standard_output == INHERIT);
    STATIC_REQUIRE(StandardStream{4}.handle() == 4);
    STATIC_REQUIRE_FALSE(StandardStream{4} == PIPE);
}

TEST_CASE("what is to be started has copies of all texts") {
    std::string word = "word";
    std::string directory = "folder";
    Texts variables{"A=1"};
    const auto plan = plan_of({word}, {.standard_error = STANDARD_OUTPUT,
                                       .environment = variables,
                                       .extra_environment = {"B=2"},
                                       .working_directory = directory,
                                       .start_new_session = true});
    word = directory = "gone";
    variables.clear();
    CHECK(plan.words == Texts{"word"});
    CHECK(plan.environment.value() == Texts{"A=1"});
    CHECK(plan.extra_environment == Texts{"B=2"});
    CHECK(plan.working_directory == "folder");
    CHECK(plan.streams[2] == STANDARD_OUTPUT);
    CHECK(plan.start_new_session);
    CHECK_FALSE(plan_of("ls").environment);
}

TEST_CASE("what no system could start is a bad argument") {
    const auto zero = std::string("a\0b", 3);
    const Texts none;
    const std::map<std::string, std::string> bad_name{{"A=B", "1"}};
    CHECK_THROWS_AS(plan_of(none), std::invalid_argument);
    CHECK_THROWS_AS(plan_of({"ls", zero}), std::invalid_argument);
    CHECK_THROWS_AS(plan_of("ls", {.working_directory = zero}), std::invalid_argument);
    CHECK_THROWS_AS(plan_of("ls", {.environment = {"A"}}), std::invalid_argument);
    CHECK_THROWS_AS(plan_of("ls", {.environment = {"=1"}}), std::invalid_argument);
    CHECK_THROWS_AS(plan_of("ls", {.extra_environment = {"A=" + zero}}), std::invalid_argument);
    CHECK_THROWS_AS(plan_of("ls", {.extra_environment = bad_name}), std::invalid_argument);
    CHECK_THROWS_AS(plan_of("ls", {.standard_input = STANDARD_OUTPUT}), std::invalid_argument);
    CHECK_THROWS_AS(plan_of("ls", {.standard_output = STANDARD_OUTPUT}), std::invalid_argument);
}

TEST_CASE("a command is described as one would type it, and shortened") {
    CHECK(detail::describe_command({"ls", "-l", "file name", "", "$x"}) == "ls -l 'file name' '' '$x'");
    CHECK(detail::describe_command(Texts(1000, "word")).size() < 300);
}
