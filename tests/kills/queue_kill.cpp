// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/queue.hpp>

#include "kills/campaign.hpp"
#include "support/catch.hpp"

#include <plait/multiprocessing/joinable_queue.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

using namespace std::chrono_literals;
using kills::Campaign;
using kills::Try;
using plait::QueueEmpty;
using plait::QueueFull;
using plait::QueueShutDown;
using plait::multiprocessing::JoinableQueue;
using plait::multiprocessing::Queue;
using support::SharedVariable;

namespace {

constexpr std::uint64_t most = 1 << 16;

/// What was put and got, as those know it who did.
class Ledger {
public:
    /// The next item of process `who`, which is about to put it.
    std::uint64_t next(std::size_t who) {
        const std::uint64_t number = put_[who].load() + 1;
        begun_[who] = number;
        return who << 32 | number;
    }
    [[nodiscard]] bool is_full(std::size_t who) const { return put_[who] + 1 == most; }
    void was_put(std::size_t who) { ++put_[who]; }
    void was_got(std::uint64_t item) { ++got_[item >> 32][item % most]; }

    /// With everything taken out: tells the campaign. So many items may have gone with the dead.
    void settle(Try& run, std::uint64_t may_be_lost) const {
        std::uint64_t lost = 0;
        for (std::size_t who = 0; who < got_.size(); ++who) {
            for (std::uint64_t number = 1; number <= begun_[who]; ++number) {
                const int times = got_[who][number];
                if (times > 1) run.count_duplicated();
                if (times == 0 && number <= put_[who]) ++lost;
            }
        }
        if (lost > may_be_lost) run.count_lost(lost);
    }

private:
    std::array<std::atomic<std::uint64_t>, 3> begun_{};
    std::array<std::atomic<std::uint64_t>, 3> put_{};
    std::array<std::array<std::atomic<unsigned char>, most>, 3> got_{};
};

/// Items are numbers; as a text that is large where they shall be.
template <class T>
T make(std::uint64_t number, std::size_t size) {
    if constexpr (std::is_same_v<T, std::string>) {
        std::string item(size, static_cast<char>(number));
        std::memcpy(item.data(), &number, sizeof number);
        return item;
    } else {
        return static_cast<void>(size), number;
    }
}
std::uint64_t number_of(std::uint64_t item) { return item; }
/// 0 for one that is not whole.
std::uint64_t number_of(const std::string& item) {
    std::uint64_t number = 0;
    std::memcpy(&number, item.data(), sizeof number);
    for (std::size_t i = sizeof number; i < item.size(); i += 1'000)
        if (item[i] != static_cast<char>(number)) return 0;
    return item.back() == static_cast<char>(number) ? number : 0;
}

template <class AnyQueue>
struct Scenario {
    using T = std::remove_cvref_t<decltype(std::declval<AnyQueue>().get())>;

    Try& run;
    AnyQueue queue;
    std::size_t size = 0;
    SharedVariable<Ledger> ledger{};

    void put(std::size_t who) const {
        if (ledger->is_full(who)) return;
        queue.put(make<T>(ledger->next(who), size));
        ledger->was_put(who);
    }
    void get() const { note(queue.get()); }
    void note(const T& item) const {
        const std::uint64_t number = number_of(item);
        if (number == 0) run.count_lost();
        ledger->was_got(number);
    }

    /// What those do who live on, as long as the victim does and once more.
    void survivor_that_puts_and_gets(std::size_t who) {
        run.survivor([this, who] {
            do {
                run.promptly([&] {
                    if (ledger->is_full(who)) return;
                    try {
                        queue.put(make<T>(ledger->next(who), size), 10ms);
                        ledger->was_put(who);
                    } catch (const QueueFull&) {  // whoever could make room waits for it, too
                    }
                });
                run.promptly([&] {
                    try {
                        note(queue.get(10ms));
                    } catch (const QueueEmpty&) {  // another was quicker
                    }
                });
            } while (!run.is_over());
            return 0;
        });
    }
    void finish(std::uint64_t may_be_lost) {
        run.finish();
        // Both ends are free, memory is repaired, and nothing is left.
        for (int i = 0; i < 2; ++i) {
            run.promptly([&] {
                while (!queue.empty()) note(queue.get(20s));
            });
            if (!ledger->is_full(0)) run.promptly([&] { put(0); });
        }
        run.promptly([&] { note(queue.get(20s)); });
        ledger->settle(run, may_be_lost);
    }
};

}  // namespace

TEST_CASE("a process that is killed at any step of a put leaves the item whole or not at all") {
    Campaign numbers{"queue, put"};
    CHECK(numbers.run([](Try& run) {
        Scenario<Queue<std::uint64_t>> scenario{run, Queue<std::uint64_t>()};
        run.victim([&] { scenario.put(1); });
        scenario.survivor_that_puts_and_gets(2);
        scenario.finish(0);
    }) == "");
    Campaign bounded{"queue, put into one that is full"};
    CHECK(bounded.run([](Try& run) {
        Scenario<Queue<std::uint64_t>> scenario{run, Queue<std::uint64_t>(1)};
        scenario.put(0);
        run.victim([&] { scenario.put(1); });
        scenario.run.survivor([&scenario, &run] {
            do {
                run.promptly([&] {
                    try {
                        scenario.note(scenario.queue.get(10ms));
                    } catch (const QueueEmpty&) {
                    }
                });
            } while (!run.is_over());
            return 0;
        });
        scenario.finish(0);
    }) == "");
}

TEST_CASE("a process that is killed at any step of a get takes no more than its item with it") {
    Campaign campaign{"queue, get"};
    CHECK(campaign.run([](Try& run) {
        Scenario<Queue<std::uint64_t>> scenario{run, Queue<std::uint64_t>(3)};
        scenario.put(0);
        run.victim([&] { scenario.get(); });
        scenario.survivor_that_puts_and_gets(1);
        scenario.survivor_that_puts_and_gets(2);
        scenario.finish(1);
    }) == "");
    Campaign waiting{"queue, get from one that is empty"};
    CHECK(waiting.run([](Try& run) {
        Scenario<Queue<std::uint64_t>> scenario{run, Queue<std::uint64_t>()};
        run.victim([&] { scenario.get(); });
        scenario.survivor_that_puts_and_gets(1);
        scenario.finish(1);
    }) == "");
}

TEST_CASE("a process that is killed at any step with a large item leaves the memory sound") {
    Campaign campaign{"queue, large items"};
    CHECK(campaign.run([](Try& run) {
        Scenario<Queue<std::string>> scenario{run, Queue<std::string>(), 150'000};
        scenario.put(0);
        run.victim([&] {
            scenario.put(1);
            scenario.get();
        });
        scenario.survivor_that_puts_and_gets(2);
        scenario.finish(1);
    }) == "");
    Campaign growing{"queue, growing"};
    CHECK(growing.run([](Try& run) {
        Scenario<Queue<std::string>> scenario{run, Queue<std::string>(), 8'000'000};
        scenario.put(0);
        run.victim([&] {
            scenario.put(1);
            scenario.get();
        });
        scenario.finish(1);
    }) == "");
    Campaign segments{"queue, from segment to segment"};
    CHECK(segments.run([](Try& run) {
        Scenario<Queue<std::string>> scenario{run, Queue<std::string>(), 22'000};
        scenario.put(0);
        scenario.put(0);
        run.victim([&] {
            scenario.put(1);
            scenario.put(1);
            for (int i = 0; i < 3; ++i) scenario.get();
        });
        scenario.finish(1);
    }) == "");
}

TEST_CASE("a process that is killed at any step of a task's end leaves no more than its task undone") {
    Campaign campaign{"joinable queue, task_done and join"};
    CHECK(campaign.run([](Try& run) {
        Scenario<JoinableQueue<std::uint64_t>> scenario{run, JoinableQueue<std::uint64_t>()};
        const auto work = [&scenario] {
            scenario.get();
            scenario.queue.task_done();
        };
        run.victim([&] {
            scenario.put(1);
            work();
            static_cast<void>(scenario.queue.join(1ms));
        });
        run.survivor([&] {
            do {
                run.promptly([&] {
                    try {
                        scenario.note(scenario.queue.get(10ms));
                        scenario.queue.task_done();
                    } catch (const QueueEmpty&) {
                    }
                });
            } while (!run.is_over());
            return 0;
        });
        run.finish();
        run.promptly([&] {
            while (!scenario.queue.empty()) work();
        });
        // What the dead one had taken is one task at most; to say so once more is an error else.
        if (!scenario.queue.join(0s)) run.promptly([&] { scenario.queue.task_done(); });
        if (!run.promptly([&] { return scenario.queue.join(20s); })) run.count_lost();
        scenario.ledger->settle(run, 1);
    }) == "");
}

TEST_CASE("a process that is killed at any step of a shutdown leaves it to the next") {
    Campaign campaign{"joinable queue, shutdown"};
    CHECK(campaign.run([](Try& run) {
        const JoinableQueue<std::string> queue;
        for (int i = 0; i < 5; ++i) queue.put(std::string(50'000, 'x'));
        run.victim([&] { queue.shutdown(true); });
        run.survivor([&] {
            for (;;) {
                try {
                    run.promptly([&] { static_cast<void>(queue.get(10ms)); });
                } catch (const QueueShutDown&) {
                    return 0;
                } catch (const QueueEmpty&) {
                    if (run.is_over()) return 0;
                }
            }
        });
        run.finish();
        run.promptly([&] { queue.shutdown(true); });
        if (!queue.empty()) run.count_lost();
    }) == "");
}

TEST_CASE("a process that is killed at any step of a shutdown at once has dropped every item or none") {
    Campaign campaign{"joinable queue, shutdown at once"};
    CHECK(campaign.run([](Try& run) {
        const JoinableQueue<std::uint64_t> queue;
        constexpr std::uint64_t items = 3;
        for (std::uint64_t item = 1; item <= items; ++item) queue.put(item);
        const SharedVariable<std::atomic<bool>> stands;
        // Finds the queue open, and takes its lock when the victim is dead.
        run.survivor([&] {
            kills::stand_at_next_step(run, *stands);
            std::uint64_t got = 0;
            try {
                for (;;) {
                    if (queue.get(10ms) != ++got) run.count_lost();
                    queue.task_done();
                }
            } catch (const QueueShutDown&) {
            } catch (const QueueEmpty&) {
            }
            if (got != 0 && got != items) run.count_lost();
            return 0;
        });
        run.survivor([&] { return queue.join(20s) ? 0 : 1; });
        run.victim([&] {
            while (!stands->load()) std::this_thread::yield();
            queue.shutdown(true);
        });
        run.finish();
        if (!queue.empty() || queue.qsize() != 0) run.count_lost();
        if (!run.promptly([&] { return queue.join(0s); })) run.count_lost();
        run.promptly([&] { queue.shutdown(true); });
        if (!queue.empty() || !queue.join(0s)) run.count_lost();
    }) == "");
}
