// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/start_method.hpp>

#include "support/catch.hpp"

#include <plait/multiprocessing/process.hpp>

#include <cstdlib>
#include <utility>

using plait::multiprocessing::get_start_method;
using plait::multiprocessing::Process;
using plait::multiprocessing::set_start_method;
using plait::multiprocessing::StartMethod;

namespace {

int copies = 0;  // a copy of this program finds what was written here, a fresh start does not

}  // namespace

TEST_CASE("the start method is forkserver until another is chosen, and holds for what is not told its own") {
    CHECK(get_start_method() == StartMethod::forkserver);
    copies = 5;
    const auto exit_with_copies = [] { std::_Exit(copies); };
    for (const auto& [method, code] : {std::pair{StartMethod::fork, 5}, std::pair{StartMethod::spawn, 0}}) {
        set_start_method(method);
        CHECK(get_start_method() == method);
        Process child(exit_with_copies);
        child.start();
        child.join();
        CHECK(child.exitcode() == code);
    }
    set_start_method(StartMethod::forkserver);
    copies = 0;
}
