// SPDX-License-Identifier: MIT
#if __has_include(<sys/wait.h>)  // what only POSIX can do to a Local
#  include <plait/threading/event.hpp>
#  include <plait/threading/local.hpp>
#  include <plait/threading/thread.hpp>

#  include "support/catch.hpp"
#  include "support/disturbance.hpp"

#  include <signal.h>
#  include <unistd.h>

#  include <atomic>
#  include <chrono>
#  include <cstdlib>
#  include <memory>
#  include <thread>

using namespace std::chrono_literals;
using namespace plait::threading;

namespace {

template <class Body>
int in_short_lived_child(Body body) {
    return support::in_a_child([&] {
        ::signal(SIGALRM, SIG_DFL);
        ::alarm(20);
        return body();
    });
}

std::atomic<int> destroyed{0};

struct Noted {
    ~Noted() { ++destroyed; }
    int number = 0;
};

}  // namespace

TEST_CASE("the child of a fork has the forking thread's values, and not those of others") {
    auto local = std::make_unique<Local<Noted>>();
    (*local)->number = 1;
    Event made;
    Event go_on;
    Thread other([&] {
        (*local)->number = 2;
        made.set();
        go_on.wait();
    });
    other.start();
    made.wait();
    destroyed = 0;
    const int code = in_short_lived_child([&] {
        if ((*local)->number != 1) return 1;
        int there = -1;
        std::thread{[&] { there = (*local)->number; }}.join();
        if (there != 0 || destroyed != 1) return 2;
        local.reset();
        return destroyed == 2 ? 7 : 3;
    });
    int from_thread = 0;
    Thread forker([&] {
        (*local)->number = 3;
        from_thread = in_short_lived_child([&] {
            if ((*local)->number != 3) return 1;
            local.reset();
            return destroyed == 1 ? 7 : 2;
        });
    });
    forker.start();
    forker.join();
    go_on.set();
    other.join();
    CHECK(code == 7);
    CHECK(from_thread == 7);
}

TEST_CASE("a fork while others make and end values leaves the child whole") {
    if constexpr (plait::detail::address_sanitizer) {
        WARN("left out: g++ 12's AddressSanitizer leaves locks of its own held in the child of such a fork");
        return;
    }
    std::atomic<bool> stop{false};
    Local<Noted> local;
    local->number = 1;
    Thread busy([&] {
        while (!stop) {
            Local<Noted> own;
            own->number = 1;
            std::thread{[&] { local->number = 2; }}.join();
        }
    });
    busy.start();
    int whole = 0;
    for (int i = 0; i < 50; ++i)
        whole += in_short_lived_child([&] {
                     Local<Noted> fresh;
                     fresh->number = 4;
                     std::thread{[&] { local->number = 2; }}.join();
                     return local->number == 1 ? 7 : 1;
                 }) == 7
                     ? 1
                     : 0;
    stop = true;
    busy.join();
    CHECK(whole == 50);
}

TEST_CASE("a fork in a value's destructor finds the Local waiting for it in the parent alone") {
    static std::atomic<int> code{0};
    static Local<std::unique_ptr<Noted, void (*)(Noted*)>>* local = nullptr;
    local = new Local<std::unique_ptr<Noted, void (*)(Noted*)>>([] {
        return std::unique_ptr<Noted, void (*)(Noted*)>(new Noted, [](Noted* noted) {
            delete noted;
            code = in_short_lived_child([] {
                delete local;  // it is this very thread that is in the destructor
                return 7;
            });
        });
    });
    std::thread{[] { static_cast<void>(**local); }}.join();
    delete local;
    CHECK(code == 7);
}

TEST_CASE("static objects that are destroyed at the program's end may use a Local") {
    const int code = in_short_lived_child([] {
        std::atexit([] { ::_exit(8); });
        static Local<int> local;
        static struct User {
            ~User() { ::_exit(++*local == 1 ? 7 : 9); }
        } user;
        static_cast<void>(user);
        *local = 5;
        std::exit(1);
        return 2;
    });
    CHECK(code == 7);
}
#endif
