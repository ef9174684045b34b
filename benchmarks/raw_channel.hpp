// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

// The least that one would write by hand to have another process do something: channels, and a forked child at the other
// end. Nothing here survives a crash.

namespace benchmark {

enum class Stream { pipes, socketpair };

/// One end of two pipes, or of a socketpair.
class StreamEnd {
public:
    static std::pair<StreamEnd, StreamEnd> make(Stream stream) {
        int there[2];
        int back[2];
        if (stream == Stream::socketpair) {
            if (socketpair(AF_UNIX, SOCK_STREAM, 0, there) != 0) std::abort();
            return {StreamEnd{there[0], dup(there[0])}, StreamEnd{there[1], dup(there[1])}};
        }
        if (pipe(there) != 0 || pipe(back) != 0) std::abort();
        return {StreamEnd{back[0], there[1]}, StreamEnd{there[0], back[1]}};
    }

    /// Waits for a byte at least. 0 is the end.
    std::size_t receive_some(void* data, std::size_t most) const {
        const ssize_t got = read(from_, data, most);
        return got < 0 ? 0 : static_cast<std::size_t>(got);
    }
    void send(const void* data, std::size_t size) const {
        for (const auto* at = static_cast<const char*>(data); size != 0;) {
            const ssize_t sent = write(to_, at, size);
            if (sent <= 0) std::abort();
            at += sent;
            size -= static_cast<std::size_t>(sent);
        }
    }
    void close() const {
        ::close(from_);
        ::close(to_);
    }

private:
    StreamEnd(int from, int to) : from_{from}, to_{to} {}
    int from_;
    int to_;
};

enum class Waiting { spinning, sleeping };

/// One end of two rings of bytes in shared memory. Who waits burns a processor, or sleeps at a futex.
class RingEnd {
public:
    static std::pair<RingEnd, RingEnd> make(Waiting waiting) {
        void* const memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) std::abort();
        const std::shared_ptr<Shared> shared{::new (memory) Shared,
                                             [](Shared* mapped) { munmap(mapped, sizeof(Shared)); }};
        return {RingEnd{shared, 0, waiting}, RingEnd{shared, 1, waiting}};
    }

    std::size_t receive_some(void* data, std::size_t most) const {
        Lane& lane = shared_->lanes[side_];
        const std::uint32_t read = lane.read.load(std::memory_order_relaxed);
        std::uint32_t written = 0;
        wait_until(lane.reader_sleeps, [&] { return (written = lane.written.load()) != read; });
        const std::size_t count = (std::min)(most, std::size_t{written - read});
        const std::size_t begin = read % capacity;
        const std::size_t first = (std::min)(count, capacity - begin);
        std::memcpy(data, lane.bytes + begin, first);
        std::memcpy(static_cast<char*>(data) + first, lane.bytes, count - first);
        lane.read.store(read + static_cast<std::uint32_t>(count));
        wake(lane.writer_sleeps);
        return count;
    }
    void send(const void* data, std::size_t size) const {
        Lane& lane = shared_->lanes[1 - side_];
        for (const auto* at = static_cast<const char*>(data); size != 0;) {
            const std::uint32_t written = lane.written.load(std::memory_order_relaxed);
            std::size_t room = 0;
            wait_until(lane.writer_sleeps, [&] { return (room = capacity - (written - lane.read.load())) != 0; });
            const std::size_t count = (std::min)(size, room);
            const std::size_t begin = written % capacity;
            const std::size_t first = (std::min)(count, capacity - begin);
            std::memcpy(lane.bytes + begin, at, first);
            std::memcpy(lane.bytes, at + first, count - first);
            lane.written.store(written + static_cast<std::uint32_t>(count));
            wake(lane.reader_sleeps);
            at += count;
            size -= count;
        }
    }
    void close() const {}

private:
    static constexpr std::size_t capacity = std::size_t{1} << 18;
    struct Lane {
        alignas(64) std::atomic<std::uint32_t> written{0};  // bytes, by the writer
        alignas(64) std::atomic<std::uint32_t> read{0};     // bytes, by the reader
        alignas(64) std::atomic<std::uint32_t> reader_sleeps{0};
        std::atomic<std::uint32_t> writer_sleeps{0};  // 1 by who goes to sleep, 0 by who wakes him
        alignas(64) char bytes[capacity];
    };
    struct Shared {
        Lane lanes[2];
    };

    RingEnd(std::shared_ptr<Shared> shared, std::size_t side, Waiting waiting)
        : shared_{std::move(shared)}, side_{side}, waiting_{waiting} {}

    template <class Condition>
    void wait_until(std::atomic<std::uint32_t>& sleeps, Condition condition) const {
        while (!condition()) {
            if (waiting_ == Waiting::spinning) {
                plait::detail::relax_processor();
                continue;
            }
            sleeps.store(1);
            if (condition()) break;
            syscall(SYS_futex, &sleeps, FUTEX_WAIT, 1, nullptr, nullptr, 0);
        }
    }
    void wake(std::atomic<std::uint32_t>& sleeps) const {
        if (sleeps.load() == 0) return;
        sleeps.store(0);
        syscall(SYS_futex, &sleeps, FUTEX_WAKE, 1, nullptr, nullptr, 0);
    }

    std::shared_ptr<Shared> shared_;
    std::size_t side_;
    Waiting waiting_;
};

/// A forked child that does `serve(end)` until the end.
template <class End>
class Child {
public:
    template <class Serve>
    Child(std::pair<End, End> ends, Serve serve) : end_{ends.first}, child_{fork()} {
        if (child_ < 0) std::abort();
        if (child_ == 0) {
            serve(ends.second);
            _exit(0);
        }
        ends.second.close();
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child() {
        kill(child_, SIGKILL);
        waitpid(child_, nullptr, 0);
        end_.close();
    }

    void send(const void* data, std::size_t size) const { end_.send(data, size); }
    void receive(void* data, std::size_t size) const { receive_from(end_, data, size); }

    static void receive_from(const End& end, void* data, std::size_t size) {
        for (auto* at = static_cast<char*>(data); size != 0;) {
            const std::size_t got = end.receive_some(at, size);
            if (got == 0) std::abort();
            at += got;
            size -= got;
        }
    }

private:
    End end_;
    pid_t child_;
};

}  // namespace benchmark
