// SPDX-License-Identifier: MIT
#include <plait/threading/simple_queue.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

using namespace std::chrono_literals;
using plait::QueueEmpty;
using plait::QueueShutDown;
using plait::threading::SimpleQueue;
using support::within;

namespace {

/// Puts another one into its queue when it goes; that one has no queue.
class Reborn {
public:
    explicit Reborn(SimpleQueue<Reborn>* queue) : queue_{queue} {}
    // Not moved: a get destroys the one in the queue as it is.
    Reborn(const Reborn& other) = default;
    Reborn& operator=(const Reborn&) = delete;
    ~Reborn() {
        if (queue_ != nullptr) queue_->put(Reborn{nullptr});
    }

private:
    SimpleQueue<Reborn>* queue_;
};

}  // namespace

TEST_CASE("a simple queue gives its items in the order in which they came") {
    static constinit SimpleQueue<int> queue;
    CHECK(queue.empty());
    for (int i = 0; i < 1000; ++i) queue.put(i);
    CHECK(queue.qsize() == 1000);
    CHECK_FALSE(queue.empty());
    for (int i = 0; i < 999; ++i) REQUIRE(queue.get() == i);
    CHECK(queue.get_nowait() == 999);
    CHECK_THROWS_AS(queue.get_nowait(), QueueEmpty);
    CHECK_THROWS_AS(queue.get(1ms), QueueEmpty);
}

TEST_CASE("a get of a simple queue waits for an item, or for its shutdown") {
    SimpleQueue<std::unique_ptr<int>> queue;
    std::atomic<int> got{0};
    std::atomic<bool> ended{false};
    std::thread getter{[&] {
        try {
            for (;;) got += *queue.get();
        } catch (const QueueShutDown&) {
            ended = true;
        }
    }};
    CHECK(within(20s, [&] { return queue.waiting() == 1; }));
    queue.put(std::make_unique<int>(3));
    CHECK(within(20s, [&] { return got == 3 && queue.waiting() == 1; }));
    queue.shutdown();
    getter.join();
    CHECK(ended);
    CHECK(queue.is_shutdown());
    CHECK_THROWS_AS(queue.put(nullptr), QueueShutDown);
}

TEST_CASE("an item's destructor may put another one into the simple queue that it was in") {
    SimpleQueue<Reborn> queue;
    {
        const Reborn one{&queue};
        queue.put(one);
        CHECK(queue.qsize() == 1);
        const Reborn same = queue.get();
        CHECK(queue.qsize() == 1);
    }
    CHECK(queue.qsize() == 3);
    while (!queue.empty()) queue.get();
}

TEST_CASE("a shutdown that is immediate drops what is in a simple queue") {
    SimpleQueue<std::shared_ptr<int>> queue;
    const auto item = std::make_shared<int>(1);
    for (int i = 0; i < 10; ++i) queue.put(item);
    CHECK(item.use_count() == 11);
    queue.shutdown(true);
    CHECK(item.use_count() == 1);
    CHECK(queue.empty());
    int seen = 0;
    for (const auto& each : queue) seen += *each;
    CHECK(seen == 0);
}
