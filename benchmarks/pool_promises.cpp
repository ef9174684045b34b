// SPDX-License-Identifier: MIT
//
// What does a pool of processes keep of what one takes for granted, when something dies? plait's part of
// pool_promises.py, which runs each experiment in a program of its own and prints the table.

#include <plait/multiprocessing/freeze_support.hpp>
#include <plait/multiprocessing/pool.hpp>

#include <cxxabi.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <typeinfo>
#include <utility>
#include <vector>

namespace mp = plait::multiprocessing;
using namespace std::chrono_literals;
using Seconds = std::chrono::duration<double>;

namespace {

struct Undecodable {};
struct Unencodable {};

}  // namespace

template <>
struct plait::multiprocessing::Codec<Undecodable> {
    static void encode(Encoder& out, const Undecodable&) { out.write(7); }
    static Undecodable decode(Decoder& in) {
        static_cast<void>(in.read<int>());
        throw CodecError("it cannot be decoded");
    }
};
template <>
struct plait::multiprocessing::Codec<Unencodable> {
    static void encode(Encoder&, const Unencodable&) { throw CodecError("it cannot be encoded"); }
    static Unencodable decode(Decoder&) { return {}; }
};

namespace {

// What tasks do.

long square(long x) { return x * x; }
void die() { raise(SIGKILL); }
void stop() { raise(SIGSTOP); }
int doze(int milliseconds) {
    std::this_thread::sleep_for(std::chrono::milliseconds{milliseconds});
    return milliseconds;
}
void call_exit() { std::exit(0); }
void call_quick_exit() { _exit(0); }
int close_all() {
    for (int descriptor = 0; descriptor < 1024; ++descriptor) close(descriptor);
    return 7;
}
void fail() { throw std::runtime_error("the initializer failed"); }
std::size_t size_of(const std::vector<char>& bytes) { return bytes.size(); }
int take(const Undecodable&) { return 7; }
Undecodable give_undecodable() { return {}; }
Unencodable give_unencodable() { return {}; }

struct PickyError : std::runtime_error {
    PickyError(int first, int second) : std::runtime_error{std::to_string(first) + " and " + std::to_string(second)} {}
};
void throw_picky() { throw PickyError{1, 2}; }

// What the experiments share.

int deadline = 5;  // seconds
std::string never() { return "never answered (" + std::to_string(deadline) + " s)"; }
void say(const std::string& what) {
    std::printf("%s\n", what.c_str());
    std::fflush(stdout);
}

/// ProcessDied, RemoteError, runtime_error.
std::string type_name(const std::exception& error) {
    const std::unique_ptr<char, void (*)(void*)> name{
        abi::__cxa_demangle(typeid(error).name(), nullptr, nullptr, nullptr), std::free};
    const std::string_view text = name ? name.get() : typeid(error).name();
    return std::string{text.substr(text.rfind(':') + 1)};
}

template <class Wait>
std::string outcome(Wait wait) {
    const auto began = std::chrono::steady_clock::now();
    const auto after = [&](const std::exception& error) {
        char text[100];
        const auto took = std::chrono::steady_clock::now() - began;
        std::snprintf(text, sizeof text, " after %.1f ms", Seconds{took}.count() * 1000);
        return type_name(error) + text;
    };
    try {
        wait();
        return "a value";
    } catch (const plait::TaskTimeoutError& error) {
        return after(error);
    } catch (const plait::TimeoutError&) {
        return never();
    } catch (const plait::CancelledError&) {
        return "cancelled";
    } catch (const std::exception& error) {
        return after(error);
    }
}

template <class T>
void tell(plait::Future<T> future) {
    say(outcome([&] { static_cast<void>(future.get(Seconds{deadline})); }));
}

void goes_on(mp::Pool& pool) {
    const std::string after = outcome([&] {
        std::vector<plait::Future<long>> squares;
        for (long x = 0; x < 4; ++x) squares.push_back(pool.apply_async(square, x));
        for (long x = 0; x < 4; ++x)
            if (squares[static_cast<std::size_t>(x)].get(Seconds{deadline}) != x * x) std::abort();
    });
    say(after == "a value" ? "goes on" : after == never() ? "then nothing is answered" : "pool dead");
}

/// All workers run when it ends.
void warm(mp::Pool& pool) { pool.map(doze, std::vector<int>(2 * pool.workers().size(), 100), 1); }

mp::Pool warm_pool(int workers) {
    mp::Pool pool(workers);
    warm(pool);
    return pool;
}

void kill_idle(mp::Pool& pool, std::size_t most) {
    const std::vector<mp::WorkerInfo> workers = pool.workers();
    for (std::size_t i = 0; i < (std::min)(most, workers.size()); ++i)
        kill(static_cast<pid_t>(workers[i].pid), SIGKILL);
    goes_on(pool);
}

template <class F, class... Args>
void task(F f, Args... args) {
    mp::Pool pool(2);
    tell(pool.apply_async(f, std::move(args)...));
    goes_on(pool);
}

void initialized_by(void (*initializer)()) {
    try {
        mp::Pool pool(mp::PoolOptions{.processes = 2, .initializer = initializer});
        tell(pool.apply_async(square, 7));
    } catch (const std::exception& error) {
        say(type_name(error) + " at once");
    }
}

// The experiments, by the names that they have in pool_promises.py.

void killed() {
    mp::Pool pool(2);
    tell(pool.apply_async(die));
}

void others() {
    mp::Pool pool(2);
    std::vector<plait::Future<int>> all;
    for (int i = 0; i < 4; ++i) all.push_back(pool.apply_async(doze, 100));
    const auto dead = pool.apply_async(die);
    for (int i = 0; i < 4; ++i) all.push_back(pool.apply_async(doze, 100));
    std::size_t lost = 0;
    for (const auto& each : all) lost += outcome([&] { each.get(Seconds{deadline}); }) != "a value";
    say(lost == 0 ? "none lost" : std::to_string(lost) + " of " + std::to_string(all.size()) + " lost");
    goes_on(pool);
}

void idle() {
    mp::Pool pool = warm_pool(2);
    kill_idle(pool, 1);
}
void all_idle() {
    mp::Pool pool = warm_pool(2);
    kill_idle(pool, 2);
}

void exits() { task(call_exit); }
void quick_exit() { task(call_quick_exit); }
void closes() { task(close_all); }

void time_limit() {
    mp::Pool pool(mp::PoolOptions{.processes = 2, .task_timeout = 200ms});
    tell(pool.apply_async(doze, 3000 * deadline));
    goes_on(pool);
}

void cancel() {
    mp::Pool pool = warm_pool(1);
    auto future = pool.apply_async(doze, 500 * deadline);
    std::this_thread::sleep_for(200ms);
    if (!future.cancel()) say("refused");
    tell(std::move(future));
    goes_on(pool);
}

void initializer_throws() { initialized_by(fail); }
void initializer_crashes() { initialized_by(die); }

void max_tasks() {
    mp::Pool pool(mp::PoolOptions{.processes = 1, .max_tasks_per_child = 2});
    std::vector<long> numbers(10);
    std::iota(numbers.begin(), numbers.end(), 0L);
    const std::string result = outcome([&] {
        if (pool.map_async(square, numbers, 3).get(Seconds{deadline}).back() != 81) std::abort();
    });
    say(result == "a value" ? "all there" : result);
}

void half_read() {
    mp::Pool pool = warm_pool(1);
    const auto reader = static_cast<pid_t>(pool.workers().at(0).pid);
    kill(reader, SIGSTOP);
    auto future = pool.apply_async(size_of, std::vector<char>(std::size_t{100} << 20));
    std::this_thread::sleep_for(200ms);
    kill(reader, SIGKILL);
    tell(std::move(future));
    goes_on(pool);
}

void argument() { task(take, Undecodable{}); }
void result() { task(give_unencodable); }
void result_there() { task(give_undecodable); }
void exception() { task(throw_picky); }

void callback() {
    mp::Pool pool(2);
    std::atomic<bool> called{false};
    auto future = pool.apply_async(square, 7);
    future.add_done_callback([&](const auto&) {
        called = true;
        called.notify_one();
        throw std::runtime_error("the callback failed");
    });
    called.wait(false);
    goes_on(pool);
}

void terminate() {
    mp::Pool pool(2);
    std::vector<plait::Future<int>> futures;
    for (int i = 0; i < 10'000; ++i) futures.push_back(pool.apply_async(doze, 10));
    pool.terminate();
    tell(futures.back());
}

void stopped() {
    mp::Pool pool = warm_pool(2);
    const auto future = pool.apply_async(stop);
    std::this_thread::sleep_for(200ms);
    const auto began = std::chrono::steady_clock::now();
    pool.terminate();
    const bool ended = pool.join(Seconds{deadline});
    char text[100];
    std::snprintf(text, sizeof text, "after %.1f s", Seconds{std::chrono::steady_clock::now() - began}.count());
    say(ended ? text : "never returns (" + std::to_string(deadline) + " s)");
}

void parent_busy() {
    mp::Pool pool = warm_pool(2);
    const auto busy = pool.map_async(doze, std::vector{60'000, 60'000}, 1);
    std::this_thread::sleep_for(200ms);
    say("kill me");
    busy.wait();
}
void parent_idle() {
    mp::Pool pool = warm_pool(2);
    say("kill me");
    pause();
}

using Experiment = std::pair<std::string_view, void (*)()>;
constexpr auto experiments = std::to_array<Experiment>({
    {"killed", killed},
    {"others", others},
    {"idle", idle},
    {"all_idle", all_idle},
    {"exit", exits},
    {"quick_exit", quick_exit},
    {"closes", closes},
    {"time_limit", time_limit},
    {"cancel", cancel},
    {"initializer_throws", initializer_throws},
    {"initializer_crashes", initializer_crashes},
    {"max_tasks", max_tasks},
    {"half_read", half_read},
    {"argument", argument},
    {"result", result},
    {"result_there", result_there},
    {"exception", exception},
    {"callback", callback},
    {"terminate", terminate},
    {"stopped", stopped},
    {"parent_busy", parent_busy},
    {"parent_idle", parent_idle},
});

}  // namespace

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (arguments.size() == 3 && arguments[0] == "--experiment") {
        deadline = std::stoi(arguments[2]);
        for (const auto& [name, experiment] : experiments)
            if (name == arguments[1]) {
                experiment();
                say("done");
                return 0;
            }
    }
    std::fprintf(stderr, "This is plait's part of the table that benchmarks/pool_promises.py prints.\n");
    return 2;
}
