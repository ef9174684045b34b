// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/queue.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/descriptor_limit.hpp"
#include "support/disturbance.hpp"
#include "support/forked_child.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"

#include <plait/multiprocessing/pipe.hpp>
#include <plait/multiprocessing/process.hpp>
#include <plait/os/thread.hpp>

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace support;
using Catch::Matchers::ContainsSubstring;
using plait::CodecError;
using plait::QueueEmpty;
using plait::QueueFull;
using plait::QueueShutDown;
using plait::UsageError;
using plait::multiprocessing::Process;
using plait::multiprocessing::ProcessOptions;
using plait::multiprocessing::Queue;
using plait::multiprocessing::StartMethod;
using Clock = std::chrono::steady_clock;

namespace {

/// For every wait that must end.
constexpr auto soon = 30s;

struct Job {
    int number = 0;
    std::string text;
    std::vector<double> data;
    friend bool operator==(const Job&, const Job&) = default;
};

/// Its Codec throws as it is told.
struct Touchy {
    enum Mood { calm, throws_when_put, throws_when_got };
    Mood mood = calm;
    int number = 0;
};

}  // namespace

template <>
struct plait::multiprocessing::Codec<Touchy> {
    static void encode(Encoder& out, const Touchy& item) {
        if (item.mood == Touchy::throws_when_put) throw std::runtime_error("not put");
        out.write(item.mood, item.number);
    }
    static Touchy decode(Decoder& in) {
        const auto mood = in.read<Touchy::Mood>();
        if (mood == Touchy::throws_when_got) throw std::runtime_error("not got");
        return {mood, in.read<int>()};
    }
};

namespace {

/// Has no memory to give when it is told so.
template <class T>
struct Allocator {
    using value_type = T;
    static inline bool is_exhausted = false;

    Allocator() = default;
    template <class Other>
    Allocator(const Allocator<Other>&) noexcept {}
    T* allocate(std::size_t count) {
        if (is_exhausted) throw std::bad_alloc();
        return std::allocator<T>{}.allocate(count);
    }
    void deallocate(T* memory, std::size_t count) noexcept { std::allocator<T>{}.deallocate(memory, count); }
    friend bool operator==(const Allocator&, const Allocator&) = default;
};

/// Stops who gets one, while it holds the queue's lock for taking.
template <class T>
struct Halting : Allocator<T> {
    static inline std::atomic<bool> halts{false};
    static inline std::atomic<bool> stands{false};

    Halting() = default;
    template <class Other>
    Halting(const Halting<Other>&) noexcept {}
    T* allocate(std::size_t count) {
        if (halts) {
            stands = true;
            static_cast<void>(within(soon, [] { return !halts.load(); }));
        }
        return Allocator<T>::allocate(count);
    }
};

std::string large_text(std::size_t size, int seed) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 + static_cast<std::size_t>(seed));
    return text;
}

/// Puts when it ends.
struct LastWords {
    explicit LastWords(const Queue<std::vector<std::string>>& words) : queue{words} {}
    LastWords(const LastWords&) = delete;
    LastWords& operator=(const LastWords&) = delete;
    ~LastWords() {
        for (int i = 0; i < 3; ++i) queue.put({large_text(1'000, i)});
    }
    Queue<std::vector<std::string>> queue;
};

void put_numbers(Queue<std::uint64_t> queue, std::uint64_t who, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) queue.put(who << 32 | i, soon);
}
void square_all(Queue<int> numbers, Queue<int> squares) {
    for (;;) {
        const int number = numbers.get(soon);
        if (number < 0) return;
        squares.put(number * number, soon);
    }
}
void hand_on(Queue<int> numbers, Queue<int> squares) {
    Process grandchild(square_all, numbers, squares);
    grandchild.start();
    grandchild.join();
}

/// A copy of this process that runs `body`.
template <class Body>
ForkedChild child_that(Body body) {
    return ForkedChild{[&] {
        body();
        return 0;
    }};
}

bool is_stopped(const ForkedChild& child) {
    const auto state = process_state(child.pid());
    return state.has_value() && state->state == 'T';
}

/// How much memory this process's descriptors lead to.
std::size_t shared_pages() {
    std::size_t blocks = 0;
    for (const auto& descriptor : open_descriptors()) {
        struct stat status{};
        if (descriptor.target.find("plait") != std::string::npos && ::fstat(descriptor.number, &status) == 0)
            blocks += static_cast<std::size_t>(status.st_blocks);
    }
    return blocks * 512;
}

/// Whether who waits in vain for a while leaves no more than `most` of it. On a busy machine a wait may be over before it
/// has slept at all: then there is another.
bool is_given_back_by_waits(const Queue<std::string>& queue, std::size_t most) {
    return within(soon, [&] {
        CHECK_THROWS_AS(queue.get(250ms), QueueEmpty);
        return shared_pages() <= most;
    });
}

}  // namespace

TEST_CASE("a queue gives items of every kind in the order in which they were put") {
    const Queue<Job> jobs;
    const Job large{3, std::string(100'000, 'x'), std::vector<double>(50'000, 1.5)};
    jobs.put(Job{1, "one", {1.5}});
    jobs.put(Job{});
    jobs.put(large);
    CHECK(jobs.qsize() == 3);
    CHECK(jobs.get() == Job{1, "one", {1.5}});
    CHECK(jobs.get(soon) == Job{});
    CHECK(jobs.get_nowait() == large);
    CHECK(jobs.empty());

    const Queue<std::optional<std::string>> words;
    words.put("word");
    words.put(std::nullopt);
    CHECK(words.get() == "word");
    CHECK_FALSE(words.get().has_value());

    struct Nothing {};
    const Queue<Nothing> nothing;
    nothing.put(Nothing{});
    CHECK(nothing.qsize() == 1);
    static_cast<void>(nothing.get(soon));

    const Queue<std::map<int, std::string>> maps;
    maps.put({{1, "one"}});
    CHECK(maps.get(soon).at(1) == "one");
}

TEST_CASE("a queue takes items of every size") {
    const Queue<std::string> queue;
    const std::vector<std::size_t> sizes = {0,         1,          7,          8,          9,          32'727,
                                            32'728,    32'729,     32'744,     32'752,     32'753,     65'519,
                                            65'527,    65'528,     65'529,     65'536,     65'537,     131'072,
                                            1'000'000, 16'777'207, 16'777'208, 16'777'209, 16'777'217, 50'000'000};
    for (int round = 0; round < 2; ++round) {
        for (const std::size_t size : sizes) queue.put(large_text(size, round));
        for (const std::size_t size : sizes) {
            const std::string text = queue.get(soon);
            REQUIRE(text.size() == size);
            REQUIRE(text == large_text(size, round));
        }
    }
    // One behind the other, in every place of a segment.
    for (std::size_t size = 0; size < 2'000; ++size) queue.put(large_text(size, 5));
    for (std::size_t size = 0; size < 2'000; ++size) REQUIRE(queue.get(soon) == large_text(size, 5));
}

TEST_CASE("a queue with a bound waits for room, and says when none came") {
    const Queue<int> queue(2);
    CHECK(queue.maxsize() == 2);
    queue.put(1);
    CHECK_FALSE(queue.full());
    queue.put(2, 0s);
    CHECK(queue.full());
    CHECK_THROWS_AS(queue.put_nowait(3), QueueFull);
    CHECK_THROWS_AS(queue.put(3, -1s), QueueFull);
    const auto begin = Clock::now();
    CHECK_THROWS_AS(queue.put(3, 30ms), QueueFull);
    CHECK(Clock::now() - begin >= 30ms);
    CHECK(queue.qsize() == 2);
    CHECK(queue.get() == 1);
    queue.put_nowait(3);
    CHECK(queue.get() == 2);
    CHECK(queue.get() == 3);
    CHECK(Queue<int>(-1).maxsize() == -1);
    CHECK_FALSE(Queue<int>(0).full());
}

TEST_CASE("an empty queue says so when no item came") {
    const Queue<int> queue;
    CHECK(queue.empty());
    CHECK_THROWS_AS(queue.get_nowait(), QueueEmpty);
    CHECK_THROWS_AS(queue.get(-1s), QueueEmpty);
    const auto begin = Clock::now();
    CHECK_THROWS_AS(queue.get(150ms), QueueEmpty);  // longer than a sleeper sleeps at once
    CHECK(Clock::now() - begin >= 150ms);
    CHECK_THROWS_AS(queue.get(0s), plait::TimeoutError);
    CHECK(queue.waiting() == 0);
}

TEST_CASE("a put wakes who waits for an item, and a get who waits for room, in another process") {
    const Queue<int> items(1);
    const Queue<int> answers;
    ForkedChild child = child_that([&] {
        answers.put(items.get(soon));
        items.put(2, soon);
        items.put(3, soon);
        answers.put(4);
    });
    REQUIRE(within(soon, [&] { return items.waiting() == 1; }));
    items.put(1);
    CHECK(answers.get(soon) == 1);
    REQUIRE(within(soon, [&] { return items.waiting() == 1; }));
    CHECK(items.get(soon) == 2);
    CHECK(answers.get(soon) == 4);
    CHECK(items.get(soon) == 3);
    CHECK(child.join() == 0);
}

TEST_CASE("a queue goes to a process by every start method, and on to its child") {
    const auto method = GENERATE(StartMethod::forkserver, StartMethod::spawn, StartMethod::fork);
    const Queue<int> numbers;
    const Queue<int> squares;
    Process child(ProcessOptions{.start_method = method}, square_all, numbers, squares);
    child.start();
    for (int i = 0; i < 100; ++i) numbers.put(i);
    for (int i = 0; i < 100; ++i) CHECK(squares.get(soon) == i * i);
    numbers.put(-1);
    CHECK(child.join(soon));
    Process parent(ProcessOptions{.start_method = method}, hand_on, numbers, squares);
    parent.start();
    numbers.put(12);
    CHECK(squares.get(soon) == 144);
    numbers.put(-1);
    CHECK(parent.join(soon));
}

TEST_CASE("what a process put is there when it has ended") {
    const Queue<std::string> queue;
    ForkedChild child = child_that([&] {
        for (int i = 0; i < 100; ++i) queue.put(large_text(100'000, i));
        die_by(SIGKILL);
    });
    CHECK(child.join() == -SIGKILL);
    for (int i = 0; i < 100; ++i) REQUIRE(queue.get_nowait() == large_text(100'000, i));
    CHECK(queue.empty());
}

TEST_CASE("what the destructor of an object of a thread puts is there") {
    const Queue<std::vector<std::string>> queue;
    std::thread([&] {
        static thread_local const LastWords last{queue};  // ends after what the put makes
        queue.put({"first", "words"});
    }).join();
    CHECK(queue.get(soon) == std::vector<std::string>{"first", "words"});
    for (int i = 0; i < 3; ++i) CHECK(queue.get(soon) == std::vector<std::string>{large_text(1'000, i)});
}

TEST_CASE("two processes that both put a lot before they get do not wait for each other") {
    const Queue<std::string> there;
    const Queue<std::string> back;
    ForkedChild child = child_that([&] {
        for (int i = 0; i < 8; ++i) back.put(large_text(1 << 20, i));
        for (int i = 0; i < 8; ++i)
            if (there.get(soon) != large_text(1 << 20, i)) ::_exit(1);
    });
    for (int i = 0; i < 8; ++i) there.put(large_text(1 << 20, i), soon);
    for (int i = 0; i < 8; ++i) REQUIRE(back.get(soon) == large_text(1 << 20, i));
    CHECK(child.join() == 0);
}

TEST_CASE("many processes that put and many that get see every item once, each one's in order") {
    constexpr std::uint64_t putters = 4;
    constexpr std::uint64_t getters = 4;
    constexpr std::uint64_t each = 5'000;
    const auto maxsize = GENERATE(0, 3, 100);
    const Queue<std::uint64_t> queue(maxsize);
    const Queue<std::vector<std::uint64_t>> got;
    std::vector<ForkedChild> children;
    for (std::uint64_t who = 0; who < putters; ++who)
        children.push_back(child_that([&, who] { put_numbers(queue, who, each); }));
    for (std::uint64_t i = 0; i < getters; ++i)
        children.push_back(child_that([&] {
            std::vector<std::uint64_t> mine;
            for (;;) {
                const std::uint64_t item = queue.get(soon);
                if (item == UINT64_MAX) break;
                mine.push_back(item);
            }
            got.put(mine);
        }));
    for (std::uint64_t i = 0; i < putters; ++i) CHECK(children[i].join() == 0);
    for (std::uint64_t i = 0; i < getters; ++i) queue.put(UINT64_MAX, soon);
    std::map<std::uint64_t, int> seen;
    for (std::uint64_t i = 0; i < getters; ++i) {
        std::map<std::uint64_t, std::uint64_t> next;
        for (const std::uint64_t item : got.get(soon)) {
            ++seen[item];
            REQUIRE((item & 0xffffffff) >= next[item >> 32]);
            next[item >> 32] = (item & 0xffffffff) + 1;
        }
    }
    CHECK(seen.size() == putters * each);
    for (const auto& [item, times] : seen) REQUIRE(times == 1);
    for (std::uint64_t i = putters; i < putters + getters; ++i) CHECK(children[i].join() == 0);
    CHECK(queue.empty());
}

TEST_CASE("threads of one process use one handle of a queue") {
    constexpr std::uint64_t each = 20'000;
    const Queue<std::uint64_t> queue(50);
    std::atomic<std::uint64_t> sum{0};
    std::vector<std::thread> threads;
    for (std::uint64_t who = 0; who < 2; ++who) {
        threads.emplace_back([&, who] { put_numbers(queue, who, each); });
        threads.emplace_back([&] {
            for (std::uint64_t i = 0; i < each; ++i) sum += (queue.get(soon) & 0xffffffff) + 1;
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(sum == each * (each + 1));
    CHECK(queue.empty());
}

TEST_CASE(
    "a process that is killed at any time while it puts and gets blocks nobody, and nothing is lost but what it took") {
    const Queue<std::uint64_t> queue(10);
    const Queue<std::uint64_t> taken;
    std::uint64_t put = 0;
    for (int round = 0; round < 40; ++round) {
        ForkedChild busy = child_that([&] {
            for (std::uint64_t i = 0;; ++i) {
                queue.put(i);
                static_cast<void>(queue.get());
            }
        });
        // It works: then it is killed wherever it stands.
        std::uint64_t items = 0;
        const auto end = Clock::now() + std::chrono::microseconds{500 + round * 37};
        while (Clock::now() < end || items == 0) {
            queue.put(++put, soon);
            static_cast<void>(queue.get(soon));
            ++items;
        }
        busy.kill();
        while (!queue.full()) queue.put(0, soon);
        while (!queue.empty()) static_cast<void>(queue.get(soon));
        queue.put(1, soon);
        CHECK(queue.get(soon) == 1);
    }
}

TEST_CASE("the memory that processes had in hand when they were killed comes back") {
    const Queue<std::string> queue;
    const std::string item(400'000, 'x');
    for (int round = 0; round < 60; ++round) {
        ForkedChild busy = child_that([&] {
            for (;;) {
                queue.put(item);
                queue.get();
            }
        });
        REQUIRE(within(soon, [&] { return queue.qsize() != 0; }));
        for (const auto end = Clock::now() + std::chrono::microseconds{7 * round}; Clock::now() < end;) {
        }
        busy.kill();
        queue.put(item);  // repairs, if that is needed
        while (!queue.empty()) REQUIRE(queue.get(soon) == item);
    }
    if (plait::os::gives_memory_back) CHECK(is_given_back_by_waits(queue, 2'000'000));
}

TEST_CASE("who waits for an item is served, though others that waited were killed") {
    const Queue<int> queue;
    {
        ForkedChild first = child_that([&] { static_cast<void>(queue.get()); });
        ForkedChild second = child_that([&] { static_cast<void>(queue.get()); });
        REQUIRE(within(soon, [&] { return queue.waiting() == 2; }));
    }
    const Queue<int> got;
    ForkedChild third = child_that([&] { got.put(queue.get(soon)); });
    REQUIRE(within(soon, [&] { return queue.waiting() == 3; }));
    queue.put(5);
    CHECK(got.get(soon) == 5);
    CHECK(third.join() == 0);
}

TEST_CASE("a process that is stopped keeps nobody from its timeout") {
    const Queue<std::string> queue;
    const std::string large(10'000'000, 'x');
    // Stopped in the midst of a put, as a rule: most of the time it copies under the lock.
    ForkedChild busy = child_that([&] {
        for (;;) {
            queue.put(large);
            try {
                static_cast<void>(queue.get_nowait());
            } catch (const QueueEmpty&) {  // the other has it
            }
        }
    });
    int refused = 0;
    for (int round = 0; round < 20; ++round) {
        REQUIRE(within(soon, [&] { return queue.qsize() != 0; }));
        busy.signal(SIGSTOP);
        REQUIRE(within(soon, [&] { return is_stopped(busy); }));
        const auto begin = Clock::now();
        try {
            queue.put_nowait("small");
        } catch (const QueueFull&) {
            ++refused;
        }
        try {
            static_cast<void>(queue.get(20ms));
        } catch (const QueueEmpty&) {
            ++refused;
        }
        CHECK(Clock::now() - begin < 20s);
        busy.signal(SIGCONT);
    }
    CHECK(refused > 0);
    busy.kill();
    static_cast<void>(within(soon, [&] { return queue.empty() || (static_cast<void>(queue.get(soon)), false); }));
    queue.put("after");
    CHECK(queue.get(soon) == "after");
}

TEST_CASE("an item that cannot be encoded leaves the queue as it was, and one that cannot be decoded is gone") {
    const Queue<Touchy> queue;
    CHECK_THROWS_WITH(queue.put({Touchy::throws_when_put, 1}), "not put");
    CHECK(queue.empty());
    queue.put({Touchy::throws_when_got, 2});
    queue.put({Touchy::calm, 3});
    CHECK_THROWS_WITH(queue.get(), "not got");
    CHECK(queue.get(soon).number == 3);
}

TEST_CASE("where there is no memory an item stays with who puts it, and in the queue with who gets it") {
    const int code = in_a_child([] {
        const Queue<std::string> queue;
        const std::string large = large_text(200'000'000, 1);
        const Queue<int> small;
        queue.put(large_text(20'000'000, 2));
        rlimit before{};
        ::getrlimit(RLIMIT_AS, &before);
        const rlimit none{1, before.rlim_max};
        ::setrlimit(RLIMIT_AS, &none);
        int failures = 0;
        try {
            queue.put(large);
        } catch (const std::exception&) {
            ++failures;
        }
        try {
            static_cast<void>(queue.get());
        } catch (const std::exception&) {
            ++failures;
        }
        small.put(7);  // what is mapped goes on
        if (small.get() != 7) return 2;
        ::setrlimit(RLIMIT_AS, &before);
        if (queue.qsize() != 1 || queue.get() != large_text(20'000'000, 2)) return 3;
        queue.put(large);
        return queue.get() == large ? failures : 4;
    });
    CHECK(code == (plait::detail::address_sanitizer ? code : 2));
}

TEST_CASE("an item for which its getter has no memory stays the next one") {
    const Queue<std::vector<int, Allocator<int>>> queue;
    queue.put({1, 2, 3});
    queue.put({4});
    Allocator<int>::is_exhausted = true;
    CHECK_THROWS_AS(queue.get(), std::bad_alloc);
    CHECK_THROWS_AS(queue.get_nowait(), std::bad_alloc);
    Allocator<int>::is_exhausted = false;
    CHECK(queue.qsize() == 2);
    CHECK(queue.get(soon).size() == 3);
    CHECK(queue.get(soon).size() == 1);
}

TEST_CASE("an item larger than the memory is an error, and the queue goes on") {
    const int code = in_a_child([] {
        const rlimit limit{std::size_t{1} << 26, std::size_t{1} << 26};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        const Queue<std::string> queue;
        const std::string large(std::size_t{1} << 27, 'x');
        queue.put("before");
        try {
            queue.put(large);
        } catch (const std::system_error&) {
            queue.put("after");
            return queue.get() == "before" && queue.get() == "after" && queue.empty() ? 1 : 2;
        }
        return 3;
    });
    CHECK(code == 1);
}

TEST_CASE("a queue that was closed is of no more use here, and others go on") {
    const Queue<int> queue;
    const Queue<int> same = queue;
    ForkedChild child = child_that([&] { queue.put(queue.get(soon) + 1); });
    queue.put(1);
    CHECK(child.join() == 0);
    queue.close();
    queue.close();
    CHECK_THROWS_AS(queue.put(1), UsageError);
    CHECK_THROWS_AS(same.get(), UsageError);
    CHECK_THROWS_AS(queue.get_nowait(), UsageError);
    CHECK(queue.qsize() == 1);
}

TEST_CASE("who waits in a queue that is closed is woken") {
    const Queue<int> queue(1);
    std::string text;
    std::thread thread([&] {
        try {
            static_cast<void>(queue.get());
        } catch (const UsageError& error) {
            text = error.what();
        }
    });
    REQUIRE(within(soon, [&] { return queue.waiting() == 1; }));
    queue.close();
    thread.join();
    CHECK_THAT(text, ContainsSubstring("closed"));
}

TEST_CASE("who waits for the lock of a queue that is closed is told, though the lock's holder goes on") {
    const Queue<std::vector<int, Halting<int>>> queue;
    const Queue<std::vector<int, Halting<int>>> same = queue;
    queue.put({1, 2, 3});
    Halting<int>::halts = true;
    std::thread holder([&] { static_cast<void>(queue.get()); });
    const bool stood = within(soon, [] { return Halting<int>::stands.load(); });
    std::atomic<bool> told{false};
    std::atomic<int> id{0};
    std::thread getter([&] {
        id = static_cast<int>(plait::os::native_thread_id());
        try {
            static_cast<void>(same.get());
        } catch (const UsageError&) {
            told = true;
        }
    });
    const bool waits = within(soon, [&] {
        const auto state = id != 0 ? process_state(id) : std::nullopt;
        return state.has_value() && state->state == 'S';
    });
    queue.close();
    const bool woken = within(20s, [&] { return told.load(); });
    Halting<int>::halts = false;
    holder.join();
    getter.join();
    CHECK(stood);
    CHECK(waits);
    CHECK(woken);
}

TEST_CASE("a queue that was shut down gives what it has, in every process, and then says so") {
    const Queue<int> queue;
    const Queue<int> told;
    ForkedChild child = child_that([&] {
        try {
            static_cast<void>(queue.get(soon));
        } catch (const QueueShutDown&) {
            told.put(1);
        }
    });
    REQUIRE(within(soon, [&] { return queue.waiting() == 1; }));
    queue.shutdown();
    CHECK(told.get(soon) == 1);
    CHECK(child.join() == 0);
    CHECK(queue.is_shutdown());
    CHECK_THROWS_AS(queue.put(1), QueueShutDown);
    CHECK_THROWS_AS(queue.get_nowait(), QueueShutDown);

    const Queue<int> full(2);
    full.put(1);
    full.put(2);
    full.shutdown();
    CHECK(full.get() == 1);
    CHECK(full.get() == 2);
    CHECK_THROWS_AS(full.get(), QueueShutDown);
}

TEST_CASE("a queue that is shut down at once drops what it has, and wakes who waits for room") {
    const Queue<std::string> queue(2);
    const Queue<int> told;
    queue.put(std::string(1'000'000, 'x'));
    queue.put("two");
    ForkedChild child = child_that([&] {
        try {
            queue.put("three", soon);
        } catch (const QueueShutDown&) {
            told.put(1);
        }
    });
    REQUIRE(within(soon, [&] { return queue.waiting() == 1; }));
    queue.shutdown(true);
    CHECK(told.get(soon) == 1);
    CHECK(child.join() == 0);
    CHECK_THROWS_AS(queue.get_nowait(), QueueShutDown);
    CHECK(queue.empty());
    queue.shutdown();
    CHECK_THROWS_AS(queue.put("four"), QueueShutDown);
}

TEST_CASE("a queue's memory is bounded by what is in it, and has no name") {
    const Queue<std::string> queue;
    const std::size_t before = shared_pages();
    const std::string item(1'000'000, 'x');
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 100; ++i) queue.put(item);
        CHECK(shared_pages() >= 100 * item.size());
        for (int i = 0; i < 100; ++i) static_cast<void>(queue.get());
    }
    const std::size_t kept = shared_pages();
    if (plait::os::gives_memory_back) {
        CHECK(kept <= before + 17'000'000);
        CHECK(is_given_back_by_waits(queue, before + 2'000'000));
    }
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm"))
        CHECK(entry.path().filename().string().find("plait-" + std::to_string(::getpid()) + "-") == std::string::npos);
}

TEST_CASE("queues leave nothing open, and one that cannot be made neither") {
    const auto open = open_descriptors();
    for (int i = 0; i < 1'000; ++i) {
        const Queue<int> queue;
        queue.put(i);
        REQUIRE(queue.get() == i);
    }
    for (unsigned most = 0; most < 2; ++most) {
        const DescriptorLimit limit{most};
        CHECK_THROWS_AS(Queue<int>(), std::system_error);
    }
    CHECK((open_descriptors() == open));
}

TEST_CASE("a queue works under a storm of signals") {
    const Queue<std::uint64_t> queue(4);
    ForkedChild child = child_that([&] {
        for (std::uint64_t i = 0; i < 2'000; ++i) queue.put(i, soon);
    });
    const SignalStorm storm;
    for (std::uint64_t i = 0; i < 2'000; ++i) REQUIRE(queue.get(soon) == i);
    REQUIRE(within(soon, [&] { return storm.count() != 0; }));
    CHECK(child.join() == 0);
}

TEST_CASE("a queue goes through a connection, and is the same where it arrives") {
    auto [left, right] = plait::multiprocessing::Pipe();
    const Queue<int> queue;
    left.send(queue);
    const auto arrived = right.recv<Queue<int>>();
    CHECK(arrived == queue);
    arrived.put(8);
    CHECK(queue.get(soon) == 8);
    CHECK_THROWS_AS(plait::multiprocessing::encode(queue), CodecError);
}

TEST_CASE("copies of a queue's handle are the same queue, and two queues are not") {
    const Queue<int> queue;
    Queue<int> copy = queue;
    copy.put(3);
    CHECK(queue.get() == 3);
    CHECK(copy == queue);
    const Queue<int> other;
    CHECK_FALSE(other == queue);
    copy = other;
    CHECK(copy == other);
}
