// SPDX-License-Identifier: MIT
//
// What does it cost to send a message from process to process, a small and a large one?
//
// A large message could also go as a memory object of its own, whose handle is sent. Measured with pwrite and pread or
// mmap of a memfd for each, and a socketpair, both into memory that is there: 1 MiB 1.6 and 5.5 GiB/s, 16 MiB 1.2 and
// 4.6, 64 MiB 1.1 and 2.4. New pages are what the memory object pays for each time. So a Connection is a socket for all.

#include <plait/multiprocessing/freeze_support.hpp>
#include <plait/multiprocessing/pipe.hpp>

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#if __has_include(<boost/interprocess/ipc/message_queue.hpp>)
#  define BENCHMARK_BOOST
#  include <boost/interprocess/ipc/message_queue.hpp>
#endif

#include "table.hpp"

namespace {

namespace mp = plait::multiprocessing;

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

/// Nanoseconds for one of `count` messages: `send()` here until a child, which calls `receive()`, has them all.
template <class Send, class Receive>
double one_way(std::size_t count, Send send, Receive receive) {
    int done[2];
    if (pipe(done) != 0) std::abort();
    const pid_t child = fork();
    if (child < 0) std::abort();
    char byte = 0;
    if (child == 0) {
        receive();
        write_all(done[1], &byte, 1);
        for (std::size_t i = 1; i < count; ++i) receive();
        write_all(done[1], &byte, 1);
        _exit(0);
    }
    close(done[1]);
    send();
    read_all(done[0], &byte, 1);  // the child runs, and has the memory that it needs
    const double time = benchmark::nanoseconds([&] {
        for (std::size_t i = 1; i < count; ++i) send();
        read_all(done[0], &byte, 1);
    });
    close(done[0]);
    waitpid(child, nullptr, 0);
    return time / static_cast<double>(count);
}

double by_socketpair(std::size_t count, std::size_t size) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) std::abort();
    std::vector<char> block(size, 'x');
    const double time =
        one_way(count, [&] { write_all(ends[0], block.data(), size); }, [&] { read_all(ends[1], block.data(), size); });
    close(ends[0]);
    close(ends[1]);
    return time;
}

/// What a value costs that is made anew for each message.
double by_socketpair_into_new(std::size_t count, std::size_t size) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) std::abort();
    const std::vector<char> block(size, 'x');
    const double time = one_way(
        count, [&] { write_all(ends[0], block.data(), size); },
        [&] {
            std::vector<char> received(size);
            read_all(ends[1], received.data(), size);
        });
    close(ends[0]);
    close(ends[1]);
    return time;
}

double by_bytes(std::size_t count, std::size_t size) {
    auto [left, right] = mp::Pipe();
    std::vector<std::byte> block(size);
    return one_way(
        count, [&, &end = left] { end.send_bytes(block); },
        [&, &end = right] {
            if (end.recv_bytes_into(block) != size) std::abort();
        });
}
double by_new_bytes(std::size_t count, std::size_t size) {
    auto [left, right] = mp::Pipe();
    const std::vector<std::byte> block(size);
    return one_way(
        count, [&, &end = left] { end.send_bytes(block); },
        [&, &end = right] {
            if (end.recv_bytes().size() != size) std::abort();
        });
}
template <class T>
double by_value(std::size_t count, const T& value) {
    auto [left, right] = mp::Pipe();
    return one_way(count, [&, &end = left] { end.send(value); }, [&, &end = right] { benchmark::keep(end.recv<T>()); });
}

#if defined(BENCHMARK_BOOST)
double by_boost(std::size_t count, std::size_t size) {
    namespace ipc = boost::interprocess;
    const std::string name = "plait-benchmark-" + std::to_string(getpid());
    const std::size_t most = size < 4096 ? 1000 : 8;
    ipc::message_queue queue(ipc::create_only, name.c_str(), most, size);
    std::vector<char> block(size);
    const double time = one_way(
        count, [&] { queue.send(block.data(), size, 0); },
        [&] {
            ipc::message_queue::size_type received = 0;
            unsigned priority = 0;
            queue.receive(block.data(), size, received, priority);
        });
    ipc::message_queue::remove(name.c_str());
    return time;
}
#endif

/// Python's own Pipe(), which says what it took.
double by_python(std::size_t count, std::size_t size) {
    const std::string program =
        "import multiprocessing as mp, time\n"
        "r, w = mp.Pipe(False)\n"
        "dr, dw = mp.Pipe(False)\n"
        "def child():\n"
        "    r.recv_bytes(); dw.send_bytes(b'1')\n"
        "    for _ in range(count - 1): r.recv_bytes()\n"
        "    dw.send_bytes(b'1')\n"
        "count, block = " +
        std::to_string(count) + ", bytes(" + std::to_string(size) +
        ")\n"
        "p = mp.get_context('fork').Process(target=child); p.start()\n"
        "w.send_bytes(block); dr.recv_bytes()\n"
        "t = time.perf_counter()\n"
        "for _ in range(count - 1): w.send_bytes(block)\n"
        "dr.recv_bytes()\n"
        "print((time.perf_counter() - t) * 1e9 / count); p.join()\n";
    FILE* const python = popen(("python3 -c \"" + program + "\"").c_str(), "r");
    double time = 0;
    if (python == nullptr || std::fscanf(python, "%lf", &time) != 1) std::abort();
    pclose(python);
    return time;
}

bool has_python() { return std::system("python3 -c 'import multiprocessing' 2>/dev/null") == 0; }

void small_messages() {
    constexpr std::size_t size = 64;
    const std::size_t count = benchmark::scaled(200'000);
    benchmark::Table table{"D3: messages of 64 bytes, one way", benchmark::ns, "no more than the socketpair"};
    table.bare("a socketpair, write and read", [=] { return by_socketpair(count, size); });
    table.plait("Connection, a struct", [=] { return by_value(count, std::array<long, 8>{}); });
    table.plait("Connection, a string", [=] { return by_value(count, std::string(size, 'x')); });
    table.plait("Connection, bytes", [=] { return by_bytes(count, size); });
#if defined(BENCHMARK_BOOST)
    table.peer("Boost message_queue", [=] { return by_boost(count, size); });
#else
    benchmark::missing("Boost.Interprocess");
#endif
    if (has_python()) table.peer("Python's Pipe, bytes", [=] { return by_python(count / 4 + 2, size); });
    table.run();
}

void large_messages(const char* title, std::size_t size, std::size_t count) {
    count = (count < 3 || benchmark::scaled(count) < 3) ? 3 : benchmark::scaled(count);
    benchmark::Table table{title, benchmark::us, "no more than the socketpair"};
    table.bare("a socketpair, write and read", [=] { return by_socketpair(count, size); });
    table.plait("Connection, bytes into memory there", [=] { return by_bytes(count, size); });
    table.peer("a socketpair, read into a new vector", [=] { return by_socketpair_into_new(count, size); });
    table.plait("Connection, a vector of numbers",
                [=] { return by_value(count, std::vector<double>(size / sizeof(double))); });
    table.plait("Connection, new bytes", [=] { return by_new_bytes(count, size); });
#if defined(BENCHMARK_BOOST)
    table.peer("Boost message_queue", [=] { return by_boost(count, size); });
#endif
    if (has_python()) table.peer("Python's Pipe, bytes", [=] { return by_python(count, size); });
    table.run();
}

}  // namespace

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);
    small_messages();
    large_messages("D3: messages of 1 MiB, one way", std::size_t{1} << 20, 500);
    large_messages("messages of 16 MiB, one way", std::size_t{16} << 20, 20);
}
