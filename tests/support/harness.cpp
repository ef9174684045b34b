// SPDX-License-Identifier: MIT
#include "support/harness.hpp"

#include "support/leak_check.hpp"
#include "support/watchdog.hpp"

#if __has_include(<catch2/reporters/catch_reporter_event_listener.hpp>)
#  include <catch2/catch_test_case_info.hpp>
#  include <catch2/reporters/catch_reporter_event_listener.hpp>
#  include <catch2/reporters/catch_reporter_registrars.hpp>
using ListenerBase = Catch::EventListenerBase;
#else
#  define CATCH_CONFIG_EXTERNAL_INTERFACES
#  include <catch2/catch.hpp>
using ListenerBase = Catch::TestEventListenerBase;
#endif

#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace support {
namespace {

// Told at exit, and not by an assertion: when Catch2 ends a case, its count of failures is already made.
int cases_with_leaks = 0;

bool (*end_of_case)() = [] { return true; };

class Harness : public ListenerBase {
public:
    using ListenerBase::ListenerBase;

    void testCaseStarting(const Catch::TestCaseInfo& info) override {
        name_ = info.name;
        before_ = Holdings::now();
        watchdog::start(name_);
    }

    void testCaseEnded(const Catch::TestCaseStats&) override {
        const bool ended = end_of_case();
        watchdog::stop();
        std::vector<std::string> leaks = leaks_since(before_);
        if (!ended) leaks.emplace_back("what was to go at the end of the case is still there");
        if (leaks.empty()) return;
        ++cases_with_leaks;
        std::cout << "LEAK: " << name_ << '\n';
        for (const std::string& leak : leaks) std::cout << "  " << leak << '\n';
        std::cout.flush();
    }

private:
    std::string name_;
    Holdings before_;
};

CATCH_REGISTER_LISTENER(Harness)

}  // namespace

void install_harness() {
    watchdog::install();
    // ThreadSanitizer starts a thread of its own beside the program's first: it belongs to the baseline.
    std::thread{[] {}}.join();
}

void at_end_of_case(bool (*function)()) { end_of_case = function; }

int harness_verdict() { return cases_with_leaks == 0 ? 0 : 1; }

}  // namespace support
