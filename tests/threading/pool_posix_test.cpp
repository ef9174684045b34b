// SPDX-License-Identifier: MIT
#if __has_include(<sys/wait.h>)  // what only POSIX can do to a pool
#  include <plait/threading/pool.hpp>

#  include "support/catch.hpp"

#  include <signal.h>
#  include <sys/wait.h>
#  include <unistd.h>

#  include <optional>
#  include <thread>

using namespace plait::threading;

TEST_CASE("in the child of a fork a pool of the parent's is refused, closed and destroyed without waiting") {
    if constexpr (plait::detail::address_sanitizer) {
        WARN("left out: g++ 12's AddressSanitizer leaves locks of its own held in the child of such a fork");
        return;
    }
    for (int round = 0; round < 20; ++round) {
        std::optional<ThreadPool> pool;
        pool.emplace(2);
        // The fork comes in the midst of what others do to the pool.
        std::thread submitter{[&] {
            for (int i = 0; i < 1000; ++i) pool->post([] {});
        }};
        const pid_t child = ::fork();
        if (child == 0) {
            ::signal(SIGALRM, SIG_DFL);
            ::alarm(20);
            bool refused = false;
            try {
                pool->post([] {});
            } catch (const plait::UsageError&) {
                refused = true;
            }
            pool->close();
            pool->terminate();
            pool.reset();
            ThreadPool own(1);
            ::_exit(refused && own.apply([] { return 7; }) == 7 ? 0 : 1);
        }
        int status = -1;
        ::waitpid(child, &status, 0);
        submitter.join();
        REQUIRE(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == 0);
    }
}
#endif
