// SPDX-License-Identifier: MIT
#include <plait/threading/event.hpp>
#include <plait/threading/local.hpp>
#include <plait/threading/thread.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using namespace plait::threading;
using plait::UsageError;
using support::within;

namespace {

/// Runs `f()` in a thread that plait does not know.
template <class F>
void in_thread(F f) {
    std::thread{std::move(f)}.join();
}

std::atomic<int> live{0};

/// Counts itself, and remembers where it was destroyed.
struct Counted {
    Counted() { ++live; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() {
        --live;
        if (destroyed_in != nullptr) *destroyed_in = std::this_thread::get_id();
    }

    int number = 0;
    std::thread::id* destroyed_in = nullptr;
};

/// Calls what it was given when it is destroyed.
struct AtEnd {
    ~AtEnd() {
        if (call != nullptr) call();
    }
    void (*call)() = nullptr;
};

}  // namespace

TEST_CASE("each thread has its own value, which starts at zero") {
    Local<int> local;
    CHECK(*local == 0);
    *local = 1;
    int seen = -1;
    int kept = -1;
    in_thread([&] {
        seen = *local;
        *local = 2;
        kept = local.get();
    });
    CHECK(seen == 0);
    CHECK(kept == 2);
    CHECK(*local == 1);
}

TEST_CASE("each Local has its own values") {
    std::vector<std::unique_ptr<Local<std::size_t>>> locals(100);
    for (auto& local : locals) local = std::make_unique<Local<std::size_t>>();
    for (std::size_t i = 0; i < locals.size(); ++i) **locals[i] = i;
    std::size_t right = 0;
    for (std::size_t i = 0; i < locals.size(); ++i) right += **locals[i] == i ? 1U : 0U;
    CHECK(right == locals.size());
}

TEST_CASE("a factory makes each thread's value in that thread, with what it was given") {
    const std::string greeting = "Hello from ";
    const Local<std::string> local([greeting] { return greeting + current_thread().name(); });
    CHECK(*local == "Hello from MainThread");
    std::string there;
    Thread thread(ThreadOptions{.name = "Alice"}, [&] { there = *local; });
    thread.start();
    thread.join();
    CHECK(there == "Hello from Alice");
    CHECK(local->size() == 21);

    struct Immovable {
        explicit Immovable(int n) : number{n} {}
        Immovable(const Immovable&) = delete;
        Immovable& operator=(const Immovable&) = delete;
        ~Immovable() = default;
        int number;
    };
    const Local<Immovable> immovable([] { return Immovable(42); });
    CHECK(immovable->number == 42);
    STATIC_REQUIRE_FALSE(std::is_default_constructible_v<Local<Immovable>>);
}

TEST_CASE("a factory that throws makes nothing, and is called again by the next use") {
    int calls = 0;
    Local<int> local([&] {
        if (++calls == 1) throw std::runtime_error("not yet");
        return 42;
    });
    CHECK_THROWS_AS(*local, std::runtime_error);
    CHECK(*local == 42);
    CHECK(*local == 42);
    CHECK(calls == 2);
}

TEST_CASE("a factory may use other Locals, but not its own") {
    Local<int>* self = nullptr;
    Local<int> other([] { return 40; });
    Local<int> local([&] {
        bool refused = false;
        try {
            static_cast<void>(**self);
        } catch (const UsageError&) {
            refused = true;
        }
        return *other + (refused ? 2 : 0);
    });
    self = &local;
    CHECK(*local == 42);
}

TEST_CASE("a value is destroyed at its thread's end, in that thread, after the target has returned") {
    Local<Counted> local;
    live = 0;
    std::thread::id id;
    std::thread::id destroyed_in;
    std::atomic<int> live_after_body{0};
    Thread thread([&] {
        local->destroyed_in = &destroyed_in;
        id = std::this_thread::get_id();
        live_after_body = live.load();
    });
    thread.start();
    thread.join();
    CHECK(live_after_body == 1);
    CHECK(live == 0);
    CHECK(destroyed_in == id);
    in_thread([&] {
        local->destroyed_in = &destroyed_in;
        id = std::this_thread::get_id();
    });
    CHECK(live == 0);
    CHECK(destroyed_in == id);
}

TEST_CASE("a Local that goes before its threads destroys their values, once") {
    auto local = std::make_unique<Local<Counted>>();
    live = 0;
    Event made;
    Event go_on;
    std::thread::id destroyed_in;
    Thread thread([&] {
        (*local)->destroyed_in = &destroyed_in;
        made.set();
        go_on.wait();
    });
    thread.start();
    made.wait();
    CHECK((*local)->number == 0);
    CHECK(live == 2);
    local.reset();
    CHECK(live == 0);
    CHECK(destroyed_in == std::this_thread::get_id());
    go_on.set();
    thread.join();
    CHECK(live == 0);
}

TEST_CASE("a Local made where another was has none of its values") {
    alignas(Local<int>) std::byte place[sizeof(Local<int>)];
    for (int round = 0; round < 3; ++round) {
        auto* const local = ::new (static_cast<void*>(place)) Local<int>;
        CHECK(**local == 0);
        **local = 7;
        local->~Local();
    }
    Event made;
    Event renewed;
    int seen = -1;
    auto* local = ::new (static_cast<void*>(place)) Local<int>;
    Thread thread([&] {
        **local = 8;
        made.set();
        renewed.wait();
        seen = **local;
    });
    thread.start();
    made.wait();
    local->~Local();
    local = ::new (static_cast<void*>(place)) Local<int>;
    renewed.set();
    thread.join();
    CHECK(seen == 0);
    local->~Local();
}

TEST_CASE("a Local that nobody used is nothing: ready before main, and gone without a trace") {
    static constinit Local<int> global;
    static constinit Local<> attributes;
    static_cast<void>(attributes);
    {
        const Local<Counted> unused;
    }
    CHECK(*global == 0);
}

TEST_CASE("a value's destructor may use other Locals, and its own, which makes new values") {
    static Local<AtEnd>* own = nullptr;
    static Local<Counted>* other = nullptr;
    static std::atomic<int> ends{0};
    ends = 0;
    live = 0;
    {
        Local<AtEnd> first;
        Local<Counted> second;
        own = &first;
        other = &second;
        in_thread([] {
            static_cast<void>(**other);
            (*own)->call = [] {
                (*other)->number = 1;  // its value may have been destroyed before
                if (++ends == 1) (*own)->call = [] { ++ends; };
            };
        });
        CHECK(ends == 2);
        CHECK(live == 0);
        // A destructor that always makes another: the thread ends, and the last goes with the Local.
        in_thread([] {
            static void (*again)() = nullptr;
            again = [] {
                ++ends;
                if (own != nullptr) (*own)->call = again;
            };
            (*own)->call = again;
        });
        CHECK(ends > 2);
        CHECK(ends < 100);
        ends = 0;
        own = nullptr;
    }
    CHECK(ends == 1);
}

TEST_CASE("a value's destructor may destroy its own Local") {
    static Local<AtEnd>* local = nullptr;
    live = 0;
    local = new Local<AtEnd>;
    in_thread([] {
        (*local)->call = [] {
            delete local;
            local = nullptr;
        };
    });
    CHECK(local == nullptr);
}

TEST_CASE("a destructor that uses the Local that is being destroyed is told so") {
    static Local<AtEnd>* local = nullptr;
    static bool refused = false;
    local = new Local<AtEnd>;
    (*local)->call = [] {
        try {
            static_cast<void>(**local);
        } catch (const UsageError&) {
            refused = true;
        }
    };
    delete local;
    CHECK(refused);
}

TEST_CASE("a thread-local that is destroyed after the values may still use a Local") {
    static Local<Counted>* local = nullptr;
    static int number = 0;
    struct Last {
        ~Last() {
            (*local)->number = 5;
            number = (*local)->number;
        }
    };
    live = 0;
    {
        Local<Counted> used;
        local = &used;
        for (int i = 0; i < 3; ++i)
            in_thread([] {
                static thread_local Last last;  // before the Local's first use: so destroyed after it
                static_cast<void>(last);
                (*local)->number = 1;
            });
        CHECK(number == 5);
        CHECK(live == 3);
    }
    CHECK(live == 0);
}

TEST_CASE("the end of a Local waits for a destructor that another thread has begun") {
    static Event begun;
    static Event go_on;
    static std::atomic<bool> ended{false};
    auto local = std::make_unique<Local<AtEnd>>();
    Thread thread([&] {
        (*local)->call = [] {
            begun.set();
            go_on.wait();
            ended = true;
        };
    });
    thread.start();
    REQUIRE(begun.wait(30s));
    std::atomic<bool> destroyed{false};
    bool ended_first = false;
    std::thread destroyer{[&] {
        local.reset();
        ended_first = ended;
        destroyed = true;
    }};
    CHECK_FALSE(within(20ms, [&] { return destroyed.load(); }));
    go_on.set();
    destroyer.join();
    CHECK(ended_first);
    thread.join();
}

TEST_CASE("threads that end while their Local does destroy each value once") {
    live = 0;
    for (int round = 0; round < 200; ++round) {
        auto local = std::make_unique<Local<Counted>>();
        std::atomic<int> made{0};
        std::vector<std::thread> threads;
        for (int i = 0; i < 3; ++i)
            threads.emplace_back([&, &its = *local] {
                its->number = 1;
                ++made;
            });
        while (made != 3) std::this_thread::yield();
        local.reset();
        for (auto& thread : threads) thread.join();
        if (live != 0) break;
    }
    CHECK(live == 0);
}

TEST_CASE("the values of ten thousand threads leave nothing behind") {
    live = 0;
    std::vector<std::unique_ptr<Local<Counted>>> locals(100);
    for (auto& local : locals) local = std::make_unique<Local<Counted>>();
    std::size_t made = 0;
    for (int i = 0; i < 10'000; ++i)
        in_thread([&] {
            for (auto& local : locals) made += (*local)->number == 0 ? 1U : 0U;
        });
    CHECK(made == 1'000'000);
    CHECK(live == 0);
}

TEST_CASE("attributes have names, and are each thread's own") {
    Local<> local;
    local.set("student", std::string("Alice"));
    local.set("age", 7);
    CHECK(local.get<std::string>("student") == "Alice");
    CHECK(local.get<int>("age") == 7);
    local.get<int>("age") += 1;
    CHECK(local.get<int>("age") == 8);
    CHECK(local.names() == std::vector<std::string>{"age", "student"});
    std::vector<std::string> names;
    bool missing = false;
    std::string there;
    in_thread([&] {
        names = local.names();
        try {
            static_cast<void>(local.get<std::string>("student"));
        } catch (const std::out_of_range& error) {
            missing = std::string{error.what()}.find("'student'") != std::string::npos;
        }
        there = local.set<std::string>("student", "Bob");
    });
    CHECK(names.empty());
    CHECK(missing);
    CHECK(there == "Bob");
    CHECK(local.get<std::string>("student") == "Alice");
}

TEST_CASE("an attribute may be set anew, also as another type, and removed") {
    Local<> local;
    const auto owned = std::make_shared<int>(1);
    local.set("x", owned);
    CHECK(local.contains("x"));
    CHECK_THROWS_AS(local.get<int>("x"), UsageError);
    CHECK(owned.use_count() == 2);
    local.set("x", 3);
    CHECK(owned.use_count() == 1);
    CHECK(local.get<int>("x") == 3);
    CHECK_THROWS_AS(local.get<long>("x"), UsageError);
    CHECK(local.remove("x"));
    CHECK_FALSE(local.remove("x"));
    CHECK_FALSE(local.contains("x"));
    CHECK_THROWS_AS(local.get<int>("x"), std::out_of_range);
    auto& only = local.set("owner", std::make_unique<int>(5));
    local.set("another", 1);
    CHECK(&only == &local.get<std::unique_ptr<int>>("owner"));
}

TEST_CASE("attributes go with their thread, or with their Local") {
    const auto owned = std::make_shared<int>(1);
    {
        Local<> local;
        local.set("mine", owned);
        in_thread([&] { local.set("theirs", owned); });
        CHECK(owned.use_count() == 2);
    }
    CHECK(owned.use_count() == 1);
}

TEST_CASE("a Local is neither copied nor moved") {
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Local<int>>);
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<Local<int>>);
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<Local<>>);
}
