// SPDX-License-Identifier: MIT
//
// What does it cost to have work done in another process: a number squared, one at a time and a hundred thousand at once,
// a mebibyte sent there and back, and a pool made for it?

#include <plait/multiprocessing/freeze_support.hpp>
#include <plait/multiprocessing/pool.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <list>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "python_peer.hpp"
#include "raw_channel.hpp"
#include "table.hpp"

namespace {

namespace mp = plait::multiprocessing;
using benchmark::Child;
using benchmark::nanoseconds;
using benchmark::RingEnd;
using benchmark::scaled;
using benchmark::Stream;
using benchmark::StreamEnd;
using benchmark::Waiting;

using Bytes = std::vector<char>;

long square(long x) { return x * x; }
Bytes echo(Bytes bytes) { return bytes; }

/// Squares numbers, as many at a time as come.
template <class End>
void square_all(const End& end) {
    long numbers[512];
    while (const std::size_t got = end.receive_some(numbers, sizeof numbers)) {
        // A number may come in two pieces.
        const std::size_t missing = -got % sizeof(long);
        if (missing != 0) Child<End>::receive_from(end, reinterpret_cast<char*>(numbers) + got, missing);
        const std::size_t count = (got + missing) / sizeof(long);
        std::transform(numbers, numbers + count, numbers, square);
        end.send(numbers, count * sizeof(long));
    }
}

template <class End>
struct Squarer : Child<End> {
    explicit Squarer(std::pair<End, End> ends) : Child<End>{std::move(ends), square_all<End>} {}

    [[nodiscard]] long apply(long x) const {
        this->send(&x, sizeof x);
        this->receive(&x, sizeof x);
        return x;
    }
};

template <class End>
struct Echo : Child<End> {
    Echo(std::pair<End, End> ends, std::size_t size)
        : Child<End>{std::move(ends), [size](const End& end) {
                         for (Bytes bytes(size);;) {
                             Child<End>::receive_from(end, bytes.data(), size);
                             end.send(bytes.data(), size);
                         }
                     }} {}
};

/// Python's pools take turns with the others, each in a program of its own.
class PythonPools {
public:
    explicit PythonPools(int workers) {
        if (!benchmark::PythonPeer::is_installed()) {
            benchmark::missing("python3");
            return;
        }
        for (const char* name : {"mp.Pool", "ProcessPoolExecutor"})
            pools_.emplace_back(
                std::piecewise_construct, std::forward_as_tuple(std::string{"Python's "} + name),
                std::forward_as_tuple("pool_peers.py", std::vector{std::string{name}, std::to_string(workers)}));
    }
    /// `round` as in pool_peers.py.
    void join(benchmark::Table& table, const std::string& round) const {
        for (const auto& [name, pool] : pools_) table.peer(name, [&peer = pool, round] { return peer(round); });
    }
    void tell(const std::string& round) const {
        for (const auto& [name, pool] : pools_) pool(round);
    }

private:
    std::list<std::pair<std::string, benchmark::PythonPeer>> pools_;
};

std::string line(const std::string& name, std::size_t first, std::size_t second) {
    return name + ' ' + std::to_string(first) + ' ' + std::to_string(second);
}

template <class Apply>
double back_to_back(Apply apply) {
    const std::size_t count = scaled(5'000);
    return nanoseconds([&] {
               for (std::size_t i = 0; i < count; ++i)
                   if (apply(7) != 49) std::abort();
           }) /
           static_cast<double>(count);
}

/// The call alone, each after a rest in which everybody has gone to sleep.
template <class Apply>
double after_a_rest(Apply apply) {
    const std::size_t count = scaled(200);
    double total = 0;
    for (std::size_t i = 0; i < count; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
        total += nanoseconds([&] {
            if (apply(7) != 49) std::abort();
        });
    }
    return total / static_cast<double>(count);
}

/// One number there, its square back.
void latency() {
    // The children first: they are copies of a program that has no threads yet.
    const Squarer<StreamEnd> by_pipe{StreamEnd::make(Stream::pipes)};
    const Squarer<StreamEnd> by_socket{StreamEnd::make(Stream::socketpair)};
    const Squarer<RingEnd> by_ring{RingEnd::make(Waiting::sleeping)};
    const PythonPools python(1);
    mp::Pool pool(1);
    const auto add = [&](benchmark::Table& table, auto measure) {
        table.bare("two pipes", [&, measure] { return measure([&](long x) { return by_pipe.apply(x); }); });
        table.peer("a socketpair", [&, measure] { return measure([&](long x) { return by_socket.apply(x); }); });
        table.peer("a ring in shared memory, who waits sleeps",
                   [&, measure] { return measure([&](long x) { return by_ring.apply(x); }); });
        // Made for each round: it would spin through those of the others.
        table.peer("a ring in shared memory, who waits spins", [measure] {
            const Squarer<RingEnd> spinning{RingEnd::make(Waiting::spinning)};
            return measure([&](long x) { return spinning.apply(x); });
        });
        table.plait("Pool::apply", [&, measure] { return measure([&](long x) { return pool.apply(square, x); }); });
    };
    {
        benchmark::Table table{"D2l: a number there, its square back, one after the other", benchmark::us,
                               "at most 3 µs"};
        add(table, [](auto apply) { return back_to_back(apply); });
        python.join(table, "apply " + std::to_string(scaled(1'000)));
        table.run();
    }
    {
        benchmark::Table table{"D2l: the same, after a millisecond's rest each", benchmark::us, "at most 50 µs"};
        add(table, [](auto apply) { return after_a_rest(apply); });
        python.join(table, "rested " + std::to_string(scaled(200)));
        table.run();
    }
}

/// Squares all numbers by two children, `block` of them a message, with no more under way than a channel holds.
template <class End>
void square_by(const Squarer<End> (&children)[2], const std::vector<long>& numbers, std::vector<long>& squares,
               std::size_t block) {
    constexpr std::size_t window = 2048;
    const std::size_t count = numbers.size();
    for (std::size_t first = 0; first < count; first += 2 * window) {
        const std::size_t middle = (std::min)(first + window, count);
        const std::size_t last = (std::min)(middle + window, count);
        const std::size_t bounds[] = {first, middle, last};
        for (std::size_t child = 0; child < 2; ++child)
            for (std::size_t i = bounds[child]; i < bounds[child + 1]; i += block)
                children[child].send(&numbers[i], (std::min)(block, bounds[child + 1] - i) * sizeof(long));
        for (std::size_t child = 0; child < 2; ++child)
            children[child].receive(squares.data() + bounds[child], (bounds[child + 1] - bounds[child]) * sizeof(long));
    }
}

void throughput() {
    const Squarer<StreamEnd> by_pipe[2] = {Squarer<StreamEnd>{StreamEnd::make(Stream::pipes)},
                                           Squarer<StreamEnd>{StreamEnd::make(Stream::pipes)}};
    const Squarer<RingEnd> by_ring[2] = {Squarer<RingEnd>{RingEnd::make(Waiting::sleeping)},
                                         Squarer<RingEnd>{RingEnd::make(Waiting::sleeping)}};
    const PythonPools python(2);
    mp::Pool pool(2);
    std::vector<long> numbers(scaled(100'000));
    std::iota(numbers.begin(), numbers.end(), 0);
    std::vector<long> squares(numbers.size());
    const auto each = [&](auto work) {
        std::fill(squares.begin(), squares.end(), 0);
        const double time = nanoseconds(work) / static_cast<double>(numbers.size());
        if (squares.back() != square(numbers.back())) std::abort();
        return time;
    };
    {
        benchmark::Table table{"D2t: a hundred thousand numbers squared by two workers, for each", benchmark::ns,
                               "at most 33 ns (30 million a second)"};
        table.bare("two pipes, blocks of 2048",
                   [&] { return each([&] { square_by(by_pipe, numbers, squares, 2048); }); });
        table.peer("rings in shared memory, blocks of 2048",
                   [&] { return each([&] { square_by(by_ring, numbers, squares, 2048); }); });
        table.peer("a plain loop", [&] {
            return each([&] { std::transform(numbers.begin(), numbers.end(), squares.begin(), square); });
        });
        table.plait("Pool::map", [&] { return each([&] { squares = pool.map(square, numbers); }); });
        python.join(table, line("map", numbers.size(), 0));
        table.run();
    }
    {
        benchmark::Table table{"D2t: the same, each number a chunk of its own", benchmark::ns,
                               "at most 333 ns (3 million a second)"};
        table.bare("two pipes, a write for each",
                   [&] { return each([&] { square_by(by_pipe, numbers, squares, 1); }); });
        table.peer("rings in shared memory, each by itself",
                   [&] { return each([&] { square_by(by_ring, numbers, squares, 1); }); });
        table.plait("Pool::map, chunks of one", [&] { return each([&] { squares = pool.map(square, numbers, 1); }); });
        python.join(table, line("map", scaled(5'000), 1));
        table.run();
    }
}

/// A mebibyte there and back.
void large() {
    constexpr std::size_t size = std::size_t{1} << 20;
    const Echo<StreamEnd> by_pipe{StreamEnd::make(Stream::pipes), size};
    const Echo<StreamEnd> by_socket{StreamEnd::make(Stream::socketpair), size};
    const Echo<RingEnd> by_ring{RingEnd::make(Waiting::sleeping), size};
    const PythonPools python(1);
    mp::Pool pool(1);
    const Bytes bytes(size, 'x');
    const std::size_t count = scaled(100);
    const auto each = [&](auto call) {
        return nanoseconds([&] {
                   for (std::size_t i = 0; i < count; ++i)
                       if (call() != bytes) std::abort();
               }) /
               static_cast<double>(count);
    };
    const auto through = [&](const auto& channel) {
        return each([&] {
            Bytes back(size);
            channel.send(bytes.data(), size);
            channel.receive(back.data(), size);
            return back;
        });
    };
    benchmark::Table table{"1 MiB there and back, one after the other", benchmark::us, "beside the channels"};
    table.bare("two pipes", [&] { return through(by_pipe); });
    table.peer("a socketpair", [&] { return through(by_socket); });
    table.peer("a ring of 256 KiB in shared memory", [&] { return through(by_ring); });
    table.plait("Pool::apply", [&] { return each([&] { return pool.apply(echo, bytes); }); });
    python.join(table, line("echo", size, count));
    table.run();
}

/// Sixteen threads that all call at once.
void crowd() {
    const Squarer<StreamEnd> by_pipe[2] = {Squarer<StreamEnd>{StreamEnd::make(Stream::pipes)},
                                           Squarer<StreamEnd>{StreamEnd::make(Stream::pipes)}};
    std::mutex mutexes[2];
    const PythonPools python(2);
    mp::Pool pool(2);
    constexpr std::size_t threads = 16;
    const auto all = [](std::size_t full, auto apply) {
        const std::size_t count = scaled(full);
        return benchmark::nanoseconds_in_threads(threads,
                                                 [&](std::size_t thread) {
                                                     for (std::size_t i = 0; i < count; ++i)
                                                         if (apply(thread, 7) != 49) std::abort();
                                                 }) /
               static_cast<double>(threads * count);
    };
    benchmark::Table table{"16 threads call two workers at once, for each call", benchmark::us, "less than the pipes'"};
    table.bare("two pipes each, a mutex", [&] {
        return all(1'000, [&](std::size_t thread, long x) {
            const std::lock_guard guard{mutexes[thread % 2]};
            return by_pipe[thread % 2].apply(x);
        });
    });
    table.plait("Pool::apply", [&] { return all(1'000, [&](std::size_t, long x) { return pool.apply(square, x); }); });
    python.join(table, line("threads", threads, scaled(100)));
    table.run();
}

/// Memory in small pages, each of them used: what a fork has to copy the table of.
class Ballast {
public:
    explicit Ballast(std::size_t size) : size_{size} {
        memory_ = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory_ == MAP_FAILED) std::abort();
        madvise(memory_, size, MADV_NOHUGEPAGE);
        for (std::size_t i = 0; i < size; i += 4096) static_cast<volatile char*>(memory_)[i] = 1;
    }
    Ballast(const Ballast&) = delete;
    Ballast& operator=(const Ballast&) = delete;
    ~Ballast() { munmap(memory_, size_); }

private:
    std::size_t size_;
    void* memory_;
};

void pool_of_two(mp::StartMethod method) {
    mp::Pool pool(mp::PoolOptions{.processes = 2, .start_method = method});
    if (pool.map(square, std::vector{7L, 8L}, 1) != std::vector{49L, 64L}) std::abort();
}

void starts(const PythonPools& python, const std::string& parent) {
    const std::size_t count = scaled(10);
    const auto each = [count](auto one) {
        return nanoseconds([&] {
                   for (std::size_t i = 0; i < count; ++i) one();
               }) /
               static_cast<double>(count);
    };
    benchmark::Table table{"a pool of two made, two calls, and its end, " + parent, benchmark::ms,
                           "the same from either program"};
    table.bare("two forks, four pipes", [=] {
        return each([] {
            const Squarer<StreamEnd> first{StreamEnd::make(Stream::pipes)};
            const Squarer<StreamEnd> second{StreamEnd::make(Stream::pipes)};
            if (first.apply(7) != 49 || second.apply(8) != 64) std::abort();
        });
    });
    table.plait("Pool by the default, forkserver",
                [=] { return each([] { pool_of_two(mp::StartMethod::forkserver); }); });
    table.plait("Pool by spawn", [=] { return each([] { pool_of_two(mp::StartMethod::spawn); }); });
    table.plait("Pool by fork", [=] { return each([] { pool_of_two(mp::StartMethod::fork); }); });
    python.join(table, "start " + std::to_string(count));
    table.run();
}

void starts() {
    const PythonPools python(2);
    starts(python, "from a small program");
    const std::size_t size = scaled(std::size_t{1} << 30);
    const Ballast ballast{size};
    python.tell("load " + std::to_string(size));
    starts(python, "from a program with 1 GiB in use");
}

}  // namespace

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);
    latency();
    throughput();
    large();
    crowd();
    starts();
}
