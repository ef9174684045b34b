// SPDX-License-Identifier: MIT
#include <plait/core/error.hpp>
#include <plait/threading/queue.hpp>

#include "support/catch.hpp"
#include "support/race.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <vector>

using namespace std::chrono_literals;
using plait::QueueEmpty;
using plait::QueueFull;
using plait::QueueShutDown;
using plait::threading::Queue;
using support::patience;
using support::Race;
using support::random_time;

namespace {

/// A queue that is made anew for each round, and what went in and came out.
struct Traffic {
    explicit Traffic(int room) : maxsize{room}, queue{std::in_place, room} {}

    /// Puts three items that begin with `first`, until the queue is shut down.
    void put_three(int first, std::vector<int>& put) {
        put.clear();
        try {
            for (int i = 0; i < 3; ++i) {
                queue->put(first + i, patience);
                put.push_back(first + i);
            }
        } catch (const QueueShutDown&) {
        }
    }
    /// Gets until the queue is shut down, giving up now and then.
    void get_all(std::vector<int>& got) {
        got.clear();
        try {
            for (;;) {
                try {
                    got.push_back(queue->get(random_time(30us)));
                } catch (const QueueEmpty&) {
                }
            }
        } catch (const QueueShutDown&) {
        }
    }
    /// What the next round begins with.
    void renew() { queue.emplace(maxsize); }

    static bool same(std::vector<int> a, std::vector<int> b) {
        std::sort(a.begin(), a.end());
        std::sort(b.begin(), b.end());
        return a == b;
    }

    const int maxsize;
    std::optional<Queue<int>> queue;
};

std::vector<int> operator+(std::vector<int> a, const std::vector<int>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

}  // namespace

TEST_CASE("an item is put and got once, or its put throws, whenever the queue is shut down") {
    Traffic traffic{1};
    std::vector<int> put;
    std::vector<int> got;
    Race race{"queue: put and get against shutdown", 20'000};
    const auto failure = race.run(
        [&] {
            const bool fine = put == got && traffic.queue->waiting() == 0 && traffic.queue->empty();
            traffic.renew();
            return fine;
        },
        [&] { traffic.put_three(1, put); }, [&] { traffic.get_all(got); }, [&] { traffic.queue->shutdown(); });
    CHECK(failure == "");
}

TEST_CASE("two that put and two that get share the items, whenever the queue is shut down") {
    Traffic traffic{2};
    std::vector<int> put[2];
    std::vector<int> got[2];
    Race race{"queue: two put, two get, one shuts down", 10'000};
    const auto failure = race.run(
        [&] {
            const bool fine = Traffic::same(put[0] + put[1], got[0] + got[1]) && traffic.queue->waiting() == 0;
            traffic.renew();
            return fine;
        },
        [&] { traffic.put_three(1, put[0]); }, [&] { traffic.put_three(11, put[1]); }, [&] { traffic.get_all(got[0]); },
        [&] { traffic.get_all(got[1]); }, [&] { traffic.queue->shutdown(); });
    CHECK(failure == "");
}

TEST_CASE("a shutdown that drops what is left lets nobody wait, and nothing comes out twice") {
    Traffic traffic{1};
    std::vector<int> put;
    std::vector<int> got;
    Race race{"queue: put and get against immediate shutdown", 20'000};
    const auto failure = race.run(
        [&] {
            const bool fine = got.size() <= put.size() && std::equal(got.begin(), got.end(), put.begin()) &&
                              traffic.queue->waiting() == 0 && traffic.queue->empty();
            traffic.renew();
            return fine;
        },
        [&] { traffic.put_three(1, put); }, [&] { traffic.get_all(got); }, [&] { traffic.queue->shutdown(true); });
    CHECK(failure == "");
}

TEST_CASE("a put that gives up keeps its item, and room that is made reaches one that waits") {
    Queue<int> queue(1);
    int tried = 0;
    bool put = false;
    int got[2] = {};
    Race race{"queue: timed put against get", 20'000};
    const auto failure = race.run(
        [&] {
            if (put) got[1] = queue.get(0s);
            return got[0] + got[1] == 1 + (put ? tried : 0) && queue.empty() && queue.waiting() == 0;
        },
        [&] { queue.put(1, patience); },
        [&] {
            tried = 2;
            put = true;
            try {
                queue.put(2, random_time(30us));
            } catch (const QueueFull&) {
                put = false;
            }
        },
        [&] {
            got[1] = 0;
            got[0] = queue.get(patience);
        });
    CHECK(failure == "");
}

TEST_CASE("each put reaches one that waits, also past one that gives up") {
    Queue<int> queue;
    int got[3] = {};
    Race race{"queue: put against two that wait and one that gives up", 10'000};
    const auto failure = race.run([&] { return got[0] + got[1] == 3 && queue.empty() && queue.waiting() == 0; },
                                  [&] {
                                      queue.put(1);
                                      queue.put(2);
                                  },
                                  [&] { got[0] = queue.get(patience); }, [&] { got[1] = queue.get(patience); },
                                  [&] {
                                      try {
                                          queue.put(queue.get(random_time(30us)));
                                      } catch (const QueueEmpty&) {
                                      }
                                  });
    CHECK(failure == "");
}

TEST_CASE("a shutdown ends the wait for room that nobody makes, and the wait for items that nobody puts") {
    Traffic full{1};
    Traffic empty{1};
    std::vector<int> put;
    std::vector<int> got;
    Race race{"queue: shutdown against waits", 20'000};
    const auto failure = race.run(
        [&] {
            const bool fine = full.queue->qsize() == put.size() && put.size() <= 1 && got.empty();
            full.renew();
            empty.renew();
            return fine;
        },
        [&] { full.put_three(1, put); },
        [&] {
            try {
                got.push_back(empty.queue->get(patience));
            } catch (const QueueShutDown&) {
            }
        },
        [&] {
            full.queue->shutdown();
            empty.queue->shutdown();
        });
    CHECK(failure == "");
}
