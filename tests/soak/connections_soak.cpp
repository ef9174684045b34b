// SPDX-License-Identifier: MIT
#include <plait/asyncio.hpp>
#include <plait/core/config.hpp>

#include "support/process_state.hpp"

#include <malloc.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

// Many connections opened, used in every way and closed, in lots, within one loop that has both ends: afterwards the
// program holds what it held before. See docs/soak.md.
//
//     connections_soak [connections]

using namespace std::chrono_literals;
namespace aio = plait::asyncio;

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t lot_size = 200;
constexpr std::size_t lots_to_warm_up = 5;
// AddressSanitizer keeps what was freed for a while.
constexpr std::uint64_t most_growth = plait::detail::address_sanitizer ? 512 << 20 : 1 << 20;

/// What only this process holds, in bytes.
std::uint64_t own_memory() {
    ::malloc_trim(0);
    std::ifstream status{"/proc/self/status"};
    std::string word;
    std::uint64_t kibibytes = 0;
    while (status >> word)
        if (word == "RssAnon:") status >> kibibytes;
    return kibibytes << 10;
}

void require(bool holds, const std::string& what) {
    if (!holds) throw std::runtime_error(what);
}

/// A folder for the sockets, while it lives.
class Folder {
public:
    Folder() {
        std::string name = (std::filesystem::temp_directory_path() / "plait_soak_XXXXXX").string();
        require(::mkdtemp(name.data()) != nullptr, "no temporary folder");
        path_ = name;
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] std::string file(const char* name) const { return (path_ / name).string(); }

private:
    std::filesystem::path path_;
};

/// Sends back what comes, until the end or a reset.
aio::Coroutine<void> echo(aio::StreamReader reader, aio::StreamWriter writer) {
    try {
        for (;;) {
            const std::string data = co_await reader.read(64 << 10);
            if (data.empty()) break;
            writer.write(data);
            co_await writer.drain();
        }
        writer.close();
        co_await writer.wait_closed();
    } catch (const std::system_error&) {
        // the client has gone
    }
}

struct Streams {
    aio::StreamReader reader;
    aio::StreamWriter writer;
};

// What a client may do with its connection.

aio::Coroutine<void> converse(Streams& to) {
    for (int i = 0; i < 3; ++i) {
        const std::string line = "line " + std::to_string(i) + '\n';
        to.writer.write(line);
        co_await to.writer.drain();
        const std::string answer = co_await to.reader.readline();
        require(answer == line, "a line came back as another");
    }
    to.writer.close();
    co_await to.writer.wait_closed();
}

aio::Coroutine<void> send_and_read_to_the_end(Streams& to) {
    const std::string data(100 << 10, 'x');
    to.writer.write(data);
    to.writer.write_eof();
    const std::string answer = co_await to.reader.read();
    require(answer == data, "what was sent did not come back whole");
}

aio::Coroutine<void> send_much(Streams& to) {
    const std::string piece(32 << 10, 'y');
    for (int i = 0; i < 4; ++i) {
        to.writer.write(piece);
        co_await to.writer.drain();
        const std::string answer = co_await to.reader.readexactly(piece.size());
        require(answer == piece, "a piece came back as another");
    }
}

aio::Coroutine<void> leave_in_the_middle(Streams& to) {
    to.writer.write(std::string(256 << 10, 'z'));
    const std::string some = co_await to.reader.readexactly(1);
    require(some == "z", "a byte came back as another");
    to.writer.abort();
}

aio::Coroutine<void> give_up_waiting(Streams& to) {
    aio::Task<std::string> waiting = aio::create_task(to.reader.readline());
    co_await aio::sleep(0s);
    waiting.cancel();
    bool cancelled = false;
    try {
        co_await waiting;
    } catch (const plait::CancelledError&) {
        cancelled = true;
    }
    require(cancelled, "a read was not cancelled");
}

aio::Coroutine<void> say_nothing(Streams&) { co_return; }

using Use = aio::Coroutine<void> (*)(Streams&);
constexpr std::array<Use, 6> uses{converse,   send_and_read_to_the_end, send_much, leave_in_the_middle, give_up_waiting,
                                  say_nothing};

class Soak {
public:
    explicit Soak(std::size_t connections) : connections_{connections} {}

    aio::Coroutine<void> run() {
        auto tcp = co_await aio::start_server(echo, "127.0.0.1", 0, {.backlog = int{lot_size}});
        auto local = co_await aio::start_unix_server(echo, path_, {.backlog = int{lot_size}});
        port_ = tcp.port();
        const std::size_t descriptors = support::open_descriptors().size();
        std::uint64_t memory = 0;
        std::printf("%12s %8s %8s\n", "connections", "files", "KiB");
        for (std::size_t lot = 0; lot * lot_size < connections_; ++lot) {
            std::vector<aio::Coroutine<void>> clients;
            for (std::size_t i = 0; i < lot_size; ++i) clients.push_back(connect(lot * lot_size + i));
            co_await aio::gather(std::move(clients));
            if ((lot + 1) % lots_to_warm_up != 0) continue;
            co_await both_ends_gone(descriptors);
            const std::uint64_t now = own_memory();
            if (memory == 0) memory = now;
            std::printf("%12zu %8zu %8llu\n", (lot + 1) * lot_size, support::open_descriptors().size(),
                        static_cast<unsigned long long>(now >> 10));
            require(now <= memory + most_growth, "the program grows: what is done with is kept");
        }
        tcp.close();
        local.close();
        co_await tcp.wait_closed();
        co_await local.wait_closed();
    }

private:
    aio::Coroutine<void> connect(std::size_t number) {
        // Each use over both kinds of connection.
        const bool is_tcp = number / uses.size() % 2 == 0;
        auto streams = is_tcp ? aio::open_connection("127.0.0.1", port_) : aio::open_unix_connection(path_);
        auto [reader, writer] = co_await std::move(streams);
        Streams to{reader, writer};
        co_await uses[number % uses.size()](to);
    }
    /// A connection is gone when the server's end has heard of it, too.
    static aio::Coroutine<void> both_ends_gone(std::size_t descriptors) {
        const Clock::time_point deadline = Clock::now() + 40s;
        while (support::open_descriptors().size() > descriptors || aio::get_running_loop().all_tasks().size() > 1) {
            require(Clock::now() < deadline, "a descriptor is left open, or a task is left");
            co_await aio::sleep(1ms);
        }
    }

    std::size_t connections_;
    Folder folder_;
    std::string path_ = folder_.file("socket");
    int port_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    const long connections = argc > 1 ? std::atol(argv[1]) : 10'000;
    if (argc > 2 || connections <= 0) {
        std::fprintf(stderr, "usage: connections_soak [connections]\n");
        return 2;
    }
    const std::size_t descriptors = support::open_descriptors().size();
    try {
        Soak soak{static_cast<std::size_t>(connections)};
        aio::run([&] { return soak.run(); });
        require(support::open_descriptors().size() == descriptors, "a descriptor is left open");
        require(support::threads().size() == 1, "a thread is left");
    } catch (const std::exception& error) {
        std::printf("verdict: %s\n", error.what());
        return 1;
    }
    std::printf("verdict: nothing is left of them\n");
    return 0;
}
