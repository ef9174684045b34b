// SPDX-License-Identifier: MIT
//
// What does it cost to have a number squared in another process, one at a time and a hundred thousand at once?

#include <plait/multiprocessing/freeze_support.hpp>
#include <plait/multiprocessing/pool.hpp>

#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <numeric>
#include <thread>
#include <vector>

#include "table.hpp"

namespace {

namespace mp = plait::multiprocessing;
using benchmark::nanoseconds;
using benchmark::scaled;

long square(long x) { return x * x; }

void read_all(int from, void* data, std::size_t size) {
    for (auto* at = static_cast<char*>(data); size != 0;) {
        const ssize_t got = read(from, at, size);
        if (got <= 0) std::abort();
        at += got;
        size -= static_cast<std::size_t>(got);
    }
}
void write_all(int to, const void* data, std::size_t size) {
    for (auto* at = static_cast<const char*>(data); size != 0;) {
        const ssize_t sent = write(to, at, size);
        if (sent <= 0) std::abort();
        at += sent;
        size -= static_cast<std::size_t>(sent);
    }
}

enum class Channel { pipes, socketpair };

/// A forked child that squares what it reads, as many numbers at a time as come.
class Squarer {
public:
    explicit Squarer(Channel channel) {
        int there[2];
        int back[2];
        if (channel == Channel::pipes) {
            if (pipe(there) != 0 || pipe(back) != 0) std::abort();
        } else {
            int both[2];
            if (socketpair(AF_UNIX, SOCK_STREAM, 0, both) != 0) std::abort();
            there[0] = both[0];
            there[1] = both[1];
            back[0] = dup(both[1]);
            back[1] = dup(both[0]);
        }
        child_ = fork();
        if (child_ < 0) std::abort();
        if (child_ == 0) {
            close(there[1]);
            close(back[0]);
            serve(there[0], back[1]);
        }
        close(there[0]);
        close(back[1]);
        to_ = there[1];
        from_ = back[0];
    }
    Squarer(const Squarer&) = delete;
    Squarer& operator=(const Squarer&) = delete;
    ~Squarer() {
        close(to_);
        close(from_);
        kill(child_, SIGKILL);  // the next child may hold the other end too
        waitpid(child_, nullptr, 0);
    }

    void send(const long* numbers, std::size_t count) const { write_all(to_, numbers, count * sizeof(long)); }
    void receive(long* numbers, std::size_t count) const { read_all(from_, numbers, count * sizeof(long)); }
    [[nodiscard]] long apply(long x) const {
        send(&x, 1);
        receive(&x, 1);
        return x;
    }

private:
    [[noreturn]] static void serve(int from, int to) {
        long numbers[512];
        for (;;) {
            const ssize_t got = read(from, numbers, sizeof numbers);
            if (got <= 0) _exit(0);
            // A number may come in two pieces.
            const std::size_t missing = -static_cast<std::size_t>(got) % sizeof(long);
            if (missing != 0) read_all(from, reinterpret_cast<char*>(numbers) + got, missing);
            const std::size_t count = (static_cast<std::size_t>(got) + missing) / sizeof(long);
            std::transform(numbers, numbers + count, numbers, square);
            write_all(to, numbers, count * sizeof(long));
        }
    }

    pid_t child_;
    int to_;
    int from_;
};

/// A forked child that spins on shared memory: the limit, at the price of a processor.
class SpinningSquarer {
public:
    SpinningSquarer() {
        void* const memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) std::abort();
        shared_ = ::new (memory) Shared;
        child_ = fork();
        if (child_ < 0) std::abort();
        if (child_ == 0) serve();
    }
    SpinningSquarer(const SpinningSquarer&) = delete;
    SpinningSquarer& operator=(const SpinningSquarer&) = delete;
    ~SpinningSquarer() {
        kill(child_, SIGKILL);
        waitpid(child_, nullptr, 0);
        munmap(shared_, sizeof(Shared));
    }

    [[nodiscard]] long apply(long x) const {
        shared_->number = x;
        shared_->turn.store(1, std::memory_order_release);
        while (shared_->turn.load(std::memory_order_acquire) != 0) plait::detail::relax_processor();
        return shared_->number;
    }

private:
    struct Shared {
        std::atomic<int> turn{0};  // 1 while the child has something to square
        long number = 0;
    };
    [[noreturn]] void serve() const {
        for (;;) {
            while (shared_->turn.load(std::memory_order_acquire) != 1) plait::detail::relax_processor();
            shared_->number = square(shared_->number);
            shared_->turn.store(0, std::memory_order_release);
        }
    }

    Shared* shared_;
    pid_t child_;
};

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
    const Squarer by_pipe{Channel::pipes};
    const Squarer by_socket{Channel::socketpair};
    mp::Pool pool(1);
    const auto add = [&](benchmark::Table& table, auto measure) {
        table.bare("two pipes", [&, measure] { return measure([&](long x) { return by_pipe.apply(x); }); });
        table.peer("a socketpair", [&, measure] { return measure([&](long x) { return by_socket.apply(x); }); });
        table.plait("Pool::apply", [&, measure] { return measure([&](long x) { return pool.apply(square, x); }); });
    };
    {
        benchmark::Table table{"D2l: a number there, its square back, one after the other", benchmark::us,
                               "at most 3 µs"};
        add(table, [](auto apply) { return back_to_back(apply); });
        table.peer("shared memory, a child made to spin", [] {
            const SpinningSquarer spinning;
            return back_to_back([&](long x) { return spinning.apply(x); });
        });
        table.run();
    }
    {
        benchmark::Table table{"D2l: the same, after a millisecond's rest each", benchmark::us, "at most 50 µs"};
        add(table, [](auto apply) { return after_a_rest(apply); });
        table.run();
    }
}

/// Squares all numbers by two children, `block` of them a write, with no more under way than a channel holds.
void square_by(const Squarer (&children)[2], const std::vector<long>& numbers, std::vector<long>& squares,
               std::size_t block) {
    constexpr std::size_t window = 2048;
    const std::size_t count = numbers.size();
    for (std::size_t first = 0; first < count; first += 2 * window) {
        const std::size_t middle = (std::min)(first + window, count);
        const std::size_t last = (std::min)(middle + window, count);
        const std::size_t bounds[] = {first, middle, last};
        for (std::size_t child = 0; child < 2; ++child)
            for (std::size_t i = bounds[child]; i < bounds[child + 1]; i += block)
                children[child].send(&numbers[i], (std::min)(block, bounds[child + 1] - i));
        for (std::size_t child = 0; child < 2; ++child)
            if (bounds[child] != bounds[child + 1])
                children[child].receive(&squares[bounds[child]], bounds[child + 1] - bounds[child]);
    }
}

void throughput() {
    const Squarer children[2] = {Squarer{Channel::pipes}, Squarer{Channel::pipes}};
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
                   [&] { return each([&] { square_by(children, numbers, squares, 2048); }); });
        table.peer("a plain loop", [&] {
            return each([&] { std::transform(numbers.begin(), numbers.end(), squares.begin(), square); });
        });
        table.plait("Pool::map", [&] { return each([&] { squares = pool.map(square, numbers); }); });
        table.run();
    }
    {
        benchmark::Table table{"D2t: the same, each number a chunk of its own", benchmark::ns,
                               "at most 333 ns (3 million a second)"};
        table.bare("two pipes, a write for each",
                   [&] { return each([&] { square_by(children, numbers, squares, 1); }); });
        table.plait("Pool::map, chunks of one", [&] { return each([&] { squares = pool.map(square, numbers, 1); }); });
        table.run();
    }
}

}  // namespace

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);
    latency();
    throughput();
}
