// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

#include "support/catch.hpp"
#include "support/misbehaviour.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

// Pools of programs that fork by themselves, ignore SIGCHLD, or would die of SIGPIPE.

using namespace support;
using plait::UsageError;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::StartMethod;

namespace {

int square(int x) { return x * x; }

}  // namespace

TEST_CASE("a forked copy of the program neither uses nor ends the pool") {
    auto pool = std::make_unique<Pool>(1);
    const pid_t child = ::fork();
    if (child == 0) {
        int code = 1;
        try {
            pool->apply_async(square, 1).wait();
        } catch (const UsageError&) {
            code = 0;
        }
        pool.reset();
        ::_exit(code);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
    CHECK(pool->apply(square, 3) == 9);
}

TEST_CASE("a pool needs no SIGCHLD and reaps nobody else's child") {
    struct ::sigaction ignore{};
    struct ::sigaction before{};
    ignore.sa_handler = SIG_IGN;
    const bool ignores = GENERATE(false, true);
    const pid_t stranger = ::fork();
    if (stranger == 0) ::_exit(7);
    int status = -1;
    if (ignores) {
        // Collected first: who ignores SIGCHLD has none to collect.
        ::waitpid(stranger, &status, 0);
        ::sigaction(SIGCHLD, &ignore, &before);
    } else {
        ::sigaction(SIGCHLD, nullptr, &before);
    }
    {
        Pool pool(PoolOptions{
            .processes = 2, .start_method = GENERATE(StartMethod::forkserver, StartMethod::spawn, StartMethod::fork)});
        CHECK_THROWS_AS(pool.apply(exit_with, 3), plait::ProcessDied);
        CHECK(pool.apply(square, 3) == 9);
        CHECK(pool.apply([](int) { return WEXITSTATUS(std::system("exit 4")); }, 0) == 4);
    }
    struct ::sigaction after{};
    ::sigaction(SIGCHLD, &before, &after);
    CHECK(after.sa_handler == (ignores ? SIG_IGN : before.sa_handler));
    if (!ignores) ::waitpid(stranger, &status, 0);
    CHECK(WEXITSTATUS(status) == 7);
}

TEST_CASE("writing to workers that died raises no SIGPIPE") {
    struct ::sigaction by_default{};
    struct ::sigaction before{};
    by_default.sa_handler = SIG_DFL;
    ::sigaction(SIGPIPE, &by_default, &before);
    {
        Pool pool(2);
        const std::vector<std::string> large(4, std::string(1 << 20, 'x'));
        for (int round = 0; round < 10; ++round) {
            auto future = pool.map_async([](const std::string& text) { return text.size(); }, large, 1);
            for (const auto& worker : pool.workers()) ::kill(static_cast<pid_t>(worker.pid), SIGKILL);
            static_cast<void>(future.exception());
        }
    }
    ::sigaction(SIGPIPE, &before, nullptr);
}
