// SPDX-License-Identifier: MIT
//
// How fast do items go from one process to another, small ones and large ones?

#include <plait/multiprocessing/freeze_support.hpp>
#include <plait/multiprocessing/process.hpp>
#include <plait/multiprocessing/queue.hpp>

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "table.hpp"

#if __has_include(<boost/interprocess/ipc/message_queue.hpp>)
#  include <boost/interprocess/ipc/message_queue.hpp>
#  define BENCHMARK_BOOST
#endif

namespace {

namespace mp = plait::multiprocessing;

using Small = std::array<std::uint64_t, 8>;
using Large = std::vector<std::byte>;
constexpr std::size_t large_size = std::size_t{1} << 20;
constexpr std::ptrdiff_t room = 1024;     // for small items
constexpr std::ptrdiff_t large_room = 8;  // and large ones

/// What one item costs when a child puts `count` of them, of which the first only says that it has begun, and this
/// process gets them.
template <class Put, class Get>
double each(std::size_t count, Put put, Get get) {
    mp::Process child = mp::Process::forked([=] {
        for (std::size_t i = 0; i <= count; ++i) put(i);
    });
    child.start();
    get(0);
    const double time = benchmark::nanoseconds([&] {
        for (std::size_t i = 1; i <= count; ++i) get(i);
    });
    child.join();
    if (child.exitcode() != 0) std::abort();
    return time / static_cast<double>(count);
}

/// Memory that a child sees too.
template <class T>
std::shared_ptr<T> shared() {
    void* const memory = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    return {new (memory) T, [](T* each) { munmap(each, sizeof(T)); }};
}

/// One process puts, one gets, and nobody ever dies or sleeps: the limit.
template <std::size_t size, std::size_t slots>
struct Ring {
    alignas(64) std::atomic<std::size_t> put_count{0};
    alignas(64) std::size_t known_taken = 0;
    alignas(64) std::atomic<std::size_t> taken_count{0};
    alignas(64) std::size_t known_put = 0;
    alignas(64) std::array<std::array<std::byte, size>, slots> items;

    void put(const void* item) {
        const std::size_t count = put_count.load(std::memory_order_relaxed);
        while (count - known_taken == slots) known_taken = taken_count.load(std::memory_order_acquire);
        std::memcpy(items[count % slots].data(), item, size);
        put_count.store(count + 1, std::memory_order_release);
    }
    void get(void* item) {
        const std::size_t count = taken_count.load(std::memory_order_relaxed);
        while (count == known_put) known_put = put_count.load(std::memory_order_acquire);
        std::memcpy(item, items[count % slots].data(), size);
        taken_count.store(count + 1, std::memory_order_release);
    }
};

double small_by_ring(std::size_t count) {
    const auto ring = shared<Ring<sizeof(Small), room>>();
    return each(
        count,
        [=](std::size_t i) {
            const Small item{i};
            ring->put(&item);
        },
        [=](std::size_t i) {
            Small item;
            ring->get(&item);
            if (item[0] != i) std::abort();
        });
}

double small_by_queue(std::size_t count, std::ptrdiff_t maxsize) {
    mp::Queue<Small> queue(maxsize);
    return each(
        count, [=](std::size_t i) { queue.put(Small{i}); },
        [=](std::size_t i) {
            if (queue.get()[0] != i) std::abort();
        });
}

double large_by_ring(std::size_t count) {
    const auto ring = shared<Ring<large_size, large_room>>();
    const Large item(large_size);
    auto got = std::make_shared<Large>(large_size);
    return each(
        count, [=](std::size_t) { ring->put(item.data()); },
        [=](std::size_t) {
            ring->get(got->data());
            benchmark::keep(*got);
        });
}

double large_by_queue(std::size_t count, std::ptrdiff_t maxsize) {
    mp::Queue<Large> queue(maxsize);
    const Large item(large_size);
    return each(
        count, [=](std::size_t) { queue.put(item); },
        [=](std::size_t) {
            if (queue.get().size() != large_size) std::abort();
        });
}

/// A stream socket, in messages of `size`.
double by_socket(std::size_t count, std::size_t size) {
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
    auto item = std::make_shared<Large>(size);
    const double result = each(
        count,
        [=](std::size_t) {
            for (std::size_t done = 0; done < size;) {
                const ssize_t sent = write(ends[1], item->data() + done, size - done);
                if (sent < 0) std::abort();
                done += static_cast<std::size_t>(sent);
            }
        },
        [=](std::size_t) {
            for (std::size_t done = 0; done < size;) {
                const ssize_t got = read(ends[0], item->data() + done, size - done);
                if (got <= 0) std::abort();
                done += static_cast<std::size_t>(got);
            }
        });
    close(ends[0]);
    close(ends[1]);
    return result;
}

#if defined(BENCHMARK_BOOST)
double by_boost(std::size_t count, std::size_t size, std::ptrdiff_t most) {
    namespace ipc = boost::interprocess;
    const std::string name = "plait-benchmark-" + std::to_string(getpid());
    const auto queue =
        std::make_shared<ipc::message_queue>(ipc::create_only, name.c_str(), static_cast<std::size_t>(most), size);
    ipc::message_queue::remove(name.c_str());
    auto item = std::make_shared<Large>(size);
    return each(
        count, [=](std::size_t) { queue->send(item->data(), size, 0); },
        [=](std::size_t) {
            ipc::message_queue::size_type received = 0;
            unsigned priority = 0;
            queue->receive(item->data(), size, received, priority);
            if (received != size) std::abort();
        });
}
#endif

}  // namespace

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);
    const std::size_t small_items = benchmark::scaled(1'000'000);
    const std::size_t large_items = benchmark::scaled(4'000);

    benchmark::Table small_table{"D3: 64 bytes from a process to another, each", benchmark::ns,
                                 "at most 83 ns (12 million a second)"};
    small_table.bare("a ring in shared memory, spinning", [=] { return small_by_ring(small_items); });
    small_table.plait("Queue", [=] { return small_by_queue(small_items, 0); });
    small_table.plait("Queue with a bound", [=] { return small_by_queue(small_items, room); });
    small_table.peer("a socket", [=] { return by_socket(small_items, sizeof(Small)); });
#if defined(BENCHMARK_BOOST)
    small_table.peer("boost message_queue", [=] { return by_boost(small_items, sizeof(Small), room); });
#endif
    small_table.run();

    benchmark::Table large_table{"D3: 1 MiB from a process to another, each", benchmark::us,
                                 "at most 65 µs (15 GiB a second)"};
    large_table.bare("a ring in shared memory, spinning", [=] { return large_by_ring(large_items); });
    large_table.plait("Queue", [=] { return large_by_queue(large_items, 0); });
    large_table.plait("Queue with a bound", [=] { return large_by_queue(large_items, large_room); });
    large_table.peer("a socket", [=] { return by_socket(large_items, large_size); });
#if defined(BENCHMARK_BOOST)
    large_table.peer("boost message_queue", [=] { return by_boost(large_items, large_size, large_room); });
#else
    benchmark::missing("Boost.Interprocess");
#endif
    large_table.run();
}
