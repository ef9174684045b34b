// SPDX-License-Identifier: MIT

// The model checker checked: what it finds in small programs whose outcomes under C++20 are known.

#include "support/catch.hpp"
#include "support/model/search.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <set>
#include <string>

namespace litmus {

using enum std::memory_order;
using Outcomes = std::set<std::string>;

inline Outcomes& outcomes() {
    static Outcomes all;
    return all;
}

struct Base {
    static constexpr std::size_t threads = 2;
    model::Atomic<int> x{0};
    model::Atomic<int> y{0};
    std::array<int, 4> seen{};

    void end_of(std::size_t count) const {
        std::string outcome;
        for (std::size_t i = 0; i < count; ++i) outcome += static_cast<char>('0' + seen[i]);
        outcomes().insert(outcome);
    }
};

/// Each writes, then looks at the other's.
template <std::memory_order store, std::memory_order load>
struct StoreBuffering : Base {
    void run(std::size_t thread) {
        (thread == 1 ? x : y).store(1, store);
        seen[thread - 1] = (thread == 1 ? y : x).load(load);
    }
    void end() const { end_of(2); }
};
template <std::memory_order exchange>
struct StoreBufferingByExchange : Base {
    void run(std::size_t thread) {
        static_cast<void>((thread == 1 ? x : y).exchange(1, exchange));
        seen[thread - 1] = (thread == 1 ? y : x).load(seq_cst);
    }
    void end() const { end_of(2); }
};

/// A flag after a message.
template <std::memory_order store, std::memory_order load>
struct MessagePassing : Base {
    void run(std::size_t thread) {
        if (thread == 1) {
            x.store(1, relaxed);
            y.store(1, store);
        } else {
            seen[0] = y.load(load);
            seen[1] = x.load(relaxed);
        }
    }
    void end() const { end_of(2); }
};

/// The flag is changed again: by another thread's read-modify-write, or by a relaxed store of the same thread.
template <bool by_exchange>
struct ReleaseSequence : Base {
    static constexpr std::size_t threads = by_exchange ? 3 : 2;
    void run(std::size_t thread) {
        if (thread == 1) {
            x.store(1, relaxed);
            y.store(1, release);
            if (!by_exchange) y.store(2, relaxed);
        } else if (thread == 2) {
            seen[0] = y.load(acquire);
            seen[1] = x.load(relaxed);
        } else {
            int one = 1;
            static_cast<void>(y.compare_exchange_strong(one, 2, relaxed, relaxed));
        }
    }
    void end() const { end_of(2); }
};

/// Two threads see two independent writes in opposite orders.
template <std::memory_order store, std::memory_order load>
struct IndependentReads : Base {
    static constexpr std::size_t threads = 4;
    void run(std::size_t thread) {
        switch (thread) {
            case 1:
                return x.store(1, store);
            case 2:
                return y.store(1, store);
            case 3:
                seen[0] = x.load(load);
                seen[1] = y.load(load);
                return;
            default:
                seen[2] = y.load(load);
                seen[3] = x.load(load);
        }
    }
    void end() const { end_of(4); }
};

/// One location is read twice while another thread writes it twice.
struct Coherence : Base {
    void run(std::size_t thread) {
        if (thread == 1) {
            x.store(1, relaxed);
            x.store(2, relaxed);
        } else {
            seen[0] = x.load(relaxed);
            seen[1] = x.load(relaxed);
        }
    }
    void end() const { end_of(2); }
};

/// Two threads count.
struct Counting : Base {
    void run(std::size_t thread) {
        seen[thread - 1] = x.fetch_add(1, relaxed);
        static_cast<void>(x.fetch_add(1, relaxed));
    }
    void end() {
        seen[2] = x.load(relaxed);
        end_of(3);
    }
};

/// A compare-exchange that fails may have read an old value.
struct FailedExchange : Base {
    void run(std::size_t thread) {
        if (thread == 1) {
            x.store(1, relaxed);
            x.store(2, relaxed);
        } else {
            int expected = 2;
            static_cast<void>(x.compare_exchange_strong(expected, 3, relaxed, relaxed));
            seen[0] = expected;
        }
    }
    void end() const { end_of(1); }
};

template <std::memory_order store, std::memory_order load>
struct PlainData : Base {
    model::Plain<int> data;
    void run(std::size_t thread) {
        if (thread == 1) {
            data.set(1);
            x.store(1, store);
        } else if (x.load(load) == 1) {
            model::expect(data.get() == 1, "an old value");
        }
    }
    void end() const {}
};

struct Counted : Base {
    model::Mutex mutex;
    model::Plain<int> count{0};
    void run(std::size_t) {
        mutex.lock();
        count.set(count.get() + 1);
        mutex.unlock();
    }
    void end() const { model::expect(count.get() == 2, "a count was lost"); }
};

struct WaitsInVain : Base {
    void run(std::size_t thread) {
        if (thread == 1 && x.load(relaxed) == 0) y.wait_and_clear();
    }
    void end() const {}
};

/// The outcomes of a program that has no error, the same with the reduction and without.
template <class Program>
Outcomes of() {
    outcomes().clear();
    const model::Report all = model::search<Program>(false);
    const Outcomes complete = outcomes();
    outcomes().clear();
    const model::Report reduced = model::search<Program>();
    CHECK(all.passed());
    CHECK(reduced.passed());
    CHECK(outcomes() == complete);
    CHECK(reduced.executions <= all.executions);
    return outcomes();
}

}  // namespace litmus

using namespace litmus;

TEST_CASE("the model lets two threads miss each other's stores, unless both are seq_cst") {
    CHECK(of<StoreBuffering<seq_cst, seq_cst>>() == Outcomes{"01", "10", "11"});
    CHECK(of<StoreBuffering<release, seq_cst>>() == Outcomes{"00", "01", "10", "11"});
    CHECK(of<StoreBuffering<seq_cst, acquire>>() == Outcomes{"00", "01", "10", "11"});
    CHECK(of<StoreBufferingByExchange<seq_cst>>() == Outcomes{"01", "10", "11"});
    CHECK(of<StoreBufferingByExchange<acq_rel>>() == Outcomes{"00", "01", "10", "11"});
}

TEST_CASE("the model passes a message on by release and acquire, and not without one of them") {
    CHECK(of<MessagePassing<release, acquire>>() == Outcomes{"00", "01", "11"});
    CHECK(of<MessagePassing<relaxed, acquire>>() == Outcomes{"00", "01", "10", "11"});
    CHECK(of<MessagePassing<release, relaxed>>() == Outcomes{"00", "01", "10", "11"});
}

TEST_CASE("the model's release sequence goes on in read-modify-writes, not in stores") {
    CHECK(of<ReleaseSequence<true>>() == Outcomes{"00", "01", "11", "21"});
    CHECK(of<ReleaseSequence<false>>() == Outcomes{"00", "01", "11", "20", "21"});
}

TEST_CASE("the model keeps seq_cst operations of several locations in one order") {
    CHECK(of<IndependentReads<seq_cst, seq_cst>>().count("1010") == 0);
    CHECK(of<IndependentReads<seq_cst, acquire>>().count("1010") == 1);
    // The loads alone have an order, into which the stores must fit.
    CHECK(of<IndependentReads<release, seq_cst>>().count("1010") == 0);
}

TEST_CASE("the model reads one location in the order of its writes") {
    CHECK(of<Coherence>() == Outcomes{"00", "01", "02", "11", "12", "22"});
    CHECK(of<FailedExchange>() == Outcomes{"0", "1", "2"});
}

TEST_CASE("the model's read-modify-writes lose nothing") {
    CHECK(of<Counting>() == Outcomes{"014", "024", "104", "204"});
}

TEST_CASE("the model finds races, deadlocks and lost counts") {
    CHECK(model::search<PlainData<release, acquire>>().passed());
    CHECK(model::search<PlainData<relaxed, acquire>>().failure == "a race: a read beside a write");
    CHECK(model::search<PlainData<release, relaxed>>().failure == "a race: a read beside a write");
    CHECK(model::search<Counted>().passed());
    CHECK(model::search<WaitsInVain>().failure == "deadlock: a thread waits for ever");
}
