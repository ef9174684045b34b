// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/simple_queue.hpp>

#include "support/catch.hpp"

#include <plait/multiprocessing/process.hpp>

#include <chrono>
#include <string>

using namespace std::chrono_literals;
using plait::QueueEmpty;
using plait::UsageError;
using plait::multiprocessing::Process;
using plait::multiprocessing::SimpleQueue;

namespace {

void shout(SimpleQueue<std::string> words, SimpleQueue<std::string> shouts) { shouts.put(words.get(30s) + "!"); }

}  // namespace

TEST_CASE("a simple queue takes and gives, from process to process") {
    const SimpleQueue<std::string> words;
    const SimpleQueue<std::string> shouts;
    CHECK(words.empty());
    words.put("hello");
    CHECK_FALSE(words.empty());
    Process child(shout, words, shouts);
    child.start();
    CHECK(shouts.get(30s) == "hello!");
    child.join();
    CHECK(words.empty());
    CHECK_THROWS_AS(words.get(0s), QueueEmpty);
    CHECK(SimpleQueue<std::string>(words) == words);
    words.close();
    CHECK_THROWS_AS(words.put("late"), UsageError);
}
